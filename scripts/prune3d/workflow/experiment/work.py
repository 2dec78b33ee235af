"""The work of an experiment's jobs, and what they ask of a machine."""

from __future__ import annotations

from functools import cached_property

from prune3d.data.registry import facts as data_facts
from prune3d.data.settings import DataSettings
from prune3d.optimize.registry import POLICIES
from prune3d.pruning.runtimes import RUNS_ON
from prune3d.workflow.experiment.base import ExperimentBase
from prune3d.workflow.resources import Workload


class ExperimentWork(ExperimentBase):
    """Answers with images, minutes, memory and devices."""

    def may_download(self) -> int:
        """Tell whether files that are missing may be fetched: 1 or 0."""
        return int(self.config["data"]["download"])

    def times_on_gpu(self) -> int:
        """Tell whether latencies are measured on a GPU where there is one: 1 or 0."""
        latency = self.config["latency"]
        return int("cpu" not in (latency["device"], RUNS_ON.get(latency["runtime"])))

    def timing_threads(self) -> int:
        """Return the threads with which latencies are measured."""
        return int(self.config["latency"]["threads"] or 1)

    def workload(self, section: str) -> Workload:
        """Return the images that a job passes: by the recipe of a section, or ``once``."""
        return self._workloads[section]

    def minutes(self, section: str, attempt: int) -> int:
        """Return the time limit to ask for at an attempt."""
        return self.workload(section).minutes(attempt)

    def final_minutes(self, policy: str, attempt: int) -> int:
        """Return the time limit of the training of a policy's final network."""
        return self.minutes("scratch" if POLICIES[policy].scratch else "final", attempt)

    def memory_mb(self, section: str, attempt: int, processes: int) -> int:
        """Return the memory to ask for at an attempt."""
        return self.workload(section).memory_mb(attempt, processes)

    @cached_property
    def _workloads(self) -> dict[str, Workload]:
        data = DataSettings.from_config(self.config["data"])
        known = data_facts(data)
        epochs = {s: self.config[s]["epochs"] for s in ("dense", "finetune", "final")}
        # More epochs of a smaller network take as long.
        longest = epochs["dense"] + epochs["final"]
        return {
            section: Workload.of(known, passes, data.resident_gb)
            for section, passes in {**epochs, "once": 1, "scratch": longest}.items()
        }

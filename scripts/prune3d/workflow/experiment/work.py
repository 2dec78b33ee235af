"""The work of an experiment's jobs, and what they ask of a machine."""

from __future__ import annotations

from functools import cached_property

from prune3d.data.registry import facts as data_facts
from prune3d.data.settings import DataSettings
from prune3d.optimize.registry import POLICIES
from prune3d.pruning.runtimes import RUNS_ON
from prune3d.pruning.timing import WARM_UP
from prune3d.workflow.experiment.base import ExperimentBase
from prune3d.workflow.resources import TIMED, Workload, timing_minutes


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

    def timing_minutes(self, what: str, attempt: int) -> int:
        """Return the time limit of a job that times networks: a key of `TIMED`, or ``finals``."""
        latency = self.config["latency"]
        networks, batches = TIMED.get(what, 0), latency["batch_size"]
        if what == "finals":  # and the dense one, each with both batches
            networks = 2 * (1 + len(self.config["budgets"]) * len(self.config["policies"]))
            batches = (batches + latency["throughput_batch_size"]) / 2
        pixels = (WARM_UP + latency["runs"]) * batches * self.workload("once").side ** 2
        place = "cuda" if self.times_on_gpu() else "cpu"
        return timing_minutes(networks, pixels, latency["runtime"], place, attempt)

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
        # More epochs of a smaller network take as long; a teacher's are paid, too.
        taught = self.config["final"]["distillation"] > 0
        longest = epochs["dense"] + (2 if taught else 1) * epochs["final"]
        return {
            section: Workload.of(known, passes, data.resident_gb)
            for section, passes in {**epochs, "once": 1, "scratch": longest}.items()
        }

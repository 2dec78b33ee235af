"""How long a whole run will take, told after each job."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from prune3d.progress import in_words

# Relative durations before any job has been timed: mostly trainings, the rest starts torch.
EXPECTED_WORK = {"train_dense": 10, "finetune_final": 4, "finetune_sample": 2}


def follow_progress(events: logging.Logger, not_run: Sequence[str]) -> None:
    """Tell on the terminal which experiments are not run and, after each job, how much is left.

    Parameters
    ----------
    events
        Snakemake's logger.
    not_run
        Names of experiments that the config defines and `run` does not name.
    """
    terminal = logging.getLogger("prune3d.workflow")
    terminal.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("[prune3d] %(message)s"))
    terminal.handlers[:] = [handler]
    terminal.setLevel(logging.INFO)
    if not_run:
        terminal.warning("not run, since `run` does not name them: %s", ", ".join(not_run))
    events.addHandler(WorkflowProgress(EXPECTED_WORK, terminal.info))


class WorkflowProgress(logging.Handler):
    """Follow Snakemake's log events and tell, after each job, how much time is left.

    The estimate weighs the jobs that are left by the work of their rules: the mean of the measured
    durations of a rule, or, for a rule that has not run yet, its assumed weight scaled by the
    durations seen so far.

    Parameters
    ----------
    weights
        Assumed relative duration of a job of each rule.
    tell
        Called with each message.
    clock
        Time in seconds.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._weights, self._tell, self._clock = weights, tell, clock
        self._left: Counter[str] = Counter()
        self._total = 0
        self._seconds: dict[str, list[float]] = {}
        self._rules: dict[int, str] = {}
        self._started: dict[int, float] = {}
        self._begun = clock()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event; anything that is not one, or not as expected, is ignored."""
        # An exception here would end the whole run.
        with contextlib.suppress(Exception):
            self._follow(record)

    def _follow(self, record: logging.LogRecord) -> None:
        event = str(getattr(record, "event", "") or "").rpartition(".")[2].lower()
        fields = record.__dict__
        if event == "run_info":
            self._start_run(fields["stats"])
        elif event == "job_info":
            self._rules[fields["jobid"]] = fields["rule_name"]
            self._started[fields["jobid"]] = self._clock()
        elif event == "job_finished":
            self._finish_job(fields["job_id"])
        elif event == "job_error":
            self._started.pop(fields["jobid"], None)

    def seconds_left(self) -> float | None:
        """Return the estimate, or None before any job has finished."""
        if not self._seconds:
            return None
        means = {rule: sum(s) / len(s) for rule, s in self._seconds.items()}
        assumed = sum(self._weights.get(rule, 1.0) * len(s) for rule, s in self._seconds.items())
        scale = sum(sum(s) for s in self._seconds.values()) / max(assumed, 1e-9)
        now = self._clock()
        work = sum(
            count * means.get(rule, scale * self._weights.get(rule, 1.0))
            for rule, count in self._left.items()
        )
        spent = sum(sum(s) for s in self._seconds.values())
        running = sum(now - begun for begun in self._started.values())
        # Jobs run side by side: the work is divided by how many did so far, on average.
        parallel = max(1.0, (spent + running) / max(now - self._begun, 1e-9))
        return max(0.0, work - running) / parallel

    def _start_run(self, stats: Mapping[str, int]) -> None:
        self._left = Counter({rule: n for rule, n in stats.items() if rule not in ("total", "all")})
        self._total = sum(self._left.values())
        self._begun = self._clock()
        self._tell(f"{self._total} jobs to do")

    def _finish_job(self, job: int) -> None:
        rule = self._rules.pop(job, "")
        begun = self._started.pop(job, None)
        if begun is None or rule not in self._left:
            return
        self._seconds.setdefault(rule, []).append(self._clock() - begun)
        self._left[rule] -= 1
        left = self.seconds_left()
        done = self._total - sum(self._left.values())
        estimate = "finishing" if done == self._total else f"about {in_words(left or 0)} left"
        self._tell(
            f"{done} of {self._total} jobs done, {in_words(self._clock() - self._begun)} spent, "
            f"{estimate}"
        )

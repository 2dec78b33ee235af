"""How much time is left, with a clock of our own and records as Snakemake 9 emits them."""

from __future__ import annotations

import logging

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from prune3d.progress import in_words, time_left
from prune3d.workflow.progress import WorkflowProgress

WEIGHTS = {"train_dense": 10, "finetune": 2}


class Workflow:
    """A workflow whose jobs begin and end when we say so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[str] = []
        self.progress = WorkflowProgress(WEIGHTS, self.told.append, lambda: self.now)

    def emit(self, event: object, **fields: object) -> None:
        record = logging.LogRecord("snakemake", logging.INFO, "", 0, "message", (), None)
        record.__dict__.update(event=event, **fields)
        self.progress.handle(record)

    def plan(self, **stats: int) -> None:
        counts = {**stats, "all": 1, "total": sum(stats.values()) + 1}
        self.emit(LogEvent.RUN_INFO, stats=counts)

    def start(self, job: int, rule: str) -> None:
        self.emit(LogEvent.JOB_INFO, jobid=job, rule_name=rule)

    def finish(self, job: int) -> None:
        self.emit(LogEvent.JOB_FINISHED, job_id=job)

    def run(self, job: int, rule: str, seconds: float) -> None:
        self.start(job, rule)
        self.now += seconds
        self.finish(job)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (600, "10 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "done", "total", "words"),
    [
        (30, 1, 3, "about 60 s left"),
        (600, 4, 5, "about 2 min left"),
        (5, 0, 3, "time left unknown"),
        (40, 3, 3, "done in 40 s"),
    ],
)
def test_the_time_left_of_a_training_is_in_proportion(
    seconds: float, done: float, total: float, words: str
) -> None:
    assert time_left(seconds, done, total) == words


def test_the_number_of_jobs_leaves_out_the_target() -> None:
    workflow = Workflow()
    workflow.plan(finetune=3, train_dense=1)
    assert workflow.told == ["4 jobs to do"]
    assert workflow.progress.seconds_left() is None


def test_jobs_of_one_rule_are_expected_to_take_their_mean() -> None:
    workflow = Workflow()
    workflow.plan(finetune=5)
    workflow.run(1, "finetune", 10)
    assert workflow.progress.seconds_left() == pytest.approx(4 * 10)
    workflow.run(2, "finetune", 20)
    assert workflow.progress.seconds_left() == pytest.approx(3 * 15)
    assert workflow.told[-1] == "2 of 5 jobs done, 30 s spent, about 45 s left"


def test_rules_that_have_not_run_are_weighed() -> None:
    workflow = Workflow()
    workflow.plan(train_dense=1, finetune=3, plot=2)
    workflow.run(1, "train_dense", 50)
    # 50 s for a weight of 10: 5 s each; fine-tuning weighs 2, the figures, not listed, 1.
    assert workflow.progress.seconds_left() == pytest.approx(3 * 2 * 5 + 2 * 5)


def test_the_time_that_running_jobs_have_spent_is_taken_off() -> None:
    workflow = Workflow()
    workflow.plan(finetune=3)
    workflow.run(1, "finetune", 10)
    workflow.start(2, "finetune")
    workflow.now += 4
    assert workflow.progress.seconds_left() == pytest.approx(20 - 4)


def test_jobs_side_by_side_divide_the_time() -> None:
    workflow = Workflow()
    workflow.plan(finetune=6)
    for job in (1, 2):
        workflow.start(job, "finetune")
    workflow.now += 10
    for job in (1, 2):
        workflow.finish(job)
    assert workflow.progress.seconds_left() == pytest.approx(4 * 10 / 2)


def test_the_last_job_ends_the_estimate() -> None:
    workflow = Workflow()
    workflow.plan(finetune=2)
    workflow.run(1, "finetune", 10)
    workflow.run(2, "finetune", 30)
    assert workflow.told[-1] == "2 of 2 jobs done, 40 s spent, finishing"
    assert workflow.progress.seconds_left() == 0


def test_the_target_and_unknown_jobs_are_ignored() -> None:
    workflow = Workflow()
    workflow.plan(finetune=2)
    workflow.run(1, "finetune", 10)
    told = len(workflow.told)
    workflow.run(9, "all", 0)
    workflow.finish(77)
    assert len(workflow.told) == told


def test_a_failed_job_is_not_running_any_more() -> None:
    workflow = Workflow()
    workflow.plan(finetune=4)
    workflow.run(1, "finetune", 10)
    workflow.start(2, "finetune")
    workflow.emit(LogEvent.JOB_ERROR, jobid=2, rule_name="finetune")
    workflow.now += 20
    assert workflow.progress.seconds_left() >= 2 * 10


def test_a_retried_job_counts_once() -> None:
    workflow = Workflow()
    workflow.plan(finetune=3)
    workflow.run(1, "finetune", 10)
    workflow.start(2, "finetune")
    workflow.emit(LogEvent.JOB_ERROR, jobid=2, rule_name="finetune")
    workflow.run(2, "finetune", 10)
    assert workflow.progress.seconds_left() == pytest.approx(10)


@pytest.mark.parametrize("event", [None, LogEvent.PROGRESS, LogEvent.SHELLCMD, "nonsense"])
def test_other_records_are_ignored(event: object) -> None:
    workflow = Workflow()
    workflow.emit(event)
    assert workflow.told == []


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (LogEvent.RUN_INFO, {}),
        (LogEvent.RUN_INFO, {"stats": {"finetune": "many"}}),
        (LogEvent.JOB_INFO, {"jobid": 3}),
        (LogEvent.JOB_INFO, {"jobid": [], "rule_name": "finetune"}),
        (LogEvent.JOB_FINISHED, {}),
        (LogEvent.JOB_ERROR, {}),
    ],
)
def test_records_of_another_form_stop_nothing(event: object, fields: dict[str, object]) -> None:
    workflow = Workflow()
    workflow.plan(finetune=2)
    workflow.emit(event, **fields)
    workflow.plan(finetune=2)
    workflow.run(1, "finetune", 10)
    assert workflow.told[-1] == "1 of 2 jobs done, 10 s spent, about 10 s left"


def test_a_clock_that_jumps_or_weights_of_nothing_stop_nothing() -> None:
    workflow = Workflow()
    workflow.progress = WorkflowProgress(
        {"finetune": 0}, workflow.told.append, lambda: workflow.now
    )
    workflow.plan(finetune=4)
    workflow.run(1, "finetune", -1e6)
    workflow.run(2, "finetune", 1e9)
    workflow.run(3, "finetune", 0)
    assert workflow.told[-1].startswith("3 of 4 jobs done")
    assert workflow.progress.seconds_left() >= 0


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    workflow = Workflow()

    def gone(message: str) -> None:
        raise BrokenPipeError

    workflow.progress = WorkflowProgress(WEIGHTS, gone)
    workflow.plan(finetune=2)
    workflow.run(1, "finetune", 10)
    assert workflow.progress.seconds_left() is not None

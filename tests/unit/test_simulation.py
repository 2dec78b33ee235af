"""The simulated cluster: cases that can be worked out by hand, and bounds that always hold."""

from __future__ import annotations

import random

import pytest

from prune3d.errors import UserError
from simulation import (
    GPU,
    LOGIN,
    OTHER,
    SimulatedJob,
    in_short,
    longest_chain,
    parse_dry_run,
    simulate,
)

DRY_RUN = """
Job stats:
total 4

rule train:
    input: data/a, data/b
    output: model, metrics
    jobid: 2
    resources: tmpdir=<TBD>, gpu=1, runtime=11

localrule table:
    input: tuned, metrics
    output: table
    jobid: 0
    resources: tmpdir=/tmp

rule tune:
    input: model, data/a
    output: tuned
    resources: tmpdir=<TBD>, gpu=1

rule data:
    output: data/a, data/b
    resources: tmpdir=<TBD>
"""


def test_a_dry_run_is_read_with_what_each_job_waits_for() -> None:
    jobs = parse_dry_run(DRY_RUN, login_rules=["table"])
    assert [job.rule for job in jobs] == ["data", "train", "tune", "table"]
    assert [job.pool for job in jobs] == [OTHER, GPU, GPU, LOGIN]
    assert [job.needs for job in jobs] == [(), (0,), (0, 1), (1, 2)]


def test_a_dry_run_without_jobs_is_refused() -> None:
    with pytest.raises(UserError, match="lists no job"):
        parse_dry_run("Nothing to be done (all requested files are present and up to date).")


def test_a_chain_takes_its_length_on_any_number_of_gpus() -> None:
    jobs = parse_dry_run(DRY_RUN, login_rules=["table"])
    seconds = {"data": 1.0, "train": 10.0, "tune": 5.0, "table": 2.0}
    for gpus in (1, 8):
        outcome = simulate(jobs, seconds, gpus, wait=3.0)
        # Three jobs wait in the queue; the login node's does not.
        assert outcome.makespan == outcome.bound == 1 + 10 + 5 + 2 + 3 * 3
        assert outcome.gpu_seconds == 15
        assert outcome.critical_path == ("data", "train", "tune", "table")


@pytest.mark.parametrize(("gpus", "makespan"), [(1, 70), (2, 40), (3, 30), (7, 10)])
def test_independent_jobs_fill_the_gpus(gpus: int, makespan: float) -> None:
    jobs = [SimulatedJob("tune", GPU, ())] * 7
    assert simulate(jobs, {"tune": 10.0}, gpus).makespan == makespan


def test_makespans_keep_to_grahams_bounds() -> None:
    """List scheduling needs at most (2 - 1/m) times the least (Graham 1969)."""
    rng = random.Random(0)
    for _ in range(20):
        jobs = [
            SimulatedJob(
                f"r{i}", GPU, tuple(sorted(rng.sample(range(i), min(i, rng.randrange(3)))))
            )
            for i in range(60)
        ]
        seconds = {f"r{i}": rng.uniform(1, 9) for i in range(60)}
        previous = float("inf")
        for gpus in (1, 4, 60):
            outcome = simulate(jobs, seconds, gpus)
            least = max(outcome.bound, outcome.gpu_seconds / gpus)
            assert least - 1e-9 <= outcome.makespan <= (2 - 1 / gpus) * least + 1e-9
            assert outcome.makespan <= previous + 1e-9 or gpus != 60
            previous = outcome.makespan
        assert outcome.makespan == pytest.approx(longest_chain(jobs, seconds)[1])


def test_a_path_is_told_in_short() -> None:
    path = ["data", "train", "prune", "tune", "prune", "tune", "prune", "tune", "fit"]
    assert in_short(path) == "data, train, 3 x (prune, tune), fit"

"""The tests' own SLURM: it schedules for real, GPUs included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster import Cluster, missing_packages
from prune3d.errors import UserError
from prune3d.workflow.leftovers import cancel_leftovers

pytestmark = pytest.mark.skipif(missing_packages() is not None, reason=missing_packages() or "")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm"), gpus=2) as running:
        yield running


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.1)


def submit(cluster: Cluster, folder: Path, script: str, *options: str) -> int:
    command = ["sbatch", "--parsable", "-D", str(folder), "-o", str(folder / "%j.out"), *options]
    return int(cluster.call(*command, "--wrap", script))


def test_jobs_at_once_have_different_gpus_and_more_wait(cluster: Cluster, tmp_path: Path) -> None:
    script = "echo $CUDA_VISIBLE_DEVICES; sleep 600"
    jobs = [submit(cluster, tmp_path, script, "-p", "gpu", "--gpus=1") for _ in range(3)]
    files = [tmp_path / f"{job}.out" for job in jobs[:2]]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    assert {file.read_text().strip() for file in files} == {"0", "1"}
    assert set(cluster.jobs("PD")) == {jobs[2]}
    assert cluster.show(jobs[0])["TresPerJob"] == "gres:gpu:1"
    cluster.call("scancel", *map(str, jobs))
    wait_until(lambda: cluster.jobs("PD,R,CG") == {})


def test_a_restarted_controller_knows_its_jobs(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, "sleep 600")
    wait_until(lambda: job in cluster.jobs("R"))
    cluster.restart_controller()
    assert cluster.show(job)["JobState"] == "RUNNING"
    cluster.call("scancel", str(job))
    wait_until(lambda: cluster.jobs("PD,R,CG") == {})
    assert [end.state for end in cluster.completed() if end.job == job] == ["CANCELLED"]


def test_leftovers_of_this_folder_alone_are_cancelled(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    left = submit(cluster, here, "sleep 600", "--comment=rule_train_dense_wildcards_a_0")
    other = submit(cluster, elsewhere, "sleep 600", "--comment=rule_train_dense_wildcards_a_0")
    own = submit(cluster, here, "sleep 600", "--comment=mine")
    told: list[str] = []
    assert cancel_leftovers(here, told.append) == [str(left)]
    assert told == [f"cancelling 1 jobs that an earlier run left: {left}"]
    assert set(cluster.jobs("PD,R,CG")) == {other, own}
    assert cancel_leftovers(here, told.append) == []
    cluster.call("scancel", str(other), str(own))


@pytest.mark.slow
def test_a_controller_that_is_down_is_waited_for_and_then_told(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    cluster.stop_controller()
    with pytest.raises(UserError, match=r"SLURM does not answer: squeue says '.+'; run on a login"):
        cancel_leftovers(tmp_path, print, patience=0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(cancel_leftovers, tmp_path, print)
        cluster.start_controller()
        assert waiting.result() == []

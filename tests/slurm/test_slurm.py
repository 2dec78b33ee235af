"""The whole workflow through a real SLURM, while everything that a cluster does happens to it.

One disturbed run serves all tests: its jobs exceed their time, are cancelled, requeued and killed,
its node fails, SLURM's controller is restarted and the workflow's is killed.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from cluster import Cluster, Completed, missing_packages
from running import ROOT, Project, environment

HERE = Path(__file__).parent
RUN = Path("results/digits/seed0")
QUICKLY = ["--latency-wait", "10", "--slurm-status-command", "squeue", "--slurm-no-account"]
QUICKLY += ["--slurm-init-seconds-before-status-checks", "2"]
# Files that tell how the run went: seconds, job numbers, retries.
OF_THE_RUN = re.compile(
    r"results/(logs|benchmarks)/|provenance\.json$|tables/(resources|retries)\.csv$"
)
# Tables for people that hold seconds, and what stands between their cells.
SHOWN = {"results/tables/policies.md": " | ", "results/tables/policies.tex": " & "}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing_packages() is not None, reason=missing_packages() or ""),
]


def new_project(folder: Path) -> Project:
    project = Project.copy_to(folder)
    shutil.copytree(ROOT / "slurm", project.folder / "slurm")
    shutil.copy(HERE / "small.yaml", project.folder)
    return project


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Short, since the name of a socket has at most 107 characters.
    with Cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@dataclass
class Run:
    """A run of the workflow on the cluster."""

    project: Project
    cluster: Cluster
    process: subprocess.Popen[bytes] | None = None

    @property
    def results(self) -> Path:
        return self.project.folder / RUN

    def command(self, *arguments: str) -> list[str]:
        start = [sys.executable, str(HERE / "quick_snakemake.py")]
        profile = ["--profile", "slurm", "--configfile", "small.yaml"]
        # As in the profile, but that the signal comes 20 s before the time limit.
        default = ["--default-resources", "slurm_partition=cpu", "mem_mb=4000", "runtime=20"]
        default += ["slurm_extra='--signal=TERM@20'"]
        return [*start, "--cores", "8", *profile, *default, *QUICKLY, *arguments]

    def start(self) -> None:
        with (self.project.folder / "told.txt").open("ab") as stream:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.project.folder,
                env={**environment(), **self.cluster.environment},
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def state(self, job: int) -> str:
        """Return a job's state; COMPLETING while its processes are being ended."""
        return self.cluster.call("squeue", "-h", "-t", "all", "-j", str(job), "-o", "%T").strip()

    def told(self) -> str:
        return (self.project.folder / "told.txt").read_text()

    def wait(self, what: str, happened: Callable[[], object], seconds: float = 900) -> None:
        end = time.monotonic() + seconds
        while not happened():
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"ended before: {what}\n{self.told()[-5000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"did not happen: {what}\n{self.told()[-5000:]}")
            time.sleep(0.02)

    def freeze(self, *folders: str) -> list[tuple[int, int]]:
        """Stop trainings as soon as each has saved its state; return processes and SLURM jobs."""
        frozen: dict[str, tuple[int, int]] = {}

        def freeze_next() -> bool:
            for folder in folders:
                state = self.results / folder / "model.resume.safetensors"
                if folder in frozen or not state.exists():
                    continue
                lock = self.results / folder / ".model.safetensors.lock"
                owner = json.loads(lock.read_text())
                os.kill(owner["pid"], signal.SIGSTOP)
                frozen[folder] = owner["pid"], int(owner["slurm_job"])
            return len(frozen) == len(folders)

        self.wait(f"{folders} have saved their state", freeze_next)
        return [frozen[folder] for folder in folders]


def disturb_controller(run: Run) -> None:
    """SIGKILL the workflow's controller while a training runs, and start it again."""
    [(_, job)] = run.freeze("dense")
    run.wait("all else has ended", lambda: re.search(r"\] 2 of \d+ jobs done", run.told()))
    assert run.process is not None
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait()
    assert run.cluster.jobs("R") == {job: "rule_train_dense_wildcards_digits_0"}
    unlocked = subprocess.run(
        run.command("--unlock"),
        cwd=run.project.folder,
        env={**environment(), **run.cluster.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert unlocked.returncode == 0, unlocked.stderr
    run.start()


def disturb_samples(run: Run) -> None:
    """Let one sample exceed its time; kill, cancel and requeue the others; restart slurmctld."""
    samples = ("d67_w100_r100", "d100_w50_r100", "d100_w100_r75", "d67_w75_r75")
    frozen = run.freeze(*(f"samples/{name}" for name in samples))
    (process, job), (killed, _), (_, cancelled), (_, requeued) = frozen
    # A minute from its start, or from now where that is longer ago.
    begun = datetime.fromisoformat(run.cluster.show(job)["StartTime"])
    minutes = int((datetime.now() - begun).total_seconds() // 60) + 1
    run.cluster.call("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")
    os.kill(killed, signal.SIGKILL)
    run.cluster.call("scancel", str(cancelled))
    run.cluster.call("scontrol", "requeue", str(requeued))
    run.wait("the requeued job waits", lambda: run.state(requeued) == "PENDING")
    run.wait("the cancelled job is gone", lambda: run.state(cancelled) == "CANCELLED")
    run.cluster.call("scontrol", "update", f"JobId={requeued}", "StartTime=now")
    run.cluster.restart_controller()
    run.wait("SIGTERM near the time limit", lambda: was_sent(process, signal.SIGTERM))
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def disturb_node(run: Run) -> None:
    """Drain the node under a final training, let it fail, and bring it back."""
    [(_, job)] = run.freeze("budgets/half/dwr")
    name = f"NodeName={run.cluster.host}"
    run.cluster.call("scontrol", "update", name, "State=DRAIN", "Reason=test")
    assert run.cluster.node_state() == "drng"
    assert run.state(job) == "RUNNING"
    run.cluster.call("scontrol", "update", name, "State=DOWN", "Reason=test")
    run.cluster.kill_processes(job)
    run.wait("the job waits again", lambda: run.state(job) == "PENDING")
    # SLURM counts in seconds: within that of the failure slurmd takes the new start for the old one
    # and refuses it ("Job credential revoked").
    time.sleep(2)
    run.cluster.call("scontrol", "update", name, "State=RESUME")
    run.cluster.call("scontrol", "update", f"JobId={job}", "StartTime=now")


def was_sent(process: int, number: signal.Signals) -> bool:
    """Tell whether a stopped process has a signal waiting for it, or has ended by it."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return True
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$", status, flags=re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.fixture(scope="module")
def beside(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Project, Future[subprocess.CompletedProcess[str]]]]:
    """The same config on this machine without SLURM, while the disturbed run waits for things."""
    project = new_project(tmp_path_factory.mktemp("undisturbed") / "project")
    with ThreadPoolExecutor() as pool:
        yield (
            project,
            pool.submit(project.run, "--cores", "1", config=["--configfile", "small.yaml"]),
        )


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, beside: object) -> Run:
    run = Run(new_project(tmp_path_factory.mktemp("disturbed") / "project"), cluster)
    run.start()
    try:
        disturb_controller(run)
        disturb_samples(run)
        disturb_node(run)
        assert run.process is not None
        returned = run.process.wait(900)
    finally:
        if run.process is not None and run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
    assert returned == 0, run.told()[-5000:]
    return run


@pytest.fixture(scope="module")
def undisturbed(beside: tuple[Project, Future[subprocess.CompletedProcess[str]]]) -> Project:
    project, running = beside
    done = running.result()
    assert done.returncode == 0, done.stderr[-5000:]
    return project


def submissions(run: Run) -> dict[str, list[int]]:
    """Return the SLURM jobs of each rule or group with its wildcards."""
    found: dict[str, list[int]] = {}
    for job, comment in sorted(run.cluster.jobs().items()):
        found.setdefault(comment.removeprefix("rule_"), []).append(job)
    return found


def test_the_results_are_those_of_an_undisturbed_run(disturbed: Run, undisturbed: Project) -> None:
    found, expected = results(disturbed.project), results(undisturbed)
    assert len(expected) > 50
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if told(name, found) != told(name, expected)] == []


def told(name: str, files: dict[str, Path]) -> object:
    """Return what a file of results tells, but for seconds."""
    path = files[name]
    if name in ("results/tables/runs.csv", "results/tables/policies.csv"):
        return rows(path, re.compile("second|digest"))  # the digest is of the seconds, too
    return without("s an epoch", path, SHOWN[name]) if name in SHOWN else path.read_bytes()


def results(project: Project) -> dict[str, Path]:
    """Return the files of results, but for those that tell how the run went, by name."""
    paths = [p for p in project.folder.glob("results/**/*") if p.is_file()]
    names = {str(path.relative_to(project.folder)): path for path in paths}
    return {name: path for name, path in names.items() if not OF_THE_RUN.search(name)}


def without(column: str, table: Path, between: str) -> list[list[str]]:
    """Return the cells of a table for people, and the lines around it, without a column."""
    lines = [line.strip("| \\").split(between) for line in table.read_text().splitlines()]
    place = next(cells.index(column) for cells in lines if column in cells)
    return [cells[:place] + cells[place + 1 :] for cells in lines]


def rows(path: Path, drop: re.Pattern[str]) -> list[dict[str, str]]:
    with path.open() as stream:
        return [
            {key: value for key, value in row.items() if not drop.search(key)}
            for row in csv.DictReader(stream)
        ]


def test_every_disturbed_training_went_on_where_it_was(disturbed: Run) -> None:
    logs = disturbed.project.folder / "results/logs/digits/seed0"
    names = ["train_dense", "finetune_final/half_dwr"]
    names += [f"finetune_sample/{p}" for p in ("d67_w100_r100", "d100_w50_r100", "d100_w100_r75")]
    names += ["finetune_sample/d67_w75_r75"]
    for name in names:
        text = (logs / f"{name}.log").read_text()
        assert re.search(r"continuing after epoch [1-9]", text), f"{name}: {text}"


def test_the_reason_of_every_retry_is_kept(disturbed: Run) -> None:
    tables = disturbed.project.folder / "results/tables"
    found = rows(tables / "retries.csv", re.compile("^$"))
    reasons = {(row["rule"], row["job"].split("/")[-1]): row["reason"] for row in found}
    expected = {
        ("train_dense", "seed0"): "cancelled",
        ("finetune_sample", "d67_w100_r100"): "time limit",
        ("finetune_sample", "d100_w50_r100"): "died of SIGKILL",
        ("finetune_sample", "d100_w100_r75"): "cancelled",
        ("finetune_sample", "d67_w75_r75"): "requeued",
        ("finetune_final", "half_dwr"): "requeued",
    }
    assert reasons == expected
    used = {row["rule"]: row for row in rows(tables / "resources.csv", re.compile("^$"))}
    tuned = used["finetune_sample"]
    assert (tuned["jobs"], tuned["attempts"], tuned["retries"]) == ("5", "9", "4")
    assert tuned["reasons"] == "cancelled: 1; died of SIGKILL: 1; requeued: 1; time limit: 1"
    kept = disturbed.project.folder.glob("results/logs/**/*.attempt1.log")
    assert len(list(kept)) == len(expected)


def test_jobs_asked_for_what_they_should(disturbed: Run) -> None:
    shown = {
        name: [disturbed.cluster.show(job) for job in jobs]
        for name, jobs in submissions(disturbed).items()
    }
    data = shown["prepare_data_wildcards_digits_0"][0]
    assert (data["Partition"], data["TimeLimit"]) == ("cpu", "00:11:00")
    assert "TresPerJob" not in data
    dense = shown["train_dense_wildcards_digits_0"][0]
    assert (dense["Partition"], dense["TimeLimit"]) == ("gpu", "00:11:00")
    assert dense["TresPerJob"] == "gres:gpu:1"
    assert dense["MinMemoryNode"] == "4001M"
    assert dense["Requeue"] == "1"
    killed = next(jobs for name, jobs in shown.items() if "d100_w50_r100" in name)
    # Pruning and fine-tuning together; the second attempt asks for twice as much.
    assert [job["TimeLimit"] for job in killed] == ["00:22:00", "00:44:00"]
    assert [job["MinMemoryNode"] for job in killed] == ["4001M", "8002M"]
    assert {job["TresPerJob"] for job in killed} == {"gres:gpu:1"}
    final = next(jobs for name, jobs in shown.items() if "half_dwr" in name)[0]
    assert (final["Partition"], final["TresPerJob"]) == ("gpu", "gres:gpu:1")


def test_pruning_and_fine_tuning_are_one_submission_and_seconds_are_local(disturbed: Run) -> None:
    counted = {name: len(jobs) for name, jobs in submissions(disturbed).items()}
    alone = ("prepare_data", "analyze_dense", "evaluate_dense", "rank_blocks")
    assert [counted.pop(f"{rule}_wildcards_digits_0") for rule in alone] == [1, 1, 1, 1]
    # A requeued job keeps its number.
    assert counted.pop("train_dense_wildcards_digits_0") == 2
    samples = {name: count for name, count in counted.items() if "half" not in name}
    assert sorted(samples.values()) == [1, 1, 2, 2, 2]
    assert [count for name, count in counted.items() if "half_dwr" in name] == [1]
    assert len(counted) == 6


def test_no_output_ever_had_two_writers(disturbed: Run) -> None:
    ends: dict[int, list[Completed]] = {}
    for end in disturbed.cluster.completed():
        ends.setdefault(end.job, []).append(end)
    for name, jobs in submissions(disturbed).items():
        spans = sorted(
            (end.fields["StartTime"], end.fields["EndTime"]) for job in jobs for end in ends[job]
        )
        for (_, ended), (begun, _) in pairwise(spans):
            assert ended <= begun, f"{name}: {spans}"
    assert "cancelling 1 jobs that an earlier run left" in disturbed.told()
    left = [p for p in disturbed.project.folder.glob("results/**/.*") if p.is_file()]
    assert left == []


def test_finished_work_was_not_done_again(disturbed: Run) -> None:
    first, second = disturbed.told().split("Building DAG of jobs...")[1:]
    assert "rule prepare_data:" in first
    assert "rule prepare_data:" not in second


def test_a_finished_run_has_nothing_to_do(disturbed: Run) -> None:
    done = disturbed.project.run("-n", config=["--configfile", "small.yaml"])
    assert "Nothing to be done" in done.stdout + done.stderr

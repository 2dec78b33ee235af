"""Attempts at a job: what is noted, what is found out later, and how it is summed up."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prune3d.data.registry import DatasetFacts
from prune3d.report.resources import failures, in_words, summarize
from prune3d.workflow.attempts import AttemptLog, parse_duration, read_attempts
from prune3d.workflow.resources import Workload, timing_minutes

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "logs/digits/seed0/finetune_sample/d67_w62.5_r100.log"
    path.parent.mkdir(parents=True)
    path.write_text("first\n")
    return path


def outcomes(log: Path) -> list[str]:
    return [attempt.outcome for attempt in read_attempts(AttemptLog(log).path)]


def test_a_job_that_succeeds_at_once_leaves_nothing(log: Path) -> None:
    attempts = AttemptLog(log)
    assert attempts.begin() == []
    attempts.end("completed")
    assert [path.name for path in log.parent.iterdir()] == [log.name]


def test_a_process_that_left_no_end_was_killed(log: Path) -> None:
    AttemptLog(log).begin()
    attempts = AttemptLog(log)
    assert [a.outcome for a in attempts.begin()] == ["killed"]
    attempts.end("completed")
    assert outcomes(log) == ["killed", "completed"]


def test_the_same_slurm_job_again_was_requeued(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    AttemptLog(log).begin()
    AttemptLog(log).begin()
    assert outcomes(log) == ["requeued", ""]


@pytest.mark.parametrize(
    ("state", "own", "reason"),
    [
        ("TIMEOUT", "terminated", "time limit"),
        ("CANCELLED by 1000", "terminated", "cancelled"),
        ("OUT_OF_MEMORY", "", "out of memory"),
        ("NODE_FAIL", "", "node failure"),
        ("FAILED", "error: no space left on device", "error: no space left on device"),
        ("FAILED", "", "killed"),
        ("", "terminated", "terminated"),
    ],
)
def test_slurm_knows_what_the_process_could_not_note(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, own: str, reason: str
) -> None:
    sacct = tmp_path / "bin/sacct"
    sacct.parent.mkdir()
    sacct.write_text(f'#!/bin/sh\n[ "$5" = 12 ] && echo "{state}"\n')
    # The real one would wait for a controller that is not there.
    squeue = tmp_path / "bin/squeue"
    squeue.write_text("#!/bin/sh\necho 1-00:00:00\n")
    for command in (sacct, squeue):
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sacct.parent}:/bin:/usr/bin")
    monkeypatch.setenv("SLURM_CONF", "/nowhere")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    first = AttemptLog(log)
    first.begin()
    if own:
        first.end(own)
    monkeypatch.setenv("SLURM_JOB_ID", "13")
    assert [a.outcome for a in AttemptLog(log).begin()] == [reason]


def test_the_log_of_a_failed_attempt_is_kept_although_snakemake_deletes_it(log: Path) -> None:
    AttemptLog(log).begin()
    log.unlink()
    log.write_text("second\n")
    attempts = AttemptLog(log)
    attempts.begin()
    attempts.end("completed")
    assert (log.parent / "d67_w62.5_r100.attempt1.log").read_text() == "first\n"
    assert not (log.parent / "d67_w62.5_r100.attempt2.log").exists()
    assert log.read_text() == "second\n"


@pytest.mark.parametrize(
    "damage",
    [
        b'{"event": "ended", "outc',
        b"{oops\n",
        b"[1, 2]\n",
        b"[" * 100_000 + b"\n",
        b'{"event": "begun"}\n\xff\xfe\x00',
        b'{"event": ["begun"], "time": 3}\n',
        b'{"event": "ended", "outcome": {"a": 1}, "time": null}\n',
        b"\n\n",
    ],
)
def test_a_damaged_line_stops_nothing_and_swallows_no_other(log: Path, damage: bytes) -> None:
    first = AttemptLog(log)
    first.begin()
    first.end("error: no.")
    with first.path.open("ab") as stream:
        stream.write(damage)
    second = AttemptLog(log)
    assert second.begin()[0].number == 1
    second.end("completed")
    assert outcomes(log)[-1] == "completed"


@pytest.mark.parametrize("damage", ["folder", "foreign", "gone"])
def test_a_log_that_cannot_be_written_stops_nothing(
    log: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = AttemptLog(log)
    if damage == "folder":
        attempts.path.mkdir()
    elif damage == "foreign":
        attempts.path.write_bytes(bytes(range(256)))
    else:
        shutil.rmtree(log.parent)
        log.parent.write_text("a file where the folder was")
    assert attempts.begin() == []
    attempts.end("error: no.")
    assert ("cannot be noted" in caplog.text) == (damage != "foreign")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_stops_nothing(log: Path, caplog: pytest.LogCaptureFixture) -> None:
    attempts = AttemptLog(log)
    attempts.path.symlink_to("/dev/full")
    attempts.begin()
    attempts.end("completed")
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1:30", 90), ("2:00:00", 7200), ("1-00:00:01", 86401), ("UNLIMITED", None), ("", None)],
)
def test_slurms_durations_are_read(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


def test_resources_are_summed_by_rule(log: Path, tmp_path: Path) -> None:
    AttemptLog(log).begin()
    AttemptLog(log).begin()
    failed = failures([log])
    assert [(f["rule"], f["job"], f["attempt"], f["reason"]) for f in failed] == [
        ("finetune_sample", "digits/seed0/d67_w62.5_r100", 1, "killed"),
        ("finetune_sample", "digits/seed0/d67_w62.5_r100", 2, "killed"),
    ]
    # The second is going on for the job that asks.
    assert len(failures([log], running=log)) == 1
    for name, seconds, rss in (("a", 2.0, "100.5"), ("b", 4.0, "NA")):
        path = tmp_path / f"benchmarks/digits/seed0/finetune_sample/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as stream:
            writer = csv.writer(stream, delimiter="\t")
            writer.writerows([("s", "max_rss", "cpu_time"), (seconds, rss, 3.0)])
    (row,) = summarize((tmp_path / "benchmarks").rglob("*.tsv"), failed)
    assert (row["jobs"], row["attempts"], row["retries"]) == (2, 4, 2)
    assert (row["seconds"], row["seconds_mean"], row["seconds_longest"]) == (6.0, 3.0, 4.0)
    assert (row["cpu_seconds"], row["max_rss_mb"]) == (6.0, 100.5)
    assert row["reasons"] == "killed: 2"
    assert in_words(failed) == "2 attempts were made again: killed (2)"


@pytest.mark.parametrize(("deferred", "told"), [(False, "begun\n"), (True, "begun\nsaved\n")])
@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_ends_a_job_at_once_and_a_training_when_it_has_saved(
    deferred: bool, told: str, signals: int
) -> None:
    code = f"""
import time
from prune3d.train import interrupt
interrupt.listen()
if {deferred}:
    interrupt.defer()
print("begun", flush=True)
while not interrupt.is_asked():
    time.sleep(0.01)
print("saved", flush=True)
interrupt.stop_if_asked()
print("went on", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=SCRIPTS, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    for _ in range(signals):
        os.kill(process.pid, signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert first + rest == told
    assert process.returncode == 128 + signal.SIGTERM


def test_requests_grow_with_the_experiment_and_the_attempt_within_bounds() -> None:
    digits = Workload(images=1797, side=8, channels=1, epochs=30)
    assert (digits.minutes(1), digits.minutes(2)) == (11, 22)
    # 60,000 images of 32x32 pixels, 200 times: 12.3e9 pixels at 5e6 a second are 41 minutes.
    cifar = Workload(images=60000, side=32, channels=3, epochs=200)
    assert (cifar.minutes(1), cifar.minutes(3)) == (51, 153)
    assert cifar.memory_mb(1) == 4000 + 369
    # In bytes 184 MB, in each of four processes once more.
    assert cifar.memory_mb(1, 4) == pytest.approx(4369 + 4 * (4000 + 184.3), abs=1)
    # 200 GB as bytes, of which 4 are held.
    imagenet = DatasetFacts(side=224, channels=3, classes=1000, images=1281167, test_images=50000)
    large = Workload.of(imagenet, 90, resident_gb=4.0)
    assert (large.minutes(1), large.memory_mb(1)) == (24 * 60, 12000)
    assert (large.minutes(5), large.memory_mb(9)) == (24 * 60, 64000)
    # 156 engines of two minutes, or a VGG-16's passes on a CPU.
    assert timing_minutes(156, 0, "tensorrt", "cuda", 1) == 10 + 312
    assert timing_minutes(156, 33 * 224**2, "onnxruntime", "cpu", 1) == 10 + 57
    folder = DatasetFacts(side=64, channels=3, classes=5, images=None, test_images=None)
    assert Workload.of(folder, 1, 4.0).minutes(1) == 10 + 18

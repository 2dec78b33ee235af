"""Jobs that die, are ended or interrupted: what is told, what is noted, and what is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prune3d.workflow.attempts import read_attempts
from prune3d.workflow.watch import ASKED, explain_death

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# As Snakemake runs a script: a global of this name, and the process is the job's own.
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
from prune3d.workflow.job import Job
class Named(dict):
    __getattr__ = dict.__getitem__
    def __iter__(self):
        return iter(self.values())
snakemake = SimpleNamespace(
    input=Named(), output=Named(model="out/model.safetensors"), params=SimpleNamespace(settings={}),
    wildcards=Named(experiment="digits", seed="3"), resources={}, threads=1, rule="train_dense",
    log=["logs/a.log"],
)
def wait():
    print(os.getpid(), os.getppid(), flush=True)
    time.sleep(600)
with Job(snakemake) as job:
"""


def start(folder: Path, body: str) -> subprocess.Popen[str]:
    script = folder / "job.py"
    script.write_text(SCRIPT + "".join(f"    {line}\n" for line in body.splitlines()))
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def outcomes(folder: Path) -> list[str]:
    return [attempt.outcome for attempt in read_attempts(folder / "logs/a.attempts.jsonl")]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    "number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGKILL]
)
def test_a_death_is_told_in_a_sentence_and_noted(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, f"os.kill(os.getpid(), {int(number)})")
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    [line] = told.splitlines()
    assert line.startswith("[train_dense digits 3] train_dense digits 3 ")
    assert number.name in line
    assert "no fault of the config" in line
    assert ("memory" in line) == (number == signal.SIGKILL)
    assert ("compute.channels_last: never" in line) == (number != signal.SIGKILL)
    assert line.removeprefix("[train_dense digits 3] ") in (tmp_path / "logs/a.log").read_text()
    assert outcomes(tmp_path) == [f"died of {number.name}"]
    # The next attempt takes the lock over, says why it is made, and leaves nothing.
    again = start(tmp_path, "job.say('done')")
    _, told = again.communicate(timeout=120)
    assert again.returncode == 0
    assert f"attempt 1 ended: died of {number.name}" in told
    assert outcomes(tmp_path) == [f"died of {number.name}", "completed"]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", sorted(ASKED))
def test_a_job_that_was_asked_to_end_needs_no_explanation(tmp_path: Path, number: int) -> None:
    body = f"signal.signal({number}, signal.SIG_DFL)\nos.kill(os.getpid(), {number})"
    process = start(tmp_path, body)
    _, told = process.communicate(timeout=120)
    assert (process.returncode, told) == (128 + number, "")
    assert outcomes(tmp_path) == ["terminated"]


@pytest.mark.parametrize("whom", ["the job", "its watcher", "both"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_told_to_end_says_so_without_a_traceback(
    tmp_path: Path, number: signal.Signals, whom: str
) -> None:
    if (whom, number) == ("its watcher", signal.SIGINT):
        pytest.skip("a terminal tells all")
    process = start(tmp_path, "wait()")
    assert process.stdout is not None
    job, watcher = map(int, process.stdout.readline().split())
    if whom == "both":
        os.killpg(process.pid, number)
    else:
        os.kill(job if whom == "the job" else watcher, number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    [line] = told.splitlines()
    assert "ended on request; the next attempt continues" in line
    assert outcomes(tmp_path) == ["terminated" if number == signal.SIGTERM else "interrupted"]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep the orphan, and its lock")
def test_no_job_outlives_its_watcher(tmp_path: Path) -> None:
    process = start(tmp_path, "wait()")
    assert process.stdout is not None
    job, watcher = map(int, process.stdout.readline().split())
    assert watcher == process.pid
    process.kill()
    process.communicate(timeout=120)
    while is_alive(job):
        time.sleep(0.01)


@pytest.mark.parametrize("status", [0, 1, 7])
def test_the_exit_status_is_the_jobs(tmp_path: Path, status: int) -> None:
    process = start(tmp_path, f"sys.exit({status})" if status else "pass")
    process.communicate(timeout=120)
    assert process.returncode == status


def test_every_signal_has_an_explanation() -> None:
    for number in range(1, signal.NSIG):
        text = explain_death(number)
        assert text.endswith(".") and "\n" not in text

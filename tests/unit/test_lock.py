"""One live writer: two processes, one that is killed, and one on another machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from prune3d.workflow.lock import Owner, WriterLock

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
HOLD = """
import sys, time
from pathlib import Path
from prune3d.workflow.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]), work=sys.argv[2], poll=0.02)
lock.acquire()
journal = Path(sys.argv[3])
with journal.open("a") as stream:
    stream.write("in\\n")
time.sleep(float(sys.argv[4]))
with journal.open("a") as stream:
    stream.write("out\\n")
lock.release()
"""


def hold(path: Path, journal: Path, seconds: float, work: str = "w") -> subprocess.Popen[bytes]:
    """Hold a lock in a process of its own."""
    arguments = [str(path), work, str(journal), str(seconds)]
    return subprocess.Popen([sys.executable, "-c", HOLD, *arguments], cwd=SCRIPTS)


def wait_until(happened: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_processes_that_want_the_same_lock_come_one_after_another(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    processes = [hold(tmp_path / "lock", journal, 0.05) for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    assert journal.read_text().split() == ["in", "out"] * 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal"]


def test_a_lock_is_waited_for_while_its_owner_lives(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    other = hold(tmp_path / "lock", journal, 0.5, work="the same")
    wait_until(journal.exists)
    lock = WriterLock(tmp_path / "lock", work="mine", poll=0.02)
    waited_for = lock.acquire()
    assert waited_for is not None
    assert (waited_for.pid, waited_for.work) == (other.pid, "the same")
    assert journal.read_text().split() == ["in", "out"]
    lock.release()
    other.wait()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    other = hold(tmp_path / "lock", journal, 60)
    wait_until(journal.exists)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / "lock").exists()
    lock = WriterLock(tmp_path / "lock", poll=0.02)
    assert lock.acquire() is None
    lock.release()
    assert not (tmp_path / "lock").exists()


def test_a_process_number_that_is_used_again_is_not_the_owner(tmp_path: Path) -> None:
    owner = replace(Owner.this_process(""), started="1")
    (tmp_path / "lock").write_text(json.dumps(asdict(owner)))
    assert WriterLock(tmp_path / "lock", poll=0.02).acquire() is None


@pytest.mark.parametrize(("silence", "alive"), [(1000.0, False), (0.0, True)])
def test_an_owner_on_another_machine_is_judged_by_its_sign_of_life(
    tmp_path: Path, silence: float, alive: bool
) -> None:
    path = tmp_path / "lock"
    owner = replace(Owner.this_process(""), machine="elsewhere", pid=1)
    path.write_text(json.dumps(asdict(owner)))
    os.utime(path, (time.time() - silence,) * 2)
    lock = WriterLock(path, poll=0.05, patience=0.6)
    begun = time.monotonic()
    waited_for = lock.acquire()
    assert (waited_for == owner) == alive
    # The other's last sign of life was just now: it is given the whole patience.
    assert (time.monotonic() - begun >= 0.5) == alive
    lock.release()


def test_an_owner_leaves_signs_of_life(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = WriterLock(path, heartbeat=0.02)
    lock.acquire()
    os.utime(path, (0, 0))
    wait_until(lambda: path.stat().st_mtime > 1e9)
    lock.release()


def test_a_lock_that_was_lost_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = WriterLock(path)
    lock.acquire()
    other = replace(Owner.this_process(""), machine="elsewhere")
    path.write_text(json.dumps(asdict(other)))
    lock.release()
    assert path.exists()

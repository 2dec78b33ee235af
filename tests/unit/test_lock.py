"""One live writer: two processes, one that is killed, and one on another machine."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from prune3d.workflow import lock as lock_module
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


class Clock:
    """Time that passes when somebody sleeps; between sleeps the world goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: Callable[[float], object]) -> None:
        self.now, self._step = 1000.0, step
        monkeypatch.setattr(lock_module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._step(self.now - 1000)


ELSEWHERE = replace(Owner.this_process(""), machine="elsewhere", pid=1)


@pytest.mark.parametrize("jump", [0.0, 1e7, -1e7])
@pytest.mark.parametrize(
    "content",
    [json.dumps(asdict(ELSEWHERE)), "", "{", "[1]", '{"pid": 3}', "\xff" * 9, "[" * 10**5],
    ids=["owner", "empty", "cut", "a list", "a part", "bytes", "deep"],
)
def test_a_lock_without_a_sign_of_life_is_taken_over_whatever_the_clocks_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, jump: float
) -> None:
    path = tmp_path / "lock"
    path.write_text(content, encoding="latin-1")
    os.utime(path, (time.time() + jump,) * 2)
    clock = Clock(monkeypatch, lambda passed: None)
    lock = WriterLock(path, poll=2, patience=120)
    assert lock.acquire() is None
    assert 120 <= clock.now - 1000 <= 124
    lock.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("content", [json.dumps(asdict(ELSEWHERE)), ""], ids=["owner", "empty"])
def test_an_owner_elsewhere_is_waited_for_while_it_leaves_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, direction: int
) -> None:
    path = tmp_path / "lock"
    path.write_text(content)

    def owner(passed: float) -> None:
        if passed >= 1000:
            path.unlink(missing_ok=True)
        elif passed % 20 == 0:
            # Its clock may run backwards, or far ahead.
            os.utime(path, (time.time() + direction * 1e6 * passed,) * 2)

    clock = Clock(monkeypatch, owner)
    lock = WriterLock(path, poll=2, patience=120)
    assert lock.acquire() == (ELSEWHERE if content else None)
    assert clock.now - 1000 == 1000
    lock.release()


def test_of_many_that_find_a_dead_owner_one_at_a_time_writes(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    for _ in range(3):
        (tmp_path / "lock").write_text(json.dumps(asdict(replace(Owner.this_process(""), pid=0))))
        processes = [hold(tmp_path / "lock", journal, 0.01) for _ in range(8)]
        assert [process.wait(120) for process in processes] == [0] * 8
    assert journal.read_text().split() == ["in", "out"] * 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal"]


def test_a_turn_whose_process_died_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(json.dumps(asdict(replace(Owner.this_process(""), pid=0))))
    (tmp_path / "lock.turn").touch()
    lock = WriterLock(tmp_path / "lock")
    assert lock.acquire() is None
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_everyone_whom_the_umask_allows_can_read_a_lock(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path / "lock")
    before = os.umask(0o022)
    try:
        lock.acquire()
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)
        lock.release()


def test_hard_links_are_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError("Operation not permitted")

    for name in ("link", "symlink"):
        monkeypatch.setattr(os, name, refuse)
    first, second = (WriterLock(tmp_path / "lock") for _ in range(2))
    first.acquire()
    assert second._try() is False
    first.release()
    assert second._try() is True


@pytest.mark.parametrize("damage", ["no folder", "a folder", "a link to nothing", "full"])
def test_where_no_lock_can_be_made_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "place/lock"
    if damage == "no folder":
        path.parent.write_text("a file")
    else:
        path.parent.mkdir()
    if damage == "a folder":
        (path / "content").mkdir(parents=True)
    elif damage == "a link to nothing":
        path.symlink_to(tmp_path / "nothing")
    elif damage == "full":

        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(json, "dump", full)
    Clock(monkeypatch, lambda passed: None)
    lock = WriterLock(path)
    assert lock.acquire() is None
    lock.release()
    assert ("no other process is kept from" in caplog.text) == (damage != "a link to nothing")
    assert damage != "full" or list(path.parent.iterdir()) == []


def test_a_lock_that_was_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "folder/lock"
    lock = WriterLock(path, heartbeat=0.02)
    lock.acquire()
    path.unlink()
    wait_until(path.exists)
    shutil.rmtree(path.parent)
    # Nobody knows how often it beats without a folder; it must live.
    path.parent.mkdir()
    wait_until(path.exists)
    lock.release()
    assert list(path.parent.iterdir()) == []


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

"""One live writer of a job's files, whatever starts the job twice.

A controller of the workflow that is killed leaves its cluster jobs behind, and its successor may
submit them again. The lock is a small file beside the outputs that names its owner. It needs
neither advisory locks nor hard links: the system makes a file that must not exist for one process
alone, and its time of change is the owner's heartbeat. A lock whose owner is gone is taken over.

No clock is trusted: an owner that cannot be looked up is gone when its lock has not changed for
some time by the waiting process's own count. Where no lock can be made, work goes on without.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """A process that writes.

    Attributes
    ----------
    machine
        Stands for one boot of one machine and one space of process numbers.
    host
        Name of the machine, for people.
    pid, started
        Process number, and when it started in clock ticks, since numbers are used again.
    slurm_job
        Number of its SLURM job, for people.
    work
        Stands for what the process makes: two with the same make the same files.
    """

    machine: str
    host: str
    pid: int
    started: str
    slurm_job: str
    work: str

    @classmethod
    def this_process(cls, work: str) -> Owner:
        """Describe the running process."""
        return cls(
            machine=_machine(),
            host=platform.node(),
            pid=os.getpid(),
            started=_started(os.getpid()),
            slurm_job=os.environ.get("SLURM_JOB_ID", ""),
            work=work,
        )

    def __str__(self) -> str:
        batch = f", SLURM job {self.slurm_job}" if self.slurm_job else ""
        return f"process {self.pid} on {self.host}{batch}"


@dataclass(frozen=True)
class Held:
    """A lock that somebody has, as it was found.

    Attributes
    ----------
    owner
        None where the file is empty, foreign, or cannot be read.
    changed
        Its time of change in nanoseconds, by whatever clock.
    """

    owner: Owner | None
    changed: int


class WriterLock:
    """The right to write the files of one job.

    Parameters
    ----------
    path
        The lock's file.
    work
        See `Owner`.
    heartbeat
        Seconds between signs of life.
    patience
        Seconds without a sign of life after which an owner that is not on this machine, or not
        known, is taken for dead; owners on this machine are looked up among its processes.
    poll
        Seconds between looks at a lock that is held.
    """

    def __init__(
        self,
        path: Path,
        work: str = "",
        *,
        heartbeat: float = 20.0,
        patience: float = 120.0,
        poll: float = 2.0,
    ) -> None:
        self.path = path
        self._turn_file = path.with_name(f"{path.name}.turn")
        self._owner = Owner.this_process(work)
        self._heartbeat, self._patience, self._poll = heartbeat, patience, poll
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def beside(cls, output: str | Path, work: str = "") -> WriterLock:
        """Return the lock of the job whose first output is given."""
        output = Path(output)
        return cls(output.with_name(f".{output.name}.lock"), work)

    def acquire(self) -> Owner | None:
        """Wait until no other live process holds the lock, and take it.

        Returns
        -------
        Owner or None
            Who was waited for and gave it back; None where there was nobody, nobody known, or
            somebody who died.
        """
        waited_for = None
        try:
            waited_for = self._wait()
        except OSError as error:
            log.warning("no other process is kept from writing %s: %s", self.path.parent, error)
        else:
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
        return waited_for

    def release(self) -> None:
        """Give the lock back; does nothing where it is not held any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with contextlib.suppress(OSError):
            held = self._look()
            if held is not None and held.owner == self._owner:
                self._turn_file.unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)

    def _wait(self) -> Owner | None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        last: Held | None = None
        seen = time.monotonic()
        waited_for: Owner | None = None
        told = False
        while not self._try():
            held = self._look()
            if held is None:
                continue
            if held != last:
                last, seen = held, time.monotonic()
            if self._is_gone(held, time.monotonic() - seen):
                self._take_over(held)
                waited_for = None
                continue
            if not told or waited_for != held.owner:
                log.info("waiting for %s, which is writing these files", self._name(held.owner))
                waited_for, told = held.owner, True
            time.sleep(self._poll)
        return waited_for

    def _name(self, owner: Owner | None) -> str:
        return str(owner or f"the unknown owner of {self.path}")

    def _try(self) -> bool:
        """Make the lock, which fails where there is one."""
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(asdict(self._owner), stream)
        except OSError:
            # A full disk; an empty lock would only be in the way.
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _look(self) -> Held | None:
        """Return who has the lock, None where there is none."""
        try:
            changed = self.path.lstat().st_mtime_ns
        except FileNotFoundError:
            return None
        try:
            owner = Owner(**json.loads(self.path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            # Empty for the moment between making and writing it, too.
            owner = None
        return Held(owner, changed)

    def _is_gone(self, held: Held, silence: float) -> bool:
        owner = held.owner
        if owner is not None and owner.machine == self._owner.machine:
            return owner.started != _started(owner.pid)
        return silence >= self._patience

    def _take_over(self, dead: Held) -> None:
        """Remove a dead owner's lock; of several processes that try, one does."""
        with self._turn():
            if self._look() == dead:
                log.info("taking over from %s, which is gone", self._name(dead.owner))
                self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one process at a time in; the system ends the turn of one that dies."""
        entered = False
        while not entered:
            with self._turn_file.open("a") as stream:
                # Without advisory locks two processes would have to look within microseconds.
                with contextlib.suppress(OSError):
                    fcntl.flock(stream, fcntl.LOCK_EX)
                entered = _is_same(stream, self._turn_file)
                if not entered:
                    continue
                try:
                    yield
                finally:
                    self._turn_file.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat):
            try:
                self._sign()
            except OSError as error:
                log.warning("no sign of life could be left in %s: %s", self.path, error)

    def _sign(self) -> None:
        held = self._look()
        if held is None:
            # Somebody has cleaned up.
            self._try()
        elif held.owner is not None and held.owner != self._owner:
            # This process was suspended for so long that another took it for dead.
            log.error("%s belongs to another process now; giving up", self.path)
            os._exit(1)
        else:
            os.utime(self.path)


def _machine() -> str:
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _started(pid: int) -> str:
    """Return when a process started, or nothing where it is gone or a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "unknown"
    try:
        # The command's name, in parentheses, may hold anything.
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _is_same(stream: IO[str], path: Path) -> bool:
    """Tell whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except OSError:
        return False

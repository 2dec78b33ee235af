"""One live writer of a job's files, whatever starts the job twice.

A controller of the workflow that is killed leaves its cluster jobs behind, and its successor may
submit them again. The lock is a small file beside the outputs that names its owner. It works on
file systems without advisory locks: it is made by a hard link, which either exists or does not, and
its time of change is the owner's heartbeat. A lock whose owner is gone is taken over.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import signal
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

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
        Seconds without a sign of life after which an owner on another machine is taken for dead;
        owners on this machine are looked up among its processes.
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
            Who was last waited for; None where nobody alive had it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        waited_for: Owner | None = None
        while not self._try():
            holder = self._read()
            if holder is None:
                continue
            if not self._is_alive(holder):
                self._take_over(holder)
            elif waited_for != holder:
                waited_for = holder
                log.info("waiting for %s, which is writing these files", holder)
                time.sleep(self._poll)
            else:
                time.sleep(self._poll)
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return waited_for

    def release(self) -> None:
        """Give the lock back; does nothing where it is not held any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._read() == self._owner:
            self.path.unlink(missing_ok=True)

    def _try(self) -> bool:
        temporary = self._write_temporary()
        try:
            os.link(temporary, self.path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def _write_temporary(self) -> Path:
        handle, name = tempfile.mkstemp(prefix=f"{self.path.name}.", dir=self.path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(asdict(self._owner), stream)
        return Path(name)

    def _read(self) -> Owner | None:
        try:
            return Owner(**json.loads(self.path.read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None

    def _is_alive(self, owner: Owner) -> bool:
        if owner.machine == self._owner.machine:
            return owner.started == _started(owner.pid)
        # The file system's clock on both sides, so that machines' clocks may differ.
        probe = self._write_temporary()
        try:
            silence = probe.stat().st_mtime - self.path.stat().st_mtime
        except FileNotFoundError:
            return True
        finally:
            probe.unlink()
        return silence < self._patience

    def _take_over(self, dead: Owner) -> None:
        """Remove a dead owner's lock; of several processes that try, one does."""
        turn = self.path.with_name(f"{self.path.name}.turn")
        try:
            turn.mkdir()
        except FileExistsError:
            if time.time() - _changed(turn) > self._patience:
                turn.rmdir()
            time.sleep(min(self._poll, 0.1))
            return
        try:
            if self._read() == dead:
                log.info("taking over from %s, which is gone", dead)
                self.path.unlink(missing_ok=True)
        finally:
            turn.rmdir()

    def _beat(self) -> None:
        while not self._stop.wait(self._heartbeat):
            try:
                if self._read() != self._owner:
                    # This process was suspended for so long that another took it for dead.
                    log.error("%s belongs to another process now; giving up", self.path)
                    os.kill(os.getpid(), signal.SIGKILL)
                os.utime(self.path)
            except OSError as error:
                log.warning("no sign of life could be left in %s: %s", self.path, error)


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


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()

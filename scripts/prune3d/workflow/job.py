"""What a script of the workflow has in common with the others: log, threads, device, provenance."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from prune3d import __version__
from prune3d.costs.rounding_file import ROUNDING
from prune3d.errors import UserError, one_line
from prune3d.files import PLACE, remove_partial
from prune3d.processes import signal_name
from prune3d.seeds import derive_seed
from prune3d.train import interrupt
from prune3d.workflow.attempts import COMPLETED, TERMINATED, AttemptLog
from prune3d.workflow.devices import TakenDevices, gpus_asked, take_gpus
from prune3d.workflow.lock import WriterLock
from prune3d.workflow.watch import ASKED, explain_death, go_on_in_child

if TYPE_CHECKING:
    import torch

    from prune3d.train.resume import ResumeFile

T = TypeVar("T")
log = logging.getLogger("prune3d")


class LogFile(logging.FileHandler):
    """A job's log file; a message that cannot be written, as on a full disk, stops nothing."""

    def __init__(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # A name of a file may be no Unicode.
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Ignore it: the terminal has the message."""

    def close(self) -> None:
        """Close the file, whatever of it could not be written."""
        with contextlib.suppress(OSError):
            super().close()


class Job:
    """One job of the workflow, as a context.

    Messages go to the job's log file and, with the job's name before them, to the terminal. An
    error that the user can mend ends the job with its one sentence, any other with its traceback.
    Attempts and their ends are noted beside the log; while the job runs, no other process can
    write its outputs, and where another has just made them there is nothing left to do.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to a script.
    """

    def __init__(self, snakemake: Any) -> None:
        self.input, self.output = snakemake.input, snakemake.output
        # Settings by name, those of a figure, and the digest of the code.
        given = snakemake.params
        self.params: dict[str, Any] = {
            **getattr(given, "settings", {}),
            **getattr(given, "style", {}),
            **({"code": given.code} if hasattr(given, "code") else {}),
        }
        self.wildcards, self.resources = snakemake.wildcards, snakemake.resources
        self.threads = int(snakemake.threads)
        self.rule = str(snakemake.rule)
        self.gpus = gpus_asked(getattr(snakemake, "resources", {}))
        # Only for what has no part in the results; the rest comes as parameters.
        self.config = getattr(snakemake, "config", {})
        self._snakemake = snakemake
        self._name = " ".join([self.rule, *map(str, self.wildcards)])
        self._log_file = str(snakemake.log[0]) if snakemake.log else None
        self._attempts = AttemptLog(self._log_file) if self._log_file else None
        self._lock: WriterLock | None = None
        self._taken: TakenDevices | None = None
        self._begun = time.monotonic()
        self._device: torch.device | None = None
        self._remove_after: list[Path] = []

    def __enter__(self) -> Job:
        if getattr(sys.modules["__main__"], "snakemake", None) is self._snakemake:
            # The process is this job's alone.
            died_of = go_on_in_child()
            if died_of is not None:
                self._open_log()
                self._tell_death(died_of)
                sys.exit(128 + died_of)
        self._open_log()
        interrupt.listen()
        try:
            made = self._begin()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        if made:
            self._release(COMPLETED)
            sys.exit(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _undisturbed():
            try:
                self._tell_end(error)
                if error is None:
                    self._remove_states()
            finally:
                self._release(_outcome(error))
        if isinstance(error, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)
        if error is not None and _sentence(error):
            sys.exit(1)

    def _open_log(self) -> None:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setFormatter(logging.Formatter(f"[{self._name}] %(message)s"))
        log.handlers[:] = [terminal]
        log.setLevel(logging.INFO)
        log.propagate = False
        if self._log_file is None:
            return
        try:
            log.addHandler(LogFile(self._log_file))
        except OSError as error:
            log.warning("there is no log file %s (%s)", self._log_file, error.strerror)

    def _tell_death(self, number: int) -> None:
        if number not in ASKED:
            log.error("%s %s", self._name, explain_death(number))
        if self._attempts is not None:
            self._attempts.end(TERMINATED if number in ASKED else f"died of {signal_name(number)}")

    def _tell_end(self, error: BaseException | None) -> None:
        if error is None:
            return
        sentence = _sentence(error)
        if sentence:
            log.error("%s", sentence)
        elif isinstance(error, interrupt.Interrupted | KeyboardInterrupt):
            log.info("ended on request; the next attempt continues from the state that was saved")
        else:
            log.error("%s failed", self.rule, exc_info=error)

    def _remove_states(self) -> None:
        for path in self._remove_after:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _release(self, outcome: str) -> None:
        if self._attempts is not None:
            self._attempts.end(outcome)
        if self._taken is not None:
            self._taken.release()
        if self._lock is not None:
            self._lock.release()

    def say(self, message: str) -> None:
        """Tell something to the log and the terminal."""
        log.info("%s", message)

    def warn(self, message: str) -> None:
        """Tell something that puts the results in doubt to the log and the terminal."""
        log.warning("warning: %s", message)

    def optional_input(self, name: str) -> str | None:
        """Return an input that is not always there, or None."""
        return self.input.get(name) or None

    def setting(self, name: str) -> Any:
        """Return a parameter, or what another job measured where it is to be measured."""
        value = self.params[name]
        if name == "round_to" and value == "auto":
            return ROUNDING.read(self.input.rounding)["round_to"]
        return value

    def read(self, kind: type[T], **given: Any) -> T:
        """Make a dataclass from the parameters of the same names.

        Parameters
        ----------
        kind
            The dataclass. Every field is a parameter or given; its default is never taken in place
            of one. A parameter that is None has no effect on this job, so that there any value
            will do: the default.
        given
            Fields that no config has, by name.

        Raises
        ------
        TypeError
            If a field is neither a parameter nor given, both, or there is no field of that name.
        """
        names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
        set_here = {n: self.setting(n) for n in names if self.params.get(n) is not None}
        wrong = {
            "is no parameter": [n for n in names if n not in self.params and n not in given],
            "is given beside a parameter": [n for n in given if n in set_here],
            "is no field": [n for n in given if n not in names],
        }
        for reason, those in wrong.items():
            if those:
                raise TypeError(f"{self.rule}: '{those[0]}' {reason} of {kind.__name__}")
        return kind(**set_here, **given)

    def seed(self, *purpose: str) -> int:
        """Return a seed derived from the ``seed`` wildcard; see `prune3d.seeds.derive_seed`."""
        return derive_seed(int(self.wildcards.seed), *purpose)

    def device(self, *, only_cpu: bool = False) -> torch.device:
        """Return the device to compute on: a GPU where there is one; sets the thread count.

        On a machine without a batch system the job waits for GPUs that no other job has. With
        `only_cpu` it neither waits nor uses one.
        """
        import torch

        if self._device is None:
            torch.set_num_threads(self.threads)
            if only_cpu:
                self._device = torch.device("cpu")
                return self._device
            self._taken = take_gpus(os.environ, max(1, self.gpus))
            if self._taken is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self._taken.names)
            self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return self._device

    def resume_file(self, output: str) -> ResumeFile:
        """Return where the training that writes `output` keeps its state until it has ended.

        From here on a SIGTERM ends the job only when the training has saved its state.
        """
        from prune3d.train.resume import ResumeFile

        interrupt.defer()
        file = ResumeFile.beside(output, self.digest())
        remove_partial(file.path)
        self._remove_after.append(file.path)
        return file

    def tensorboard_folder(self, output: str) -> Path | None:
        """Return where the training that writes `output` puts event files, if it is to."""
        return Path(output).with_name("tensorboard") if self.config.get("tensorboard") else None

    def _begin(self) -> bool:
        """Note the attempt and lock the outputs; tell whether somebody made them meanwhile."""
        if self._attempts is not None:
            for earlier in self._attempts.begin():
                self.say(f"attempt {earlier.number} ended: {earlier.outcome}")
        outputs = [Path(path) for path in self.output]
        if not outputs:
            return False
        self._lock = WriterLock.beside(outputs[0], self._work())
        other = self._lock.acquire()
        for path in outputs:
            # What attempts that were killed had begun to write.
            remove_partial(path)
        if other is None or other.work != self._work() or not all(p.exists() for p in outputs):
            return False
        log.info("nothing to do: made by %s meanwhile", other)
        return True

    def _work(self) -> str:
        """Stand for what the job makes of what, without reading it."""
        files = [(str(path), _changed(Path(path))) for path in self.input]
        known = [self.rule, dict(self.wildcards.items()), self.params, files]
        return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()

    def digest(self) -> str:
        """Return a SHA-256 of the parameters, the inputs' contents and the versions.

        The next attempt may get another GPU, or other threads: it goes on there.
        """
        known = {
            "params": self.params,
            "wildcards": dict(self.wildcards.items()),
            "versions": {"prune3d": __version__, **versions()},
        }
        sha = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
        # Provenance holds durations: it differs each time the same network is made.
        for path in (p for p in self.input if not str(p).endswith("provenance.json")):
            with Path(path).open("rb") as stream:
                sha.update(hashlib.file_digest(stream, "sha256").digest())
        return sha.hexdigest()

    def write_provenance(
        self,
        path: str,
        *,
        seconds: dict[str, float] | None = None,
        earlier: dict[str, str] | None = None,
    ) -> None:
        """Write what may differ from run to run: versions, machine, device, durations.

        Parameters
        ----------
        path
            File name, by contract ``provenance.json`` beside a ``metrics.json``.
        seconds
            Durations of parts of the job, by name, beside that of the whole.
        earlier
            Provenance files of the jobs that made this job's network, by rule; they are taken in.
        """
        from prune3d.workflow.provenance import PROVENANCE

        durations = {**(seconds or {}), "job": time.monotonic() - self._begun}
        steps = {rule: PROVENANCE.read(file) for rule, file in (earlier or {}).items()}
        provenance = {
            "prune3d": __version__,
            "rule": self.rule,
            "wildcards": dict(self.wildcards.items()),
            "seed": int(self.wildcards.seed),
            "config": self.params,
            "device": describe_device(self._device),
            "threads": self.threads,
            "machine": platform.platform(),
            "python": platform.python_version(),
            "versions": versions(),
            "seconds": {name: round(value, 3) for name, value in durations.items()},
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "steps": steps,
        }
        PROVENANCE.write(path, provenance)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let neither SIGTERM nor SIGINT end what is done at the end of a job."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        interrupt.ignore()
        signal.signal(signal.SIGINT, before)


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _sentence(error: BaseException) -> str:
    """Return what is wrong where a user can mend it, or nothing."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in PLACE:
        where = f"{error.filename}: " if error.filename is not None else ""
        return one_line(f"{where}{error.strerror}; mend the folder or the disk, and run again.")
    return ""


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return COMPLETED
    if isinstance(error, interrupt.Interrupted):
        return TERMINATED
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"error: {one_line(_sentence(error) or str(error)) or type(error).__name__}"


def describe_device(device: torch.device | None) -> str:
    """Return the name of a device, such as ``cpu`` or a GPU's product name."""
    if device is None or device.type != "cuda":
        return "cpu"
    import torch

    return torch.cuda.get_device_name(device)


def versions() -> dict[str, str]:
    """Return the versions of the packages on which results depend."""
    found = {}
    for package in ("torch", "numpy", "scipy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

"""Which GPU a job takes where no batch system gives it one of its own. Needs no torch."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from prune3d.workflow.programs import ask

log = logging.getLogger(__name__)
SECONDS_A_QUESTION = 60.0


def count_gpus() -> int:
    """Return the number of GPUs that the driver lists, 0 where there is no driver or no answer."""
    if shutil.which("nvidia-smi") is None:
        return 0
    answer = ask(["nvidia-smi", "-L"], SECONDS_A_QUESTION)
    if answer.failure:
        log.warning("jobs do not wait for GPUs: nvidia-smi says '%s'", answer.failure)
    return sum(line.startswith("GPU ") for line in answer.text.splitlines())


def visible_gpus(environment: Mapping[str, str], installed: int) -> tuple[str, ...]:
    """Return the names under which CUDA can be told to use each GPU that it may use.

    Parameters
    ----------
    environment
        Where ``CUDA_VISIBLE_DEVICES`` is looked up: a list of numbers or of unique names, where
        the first that does not exist ends the list, as CUDA has it.
    installed
        Number of GPUs in the machine.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None or not installed:
        return tuple(str(i) for i in range(installed))
    names: list[str] = []
    for name in (part.strip() for part in listed.split(",")):
        known = int(name) < installed if name.isdigit() else name.startswith(("GPU-", "MIG-"))
        if not known or name in names:
            break
        names.append(name)
    return tuple(names)


def gpus_asked(resources: Mapping[str, Any]) -> int:
    """Return how many GPUs a job asks for, by ``gpu`` or by generic resources as ``gpu:a100:4``."""
    asked = int(resources.get("gpu", 0))
    generic = str(resources.get("gres") or "").strip("'\"").split(",")
    for kind, *rest in (part.split(":") for part in generic):
        if kind == "gpu":
            asked += int(rest[-1]) if rest and rest[-1].isdigit() else 1
    return asked


def jobs_per_gpu(environment: Mapping[str, str]) -> int:
    """Return how many jobs may share a GPU: ``PRUNE3D_JOBS_PER_GPU``, or 1."""
    text = environment.get("PRUNE3D_JOBS_PER_GPU", "1")
    if not text.isdigit() or int(text) < 1:
        from prune3d.errors import UserError

        raise UserError(
            f"the environment variable PRUNE3D_JOBS_PER_GPU is {text!r}; allowed is a whole "
            "number of at least 1."
        )
    return int(text)


@dataclass(frozen=True)
class DeviceSlots:
    """Places on GPUs, shared between all processes of a user on this machine.

    A place is a file whose advisory lock is held while it is taken: the system gives it back when
    the process ends, however it ends.

    Attributes
    ----------
    names
        The GPUs.
    per_gpu
        Places on each.
    folder
        Where the files lie; on a local disk.
    """

    names: Sequence[str]
    per_gpu: int
    folder: Path

    def take(self, count: int = 1, poll: float = 1.0) -> TakenDevices:
        """Wait for places on as many different GPUs and take them, all or none.

        The least crowded GPUs come first.
        """
        if count > len(self.names):
            raise ValueError(f"{count} GPUs are asked for, but there are {len(self.names)}.")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = False
        while True:
            taken = self._try(count)
            if taken is not None:
                return taken
            if not told:
                log.info("waiting for a free GPU of %s", ", ".join(self.names))
                told = True
            time.sleep(poll)

    def _try(self, count: int) -> TakenDevices | None:
        held: dict[str, IO[bytes]] = {}
        for place in range(self.per_gpu):
            for name in self.names:
                if name in held or len(held) == count:
                    continue
                stream: IO[bytes] = (self.folder / f"{name}.{place}.lock").open("ab")
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    stream.close()
                    continue
                held[name] = stream
        if len(held) == count:
            return TakenDevices(tuple(held), tuple(held.values()))
        for stream in held.values():
            stream.close()
        return None


@dataclass(frozen=True)
class TakenDevices:
    """GPUs that this process holds until `release` or its end."""

    names: tuple[str, ...]
    _streams: tuple[IO[bytes], ...]

    def release(self) -> None:
        """Give the places back."""
        for stream in self._streams:
            stream.close()


def slots_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of this user's places on this machine, or in an allocation there.

    A batch system may number the GPUs of each of its allocations from 0.
    """
    allocation = environment.get("SLURM_JOB_ID")
    name = f"prune3d-gpus-{os.getuid()}" + (f"-{allocation}" if allocation else "")
    return Path(tempfile.gettempdir()) / name


def take_gpus(environment: Mapping[str, str], count: int = 1) -> TakenDevices | None:
    """Take GPUs for this process, unless a batch system has done so or there are none.

    Where the allocation of a batch system has more GPUs than are asked for, several jobs share it.
    CUDA must be told of the names before it starts. Where no place can be kept, as without a
    temporary folder, every job uses the GPUs that CUDA gives it.
    """
    names = visible_gpus(environment, count_gpus())
    if not names or ("SLURM_JOB_ID" in environment and len(names) <= count):
        return None
    per_gpu = jobs_per_gpu(environment)
    try:
        slots = DeviceSlots(names, per_gpu, slots_folder(environment))
        return slots.take(min(count, len(names)))
    except OSError as error:
        log.warning("this job does not wait for a free GPU: %s", error)
        return None


def places(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many jobs can have a GPU of this machine at a time."""
    return len(visible_gpus(environment, count_gpus())) * jobs_per_gpu(environment)

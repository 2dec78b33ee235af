"""One training in several processes of one machine, each with a GPU of its own.

The training is written down (`prune3d.train.order`) and processes are started that read it
(`prune3d.train.worker`), since multiprocessing would run the caller's main script once more in
each.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch

from prune3d.errors import TrainingError, UserError
from prune3d.files import read_json
from prune3d.processes import signal_name
from prune3d.tensors import read_arrays
from prune3d.train import interrupt
from prune3d.train.order import write_order
from prune3d.train.task import Task, Training
from prune3d.train.worker import DIVERGED, FAILED, FORMAT, OUTCOME

# How long processes that lost one of them have to end by themselves, in seconds.
GRACE = 2.0
log = logging.getLogger(__name__)


def train_in_processes(task: Task) -> Training:
    """Train as `prune3d.train.train` does, with every batch divided among processes.

    Parameters
    ----------
    task
        With ``compute.processes``; its penalty is a function of a module, or `ChannelPenalty`.

    Raises
    ------
    UserError
        If a batch has fewer images than there are processes, there are fewer GPUs, the penalty
        cannot be found by other processes, or the training itself was refused.
    TrainingError
        If a process failed or was killed.
    Interrupted
        If the batch system asked this process to end, once the state of an epoch is saved.
    """
    count = task.compute.processes
    if task.recipe.batch_size < count:
        raise UserError(
            f"batch_size is {task.recipe.batch_size}; allowed is at least one image for each of "
            f"the {count} processes."
        )
    device = next(task.model.parameters()).device
    if device.type == "cuda" and torch.cuda.device_count() < count:
        raise UserError(
            f"{count} GPUs are asked for, but this process sees {torch.cuda.device_count()}."
        )
    with tempfile.TemporaryDirectory(prefix="prune3d-") as name:
        order = Path(name).absolute() / "order.json"
        write_order(order, task, device.type, torch.get_num_threads())
        task.model.to("cpu")
        if task.teacher is not None:
            task.teacher.to("cpu")
        _run(order, count)
        arrays, outcome = read_arrays(order.with_name(OUTCOME), FORMAT)
    task.model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    task.model.to(device)
    return Training(outcome["history"], outcome["seconds"], outcome["earlier_seconds"])


def _run(order: Path, count: int) -> None:
    """Run all processes to their end; where one ends early, end the others."""
    workers = [_start(order, rank, count) for rank in range(count)]
    listener = threading.Thread(target=_listen, args=(workers[0].stdout,), daemon=True)
    listener.start()
    told = False
    try:
        while _are_well(workers):
            time.sleep(0.1)
            if interrupt.is_asked() and not told:
                # The first process saves the state, and ends when it has done so.
                workers[0].terminate()
                told = True
        _wait(workers, GRACE)
    finally:
        ended = [worker.poll() for worker in workers]
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        listener.join()
    if any(ended):
        _raise_cause(order.parent, ended)


def _start(order: Path, rank: int, count: int) -> subprocess.Popen[str]:
    home = str(Path(__file__).resolve().parents[2])
    # What the user's own files import is looked for in the same places.
    paths = [home, *(str(Path(entry).absolute()) for entry in sys.path)]
    given = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    given |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    # One machine: the loopback device always exists and has a name.
    defaults = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform.startswith("linux") else {}
    command = [sys.executable, "-m", "prune3d.train.worker", str(order), str(os.getpid())]
    with _errors(order.parent, rank).open("w") as errors:
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE if rank == 0 else errors,
            stderr=errors,
            text=True,
            env={**defaults, **os.environ, **given},
        )


def _listen(stream: IO[str] | None) -> None:
    for line in stream or ():
        log.info("%s", line.rstrip("\n"))


def _are_well(workers: Sequence[subprocess.Popen[str]]) -> bool:
    """Tell whether some still work, and none has failed."""
    codes = [worker.poll() for worker in workers]
    return None in codes and not any(codes)


def _wait(workers: Sequence[subprocess.Popen[str]], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(worker.poll() is None for worker in workers):
        time.sleep(0.01)


def _raise_cause(folder: Path, ended: Sequence[int | None]) -> None:
    """Raise what ended a training.

    Where one process ends, the others fail as they cannot reach it, and tell so: what was refused
    comes first, then a process that ended without a word, then the earliest failure.
    """
    files = {rank: folder / f"failed.{rank}" for rank in range(len(ended))}
    told = {rank: read_json(path) for rank, path in files.items() if path.exists()}
    in_time = sorted(told, key=lambda rank: float(told[rank]["seconds"]))
    for failure in (told[rank] for rank in in_time):
        if failure["kind"] != FAILED:
            raise (TrainingError if failure["kind"] == DIVERGED else UserError)(failure["sentence"])
    interrupt.stop_if_asked()
    killed = [rank for rank, code in enumerate(ended) if code is not None and code < 0]
    silent = [rank for rank, code in enumerate(ended) if code and rank not in told]
    cause = [*killed, *silent, *in_time][0]
    said = _errors(folder, cause).read_text(encoding="utf-8", errors="replace")
    log.error("process %d said: %s", cause, said[-4000:])
    if cause in told:
        raise TrainingError(told[cause]["sentence"])
    raise TrainingError(
        f"process {cause} of {len(ended)} of the training {_end(ended[cause] or 0)}; what it said "
        "is in the log."
    )


def _end(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    short = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
    return f"was ended by {signal_name(-code)}{short}"


def _errors(folder: Path, rank: int) -> Path:
    return folder / f"errors.{rank}"

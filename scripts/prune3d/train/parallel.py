"""One training in several processes of one machine, each with a GPU of its own.

The processes are started as commands, `python -m prune3d.train.parallel`, since
multiprocessing would run the caller's main script once more in each. They find one another through
a file, so that several trainings on one machine need no ports.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import IO

import torch
import torch.distributed as dist

from prune3d.data.loader import Shard
from prune3d.errors import TrainingError, UserError
from prune3d.files import read_json, write_json
from prune3d.models import own
from prune3d.tensors import read_arrays, write_arrays
from prune3d.train import interrupt
from prune3d.train.task import Task, Training
from prune3d.train.trainer import Trainer

FORMAT = "prune3d weights 1"
PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


def train_in_processes(task: Task) -> Training:
    """Train as `prune3d.train.train` does, with every batch divided among processes.

    Parameters
    ----------
    task
        With ``compute.processes``; everything in it can be pickled.

    Raises
    ------
    UserError
        If a batch has fewer images than there are processes, there are fewer GPUs, or the training
        itself was refused.
    TrainingError
        If a process ended otherwise than expected, with its last words in the log.
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
        folder = Path(name)
        cpu = torch.device("cpu")
        task.model.to(cpu)
        # Networks of the user's own files are pickled by name.
        networks = [n for n in (task.model, task.teacher) if n is not None]
        torch.save(own.running(networks), folder / "code")
        teacher = None if task.teacher is None else task.teacher.to(cpu)
        judged = None if task.judged is None else task.judged.to(cpu)
        torch.save(
            {
                "task": replace(task, images=task.images.to(cpu), teacher=teacher, judged=judged),
                "device": device.type,
                "threads": torch.get_num_threads(),
            },
            folder / "task",
        )
        _run(folder, count)
        arrays, outcome = read_arrays(folder / "outcome", FORMAT)
    task.model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    task.model.to(device)
    return Training(outcome["history"], outcome["seconds"], outcome["earlier_seconds"])


def _run(folder: Path, count: int) -> None:
    """Run all processes to their end; where one ends early, end the others."""
    workers = [_start(folder, rank) for rank in range(count)]
    listener = threading.Thread(target=_listen, args=(workers[0].stdout,), daemon=True)
    listener.start()
    failed: int | None = None
    told = False
    try:
        while failed is None and any(worker.poll() is None for worker in workers):
            time.sleep(0.1)
            if interrupt.is_asked() and not told:
                # The first process saves the state, and ends when it has done so.
                workers[0].terminate()
                told = True
            failed = next((rank for rank, worker in enumerate(workers) if worker.poll()), None)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        listener.join()
    for path in sorted(folder.glob("refused.*")):
        refusal = read_json(path)
        raise (TrainingError if refusal["diverged"] else UserError)(refusal["sentence"])
    if failed is not None:
        interrupt.stop_if_asked()
        said = (folder / f"errors.{failed}").read_text(encoding="utf-8", errors="replace")
        log.error("process %d said: %s", failed, said[-4000:])
        raise TrainingError(
            f"process {failed} of {count} of the training ended with status "
            f"{workers[failed].returncode}; what it said is in the log."
        )


def _start(folder: Path, rank: int) -> subprocess.Popen[str]:
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, sys.path), os.environ.get("PYTHONPATH", "")]
    # One machine: the loopback device always exists and has a name.
    defaults = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform.startswith("linux") else {}
    with (folder / f"errors.{rank}").open("w") as errors:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "prune3d.train.parallel",
                str(folder),
                str(rank),
                str(os.getpid()),
            ],
            stdout=subprocess.PIPE if rank == 0 else errors,
            stderr=errors,
            text=True,
            env={**defaults, **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )


def _listen(stream: IO[str] | None) -> None:
    for line in stream or ():
        log.info("%s", line.rstrip("\n"))


def _work(folder: Path, rank: int, parent: int) -> None:
    """Do one process's part and, as the first, write the outcome."""
    _end_with(parent)
    # A batch system may tell every process to end; the first decides when.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if rank == 0:
        interrupt.listen()
        interrupt.defer()
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    # Written by the parent, in a folder that only this user can write.
    own.run_again(torch.load(folder / "code", weights_only=False))
    content = torch.load(folder / "task", weights_only=False)
    task: Task = content["task"]
    count = task.compute.processes
    on_gpu = content["device"] == "cuda"
    device = torch.device("cuda", rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, content["threads"] // count))
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=f"file://{folder / 'meeting'}",
        rank=rank,
        world_size=count,
    )
    # All have read it. A parent that is killed leaves its folder, but not weights and images.
    dist.barrier()
    if rank == 0:
        (folder / "task").unlink()
    try:
        training = Trainer(task, device, Shard(rank, count)).run()
    except UserError as error:
        told = {"sentence": str(error), "diverged": isinstance(error, TrainingError)}
        write_json(folder / f"refused.{rank}", told)
        sys.exit(1)
    if rank == 0:
        arrays = {k: v.detach().cpu().numpy() for k, v in task.model.state_dict().items()}
        outcome = {
            "history": training.history,
            "seconds": training.seconds,
            "earlier_seconds": training.earlier_seconds,
        }
        write_arrays(folder / "outcome", arrays, FORMAT, outcome)
    dist.destroy_process_group()


def _end_with(parent: int) -> None:
    """Have the system kill this process when the one that started it is gone."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

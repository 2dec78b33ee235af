"""One of several processes of a training: ``python -m prune3d.train.worker ORDER [PARENT]``.

Which one it is comes from the environment, as `torch.distributed.run` sets it: ``RANK``,
``LOCAL_RANK`` and ``WORLD_SIZE``. The processes find one another through a file beside the order,
so that several trainings on one machine need no ports.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from prune3d.data.loader import Shard
from prune3d.errors import TrainingError, UserError, what_failed
from prune3d.files import write_json
from prune3d.processes import die_with
from prune3d.tensors import write_arrays
from prune3d.train import interrupt
from prune3d.train.order import Order, make_task, read_order, remove_files
from prune3d.train.trainer import Trainer

FORMAT = "prune3d weights 1"
OUTCOME = "outcome"
# What a failed process tells.
REFUSED, DIVERGED, FAILED = "refused", "diverged", "failed"


def main(path: Path, parent: int) -> None:
    """Do one process's part; a failure is told in a file beside the order."""
    die_with(parent)
    shard = Shard(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    # A batch system may tell every process to end; the first decides when.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if shard.rank == 0:
        interrupt.listen()
        interrupt.defer()
        logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    try:
        _work(path, shard)
    except Exception as error:
        traceback.print_exc()
        _tell(path.parent, shard, error)
        # Threads of a process group that broke would keep this process for a while.
        sys.stderr.flush()
        os._exit(1)


def _work(path: Path, shard: Shard) -> None:
    order = read_order(path)
    device = _device(order)
    torch.set_num_threads(max(1, order.threads // shard.processes))
    task = make_task(order, shard.rank)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{path.parent.absolute() / 'meeting'}",
        rank=shard.rank,
        world_size=shard.processes,
    )
    # All have read it. A parent that is killed leaves its folder, but not weights and images.
    dist.barrier()
    if shard.rank == 0:
        remove_files(path, order)
    training = Trainer(task, device, shard).run()
    if shard.rank == 0:
        arrays = {k: v.detach().cpu().numpy() for k, v in task.model.state_dict().items()}
        outcome = {
            "history": training.history,
            "seconds": training.seconds,
            "earlier_seconds": training.earlier_seconds,
        }
        write_arrays(path.parent / OUTCOME, arrays, FORMAT, outcome)
    dist.destroy_process_group()


def _device(order: Order) -> torch.device:
    if order.device == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def _tell(folder: Path, shard: Shard, error: Exception) -> None:
    """Write why this process ends, and when: one that lost another fails after it."""
    kind, sentence = REFUSED, str(error)
    if isinstance(error, TrainingError):
        kind = DIVERGED
    elif not isinstance(error, UserError):
        kind = FAILED
        sentence = (
            f"process {shard.rank} of {shard.processes} of the training failed "
            f"({what_failed(error)}); what it said is in the log."
        )
    failure = {"kind": kind, "sentence": sentence, "seconds": time.time()}
    write_json(folder / f"failed.{shard.rank}", failure)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else os.getppid())

"""Steps captured as CUDA graphs, so that the processor starts a whole step at once.

A small network's kernels are shorter than the time that the processor takes to start them one by
one. A graph repeats what was launched while it was captured, on the same memory: right only for a
step that does the same each time and waits for nothing. Whether a network's does is found out
before anything is captured, since a failed capture leaves torch's allocator and random numbers in
an undefined state.
"""

from __future__ import annotations

import logging
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from prune3d.data.loader import TrainingLoader
from prune3d.train.compute import Compute, Plan
from prune3d.train.snapshot import Snapshot
from prune3d.train.step import Step

WARM_UPS = 3
# A step that is taken less often is not worth the time and the memory of a graph.
FEWEST_REPLAYS = 20
log = logging.getLogger(__name__)

Work = Callable[[], None]
Record = Callable[[Work, Work], Work]


@dataclass(frozen=True)
class Replay:
    """A step that was captured, and the tensor from which it reads a batch's bytes, if any."""

    run: Work
    pixels: Tensor | None

    def __call__(self, given: Tensor | None) -> None:
        """Take the step."""
        if self.pixels is not None and given is not None:
            self.pixels.copy_(given)
        self.run()


class Steps:
    """Takes steps, by a captured one of the same size where there is one.

    Parameters
    ----------
    step
        Takes the others.
    replays
        By number of images.
    """

    def __init__(self, step: Step, replays: dict[int, Replay]) -> None:
        self._step, self._replays = step, replays

    def __call__(self, size: int, pixels: Tensor | None) -> None:
        """Take the next step; see `Step`."""
        replay = self._replays.get(size)
        if replay is None:
            self._step(size, pixels)
        else:
            replay(pixels)


def recorder(compute: Compute, plan: Plan) -> Record | None:
    """Return what captures a step as `Compute.cuda_graph` asks for, or None."""
    if compute.cuda_graph == "rehearse":
        return rehearse
    if compute.cuda_graph == "auto" and plan.device.type == "cuda":
        return CudaRecorder()
    return None


def capture(
    step: Step, loader: TrainingLoader, before: Snapshot, epochs: int, record: Record
) -> Steps:
    """Return what takes the steps of a training: captured ones where that is right and worth it.

    Parameters
    ----------
    step
        Takes a step eagerly.
    loader
        The images.
    before
        Of all that a step changes; it is restored.
    epochs
        Of the whole training.
    record
        Captures a step.
    """
    often = [n for n, count in Counter(loader.sizes).items() if count * epochs >= FEWEST_REPLAYS]
    replays: dict[int, Replay] = {}
    begun = time.monotonic()
    try:
        step.begin([0.0] * len(loader.sizes))
        reason = _why_not(step, loader, before) if often else None
        step.renew()
        for size in often if reason is None else []:
            pixels = loader.stand_in(size)
            replays[size] = Replay(record(step.rewind, _taking(step, size, pixels)), pixels)
    except Exception as error:  # Whatever an own network raises while it is captured.
        reason = _tell(error)
    finally:
        before.restore()
    if reason is not None:
        log.info("training without a CUDA graph: %s", reason)
    elif replays:
        sizes = ", ".join(map(str, replays))
        seconds = time.monotonic() - begun
        log.info("steps of %s images are captured as CUDA graphs in %.1f s", sizes, seconds)
    return Steps(step, replays)


def rehearse(prepare: Work, work: Work) -> Work:
    """Do as `CudaRecorder` does, on any device, without capturing."""
    for _ in range(WARM_UPS):
        prepare()
        work()
    return work


class CudaRecorder:
    """Captures steps that share one pool of memory, since each leaves nothing behind in it."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._side = torch.cuda.Stream()

    def __call__(self, prepare: Work, work: Work) -> Work:
        """Warm up on a side stream, as torch's documentation has it; capture; return the replay."""
        side = self._side
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                prepare()
                work()
                with _waiting_refused():
                    for _ in range(WARM_UPS - 1):
                        prepare()
                        work()
        finally:
            torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=side):
            work()
        return graph.replay


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Have torch raise where the processor would wait for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that this is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _taking(step: Step, size: int, pixels: Tensor | None) -> Work:
    return lambda: step(size, pixels)


def _why_not(step: Step, loader: TrainingLoader, before: Snapshot) -> str | None:
    """Return why the network must not be captured: what it does changes from step to step."""
    size = loader.sizes[0]
    pixels = loader.stand_in(size)
    step.rewind()
    operations = []
    for _ in range(2):
        with _Operations(step.total.device) as seen:
            step.forward(size, pixels)
        operations.append(seen.names)
        if seen.read is not None:
            return f"a step reads a number from a tensor{seen.read}"
    changed = before.difference()
    if operations[0] != operations[1]:
        return changed or "the network's operations differ from one step to the next"
    return changed


class _Operations(TorchDispatchMode):
    """Notes the operations of torch that run, with the shapes that they are given.

    Attributes
    ----------
    names
        Of the operations, with the shapes.
    read
        Where a number is read from a tensor on the device, for which the processor waits, or None.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self.names: list[tuple[str, tuple[torch.Size, ...]]] = []
        self.read: str | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        self.names.append((str(func), tuple(tensor.shape for tensor in tensors)))
        reads = func is torch.ops.aten._local_scalar_dense.default
        if reads and self.read is None and tensors[0].device == self._device:
            self.read = _place(traceback.extract_stack())
        return func(*args, **(kwargs or {}))


def _tell(error: BaseException) -> str:
    """Return the first line of an error and where, outside of torch and prune3d, it arose."""
    # A capture that ends in an error raises another one.
    while error.__context__ is not None:
        error = error.__context__
    text = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
    return text + _place(traceback.extract_tb(error.__traceback__))


def _place(frames: traceback.StackSummary) -> str:
    """Return the last of some frames that is outside of torch and prune3d, in brackets."""
    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
    foreign = [frame for frame in frames if not frame.filename.startswith(ours)]
    return f" ({foreign[-1].filename}, line {foreign[-1].lineno})" if foreign else ""

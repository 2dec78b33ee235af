"""How long one network takes on this device: medians of passes over a batch."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prune3d.errors import UserError
from prune3d.pruning.runtimes import RUNS_ON, TENSORRT, check_runtime, no_tensorrt

if TYPE_CHECKING:
    import torch
    from torch import nn

WARM_UP = 3
AT_ONCE, MB_AT_ONCE = 8, 256  # networks that are timed in turns, and the size of their files
Pass = Callable[[], object]
Typical = Callable[..., NDArray[np.float64]]


@dataclass(frozen=True)
class LatencyOptions:
    """How latencies are measured.

    Attributes
    ----------
    batch_size
        Images a forward pass.
    runs
        Forward passes of which the median is taken.
    runtime
        ``torch``, eagerly; ``onnxruntime`` on the CPU; or ``tensorrt`` on the GPU, as ONNX
        Runtime's provider.
    threads
        Of the CPU; None for those that torch has now.
    """

    batch_size: int = 1
    runs: int = 30
    runtime: str = "torch"
    threads: int | None = None

    @property
    def runs_on(self) -> str | None:
        """``cpu`` or ``cuda`` where the runtime has nothing else, or None."""
        return RUNS_ON.get(self.runtime)


@dataclass(frozen=True)
class Network:
    """A network to time that is not in memory yet.

    Attributes
    ----------
    load
        Gives it.
    megabytes
        Of its weights.
    """

    load: Callable[[], nn.Module]
    megabytes: float


def latency(model: nn.Module, side: int, options: LatencyOptions) -> float:
    """Return the median milliseconds of a forward pass on the model's device.

    With ``onnxruntime`` on the CPU, with ``tensorrt`` on the first GPU, whatever the device of the
    model.

    Raises
    ------
    UserError
        If the network cannot be written as ONNX, which both need, or there is no TensorRT.
    """
    with threads_of(options):
        return statistics.median(milliseconds([ready(model, side, options)], options.runs)[:, 0])


def ready(model: nn.Module, side: int, options: LatencyOptions) -> Pass:
    """Return what passes a batch through a network and waits for the end of it; see `latency`."""
    if options.runtime != "torch":
        return _ready_as_onnx(model, side, options)
    import torch

    from prune3d.models.assembly import get_spec

    device = next(model.parameters()).device
    images = torch.zeros(options.batch_size, get_spec(model).in_channels, side, side, device=device)
    model.eval()

    def act() -> None:
        with torch.inference_mode():
            model(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return act


def milliseconds(passes: Sequence[Pass], runs: int) -> NDArray[np.float64]:
    """Time passes in turns, so that what slows a machine down for a while slows all of them.

    Returns
    -------
    ndarray of shape (runs, passes)
        After some that warm up.
    """
    for act in passes:
        for _ in range(WARM_UP):
            act()
    taken = np.empty((runs, len(passes)))
    for run in range(runs):
        for place, act in enumerate(passes):
            begun = time.perf_counter()
            act()
            taken[run, place] = 1000 * (time.perf_counter() - begun)
    return taken


@contextmanager
def threads_of(options: LatencyOptions) -> Iterator[None]:
    """Let torch compute with the threads that are asked for."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(options.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def where_measured(options: LatencyOptions, device: torch.device) -> dict[str, Any]:
    """Return ``runtime``, the name of the ``device``, ``threads`` and ``runs``.

    Raises
    ------
    UserError
        If the runtime needs a GPU and there is none.
    """
    import torch

    used = torch.device(options.runs_on or device)
    if used.type == "cuda" and not torch.cuda.is_available():
        raise no_tensorrt()
    return {
        "runtime": options.runtime,
        "device": device_name(used),
        "threads": options.threads or torch.get_num_threads(),
        "runs": options.runs,
    }


def latency_of(model: nn.Module, options: LatencyOptions) -> float:
    """Return the latency at the side that a network is meant for; see `latency`."""
    from prune3d.models.assembly import get_spec

    return latency(model, get_spec(model).side, options)


def latency_of_file(path: Path, options: LatencyOptions) -> float:
    """Return the median milliseconds of an ONNX file's pass over a batch, images and logits there.

    Raises
    ------
    UserError
        If it is no usable ONNX file, does not take a batch of images of one size, or there is no
        TensorRT.
    """
    return latencies_of_files([path], options)[0]


def latencies_of_files(paths: Sequence[Path], options: LatencyOptions) -> list[float]:
    """Time several ONNX files in turns; see `latency_of_file`."""
    passes = [_ready_file(path, options) for path in paths]
    return [statistics.median(taken) for taken in milliseconds(passes, options.runs).T]


def latencies_in_turns(
    networks: Sequence[Network], options: LatencyOptions, typical: Typical = np.median
) -> list[float]:
    """Time networks at their sides, so that ratios to the first one do not drift with the machine.

    The first is timed in turns with a few of the others at a time: at most `AT_ONCE`, of
    `MB_AT_ONCE` together, are in memory beside it, or one that is larger. What the others take of
    the first's time is told of its median over all groups.

    Parameters
    ----------
    networks
        At least one.
    options
        How to measure.
    typical
        What is taken of a network's passes in its group, such as `numpy.median` or `numpy.min`.

    Returns
    -------
    list of float
        Milliseconds of a pass; see `latency` for the errors.
    """
    from prune3d.models.assembly import get_spec

    def begin(network: Network) -> Pass:
        model = network.load()
        return ready(model, get_spec(model).side, options)

    first, *others = networks
    of_first: list[float] = []
    ratios: list[float] = []

    def measure(compared: Pass, some: Sequence[Network]) -> None:
        passes = [compared, *(begin(network) for network in some)]
        taken = typical(milliseconds(passes, options.runs), axis=0)
        of_first.append(float(taken[0]))
        ratios.extend(float(one) for one in taken[1:] / taken[0])

    with threads_of(options):
        compared = begin(first)
        for some in _at_once(others):
            measure(compared, some)
    usual = statistics.median(of_first)
    return [usual, *(usual * ratio for ratio in ratios)]


def _at_once(networks: Sequence[Network]) -> list[list[Network]]:
    """Return networks in groups that are in memory together; one empty group of none."""
    groups: list[list[Network]] = [[]]
    for network in networks:
        together = sum(one.megabytes for one in groups[-1]) + network.megabytes
        if groups[-1] and (len(groups[-1]) == AT_ONCE or together > MB_AT_ONCE):
            groups.append([])
        groups[-1].append(network)
    return groups


def _ready_as_onnx(model: nn.Module, side: int, options: LatencyOptions) -> Pass:
    from prune3d.export.onnx_file import write_at_side

    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_at_side(model, side, path)
        return _ready_file(path, options)


def _ready_file(path: Path, options: LatencyOptions) -> Pass:
    import torch

    from prune3d.export.classifier import CPU, open_session

    check_runtime(options.runtime)
    on_gpu = options.runtime == "tensorrt"
    threads = options.threads or torch.get_num_threads()
    session = open_session(path, threads, (TENSORRT, *CPU) if on_gpu else CPU)
    if on_gpu and TENSORRT not in session.get_providers():
        raise no_tensorrt()
    (given,) = session.get_inputs()
    shape = [options.batch_size, *given.shape[1:]]
    if len(shape) != 4 or not all(isinstance(size, int) for size in shape):
        raise UserError(
            f"{path} takes inputs of shape {given.shape}; only batches of images of a fixed size "
            "can be timed, so give a file without resizing inside."
        )
    kind = np.uint8 if given.type == "tensor(uint8)" else np.float32
    import onnxruntime

    place = "cuda" if on_gpu else "cpu"
    images = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, kind), place, 0)
    binding = session.io_binding()
    binding.bind_ortvalue_input(given.name, images)
    for made in session.get_outputs():
        binding.bind_output(made.name, place)

    def act() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return act


def device_name(device: torch.device) -> str:
    """Return the product name of a device, also of a CPU where the system tells it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

"""How the arithmetic of a training is done: number format, memory layout, compiler, allocator."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from prune3d.errors import UserError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Compute:
    """What may be chosen.

    Attributes
    ----------
    precision
        ``float32``, ``bfloat16`` (mixed: weights, statistics and loss stay float32), or ``auto``:
        bfloat16 on GPUs that have it, float32 elsewhere.
    channels_last
        ``always``, ``never``, or ``auto``: where it was measured to be faster.
    compile
        Whether torch compiles the network, which takes 15 to 30 s.
    cuda_graph
        Whether steps are captured as CUDA graphs: ``never``, or ``auto``: on GPUs, where the
        network allows it and enough steps are taken. ``rehearse`` does all of ``auto``, on any
        device, but the capturing itself.
    workers
        Processes that decode picture files, at least one for each of `processes`; images in memory
        need none.
    processes
        Processes, each with a GPU of its own, among which every batch is divided; without GPUs
        they share the CPU.
    """

    precision: str = "auto"
    channels_last: str = "auto"
    compile: bool = False
    cuda_graph: str = "auto"
    workers: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Plan:
    """What was chosen for one network on one device.

    Attributes
    ----------
    device
        Where to compute.
    bfloat16
        Whether convolutions and linear layers compute in bfloat16.
    memory_format
        Of weights and inputs.
    compile
        Whether to compile.
    """

    device: torch.device
    bfloat16: bool
    memory_format: torch.memory_format
    compile: bool

    @property
    def folds(self) -> bool:
        """Whether batch norms are those of `prune3d.train.channels_last`."""
        last = self.memory_format == torch.channels_last
        return self.device.type == "cpu" and last and not self.compile

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of forward passes."""
        # A captured step must not hold on to weights that were cast outside of it.
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False
        )

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        """Have cuDNN choose algorithms that give the same numbers each time."""
        before = torch.backends.cudnn.deterministic
        torch.backends.cudnn.deterministic = True
        try:
            yield
        finally:
            torch.backends.cudnn.deterministic = before


def lay_out(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Put a network's weights into a memory format, in place.

    Those with weights of five dimensions, such as Conv3d's, stay as they are: torch has other
    formats for these.
    """
    if all(parameter.dim() < 5 for parameter in model.parameters()):
        model.to(memory_format=memory_format)


def make_plan(compute: Compute, device: torch.device) -> Plan:
    """Choose what is left to `auto`.

    Raises
    ------
    UserError
        If the device cannot do what is asked for.
    """
    bfloat16 = compute.precision == "bfloat16"
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        if bfloat16 and not able:
            raise UserError(
                f"precision is bfloat16, but {torch.cuda.get_device_name(device)} has none; "
                "allowed is float32 or auto."
            )
        bfloat16 = bfloat16 or (compute.precision == "auto" and able)
    last = compute.channels_last == "always"
    if compute.channels_last == "auto":
        last = bfloat16 or device.type != "cuda"
    return Plan(
        device=device,
        bfloat16=bfloat16,
        memory_format=torch.channels_last if last else torch.contiguous_format,
        compile=compute.compile,
    )


@cache
def keep_memory() -> None:
    """Tell the C library to keep freed memory for the next step instead of giving it back.

    Activations of one step are freed and needed again in the next; having each page mapped and
    zeroed anew took up to a third of a step. Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

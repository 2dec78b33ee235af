"""Gradients of convolutions on CPUs without kernels that are faulty.

oneDNN, as torch 2.15 has it, computes the gradient of the weights of a strided 1x1 convolution in a
workspace that is too small where channels lie last in memory and are fewer than a vector register
holds: the process dies, hangs, or goes on with a wrong gradient
(https://github.com/uxlfoundation/oneDNN/issues/6035). In bfloat16, with AVX-512 and a stride longer
than the image, it leaves the gradient of what reads padding only as the memory was.
`tests/bench/scan_convolutions.py` finds what is affected; docs/benchmarks.md tells what it found.

Whatever asks for such a gradient gets another one from `avoid_faulty_kernel`, at the cost of Python
for each convolution of a backward pass. Registered networks ask for none once `remove_strides` has
seen them, and pay nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.library import Library, get_kernel

from prune3d.models import MODELS
from prune3d.models.assembly import get_spec

GRADIENT = "aten::convolution_backward"
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
_torchs = get_kernel(GRADIENT, "CPU")


class UnstridedConv2d(nn.Conv2d):
    """A strided convolution of single pixels, computed without strides on those that it reads."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the same as torch's."""
        down, across = self.stride
        read = input[..., ::down, ::across]
        return F.conv2d(read, self.weight, self.bias, groups=self.groups)


def mend_gradients(model: nn.Module, bfloat16: bool) -> None:
    """Prepare for a training on a CPU, at the least cost; see `restore_strides`."""
    if get_spec(model).name in MODELS and not bfloat16:
        remove_strides(model)
    else:  # Foreign code may call functions, and what it calls may change from step to step.
        avoid_faulty_kernel()


def remove_strides(model: nn.Module) -> None:
    """Let torch's strided convolutions of single pixels compute without strides, in place."""
    for module in model.modules():
        if type(module) is nn.Conv2d and _strides_over_pixels(module):
            module.__class__ = UnstridedConv2d


def restore_strides(model: nn.Module) -> None:
    """Undo `remove_strides`."""
    for module in model.modules():
        if isinstance(module, UnstridedConv2d):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]


def _strides_over_pixels(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.padding == (0, 0)


@cache
def avoid_faulty_kernel() -> Library:
    """Have the strided convolutions in question take other kernels for their gradients.

    It reaches all gradients on CPUs, whatever module, function or recomputation asks for them, and
    changes neither networks nor what they compute. It stays until the result is destroyed.
    """
    library = Library("aten", "IMPL")
    library.impl("convolution_backward", _gradients, "CPU", with_keyset=True)
    return library


def _gradients(
    keys: Any,
    of_output: Tensor,
    input: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> Gradients:
    """Return the gradients of input, weight and bias, as torch's function of that name does."""

    def ask(
        tensors: Sequence[Tensor],
        stride: Sequence[int],
        padding: Sequence[int],
        wanted: Sequence[bool],
    ) -> Gradients:
        given = (*tensors, bias_sizes, stride, padding, dilation, transposed)
        found: Gradients = _torchs.call_boxed(keys, *given, output_padding, groups, wanted)
        return found

    given = (of_output, input, weight)
    if transposed or not wanted[1] or max(stride) == 1:
        return ask(given, stride, padding, wanted)
    of_parameters = [False, *wanted[1:]]
    if all(n == 1 for n in weight.shape[2:]):
        # The same products without strides, on the pixels that are read.
        read = F.pad(input, [edge for edge in reversed(padding) for _ in range(2)])
        for axis, step in enumerate(stride, 2):
            read = read.unfold(axis, 1, step).squeeze(-1)
        ones, zeros = [1] * len(stride), [0] * len(stride)
        found = ask((of_output, read, weight), ones, zeros, of_parameters)
    elif weight.dtype.itemsize < 4 and any(map(operator.gt, stride, input.shape[2:])):
        exact = ask([tensor.float() for tensor in given], stride, padding, of_parameters)
        of_weight, of_bias = (g if g is None else g.to(weight.dtype) for g in exact[1:])
        found = (None, of_weight, of_bias)
    else:
        return ask(given, stride, padding, wanted)
    of_input = ask(given, stride, padding, [True, False, False])[0] if wanted[0] else None
    return of_input, found[1], found[2]

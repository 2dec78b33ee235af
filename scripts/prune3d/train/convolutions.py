"""Gradients of convolutions on CPUs without the kernel that writes outside its memory.

oneDNN, as torch 2.15 has it, computes the gradient of the weights of a strided 1x1 convolution in a
workspace that is too small where channels lie last in memory and are fewer than a vector register
holds: the process dies, hangs, or goes on with a wrong gradient
(https://github.com/uxlfoundation/oneDNN/issues/6035). `tests/bench/scan_convolutions.py` finds what
is affected; docs/benchmarks.md tells what it found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.library import Library, get_kernel

GRADIENT = "aten::convolution_backward"
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
_torchs = get_kernel(GRADIENT, "CPU")


@cache
def avoid_faulty_kernel() -> Library:
    """Have every strided 1x1 convolution of this process take another kernel for its gradient.

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
        read: Tensor, stride: Sequence[int], padding: Sequence[int], wanted: Sequence[bool]
    ) -> Gradients:
        given = (of_output, read, weight, bias_sizes, stride, padding, dilation, transposed)
        found: Gradients = _torchs.call_boxed(keys, *given, output_padding, groups, wanted)
        return found

    pixel = all(n == 1 for n in weight.shape[2:])
    if not pixel or max(stride) == 1 or transposed or not wanted[1]:
        return ask(input, stride, padding, wanted)
    # The same products without strides, on the pixels that are read.
    padded = F.pad(input, [edge for edge in reversed(padding) for _ in range(2)])
    read = padded
    for axis, step in enumerate(stride, 2):
        read = read.unfold(axis, 1, step).squeeze(-1)
    ones, zeros = [1] * len(stride), [0] * len(stride)
    _, of_weight, of_bias = ask(read, ones, zeros, [False, *wanted[1:]])
    of_input = ask(input, stride, padding, [True, False, False])[0] if wanted[0] else None
    return of_input, of_weight, of_bias

"""Batch norm on CPUs for channels that lie side by side in memory.

torch's own kernel gives every thread a row of sums as long as there are channels. Where such a row
is no multiple of a cache line, threads write to the same line and wait for one another, and a few
channels fill a fraction of a vector register: several times slower than this, as measured
(docs/benchmarks.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# float32 values in a cache line, and in the widest vector register.
LINE = 16


class FoldedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that sums over rows of an image before it sums over pixels of a row.

    The same function as `torch.nn.BatchNorm2d`, which computes whatever this cannot fold.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return normalized activations of the same shape, (n, channels, height, width)."""
        if not self._folds(input):
            return super().forward(input)
        output, mean, variance = _Normalize.apply(input, self.weight, self.bias, self.eps)
        self._update(mean, variance, input.numel() // len(mean))
        return output

    def _folds(self, input: Tensor) -> bool:
        return (
            self.training
            and self.affine
            and self.running_mean is not None
            and self.momentum is not None
            and input.ndim == 4
            and input.shape[1] == self.num_features
            and input.dtype == self.weight.dtype
            and input.numel() > self.num_features
            and input.is_contiguous(memory_format=torch.channels_last)
        )

    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None
        with torch.no_grad():
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def fold_batch_norms(model: nn.Module) -> None:
    """Let the batch norms of a network fold where that is faster, in place; tensors stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d and module.num_features % LINE:
            module.__class__ = FoldedBatchNorm2d


def unfold_batch_norms(model: nn.Module) -> None:
    """Undo `fold_batch_norms`."""
    for module in model.modules():
        if isinstance(module, FoldedBatchNorm2d):
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]


def _rows(x: Tensor) -> Tensor:
    """Return activations as rows of images: (n height, width channels), channels fastest."""
    n, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(n * height, width * channels)


def _like(x: Tensor) -> Tensor:
    """Return new memory for the rows of activations of the same shape.

    What a function of autograd's returns must be no view: operators in place refuse those.
    """
    return torch.empty_like(x, memory_format=torch.channels_last)


def _sum(rows: Tensor, channels: int) -> Tensor:
    """Return the sum over all pixels, shape (channels,)."""
    return rows.sum(0).view(-1, channels).sum(0)


class _Normalize(torch.autograd.Function):
    """Ioffe and Szegedy, arXiv 1502.03167, algorithm 1 and the gradients of its section 3."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        channels, width = x.shape[1], x.shape[3]
        rows, count = _rows(x), x.numel() // channels
        mean = _sum(rows, channels) / count
        centred = rows - mean.repeat(width)
        variance = _sum(centred.square(), channels) / count
        inverse = (variance + eps).rsqrt()
        scale, output = inverse * weight, _like(x)
        torch.addcmul(bias.repeat(width), centred, scale.repeat(width), out=_rows(output))
        ctx.save_for_backward(centred, weight, inverse)
        ctx.mark_non_differentiable(mean, variance)
        return output, mean, variance

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        centred, weight, inverse = ctx.saved_tensors
        channels, width = gradients[0].shape[1], gradients[0].shape[3]
        gradient, count = _rows(gradients[0]), centred.numel() // channels
        of_bias = _sum(gradient, channels)
        of_weight = _sum(gradient * centred, channels) * inverse
        scale = weight * inverse
        constant = -scale * of_bias / count
        slope = -scale * inverse * of_weight / count
        of_x = _like(gradients[0])
        rows = _rows(of_x)
        torch.addcmul(constant.repeat(width), gradient, scale.repeat(width), out=rows)
        rows.addcmul_(centred, slope.repeat(width))
        return of_x, of_weight, of_bias, None

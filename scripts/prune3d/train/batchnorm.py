"""Batch norm whose statistics are those of the whole batch that several processes share.

On GPUs it is `torch.nn.SyncBatchNorm`, which runs nowhere else; on a CPU one of our own.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from prune3d.errors import UserError

_AXES = (0, 2, 3)


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the parts of a batch in all processes; see `torch.nn.BatchNorm2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return normalized activations of the same shape, (n, channels, height, width)."""
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        self._check_input_dim(input)
        mean, square, count = _shared_statistics(input.detach())
        self._update(mean, square, count)
        output: Tensor = _Normalize.apply(
            input, self.weight, self.bias, mean, square / count, count, self.eps
        )
        return output

    def _update(self, mean: Tensor, square: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or not self.training:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        part = self.momentum
        if part is None:
            part = 1.0 / float(self.num_batches_tracked or 1)
        with torch.no_grad():
            self.running_mean.lerp_(mean, part)
            self.running_var.lerp_(square / (count - 1), part)


class SynchronizedBatchNorm(nn.SyncBatchNorm):
    """Torch's, where a process may have no image of a batch."""

    def forward(self, input: Tensor) -> Tensor:
        """Return normalized activations of the same shape, (n, channels, height, width)."""
        # Without images torch sends zeros of the input's dtype; all others send float32.
        return super().forward(input if len(input) else input.float())


class _Activated(nn.Module):
    """What timm's ``BatchNormAct2d`` does beside normalizing."""

    act: nn.Module
    drop: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.act(self.drop(super().forward(input)))
        return output


class ActivatedSharedBatchNorm2d(_Activated, SharedBatchNorm2d):
    """The same with an activation, on a CPU."""


class ActivatedSynchronizedBatchNorm(_Activated, SynchronizedBatchNorm):
    """The same with an activation, on GPUs."""


def share_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Turn every batch norm of a network into a shared one, in place; its tensors stay.

    Parameters
    ----------
    model
        The network.
    device
        Where it is trained.

    Raises
    ------
    UserError
        If the network has a batch norm of another kind.
    """
    for name, module in model.named_modules():
        if type(module) is nn.BatchNorm2d:
            _share(module, device, SynchronizedBatchNorm, SharedBatchNorm2d)
        elif _is_activated(module):
            _share(module, device, ActivatedSynchronizedBatchNorm, ActivatedSharedBatchNorm2d)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise UserError(
                f"layer '{name}' is a {type(module).__name__}, which cannot be trained in several "
                "processes; allowed is BatchNorm2d, or one process."
            )


def _is_activated(module: nn.Module) -> bool:
    # Loaded where a network of timm's is.
    timm = sys.modules.get("timm.layers")
    return timm is not None and type(module) is timm.BatchNormAct2d


def _share(
    module: nn.Module, device: torch.device, on_gpus: type[nn.Module], on_cpu: type[nn.Module]
) -> None:
    # The object stays, whoever else holds it, and so do its tensors and hooks.
    if device.type == "cuda":
        module.__class__ = on_gpus
        module.process_group = None  # type: ignore[assignment]  # all processes
    else:
        module.__class__ = on_cpu


def _shared_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, sum of squared deviations and number of values of each channel.

    Each process gives its own three; they are put together as in Chan, Golub and LeVeque,
    "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """
    x = x.float()
    count = torch.full((1,), x.numel() // x.shape[1], dtype=torch.float32, device=x.device)
    mean = x.sum(_AXES) / count.clamp_min(1)
    square = (x - mean.view(1, -1, 1, 1)).square().sum(_AXES)
    own = torch.cat((count, mean, square))
    gathered = own.new_empty(dist.get_world_size(), len(own))
    dist.all_gather(list(gathered.unbind()), own)
    counts, means, squares = gathered.split([1, len(mean), len(mean)], dim=1)
    total = counts.sum(0)
    shared = (counts * means).sum(0) / total
    return shared, (squares + counts * (means - shared).square()).sum(0), total


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, inverse, count)
        scale = inverse if weight is None else inverse * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return (x.float() * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).to(x.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse, count = ctx.saved_tensors
        gradient = gradients[0].float()
        normalized = (x.float() - mean.view(1, -1, 1, 1)) * inverse.view(1, -1, 1, 1)
        of_bias = gradient.sum(_AXES)
        of_weight = (gradient * normalized).sum(_AXES)
        shared = torch.cat((of_bias, of_weight))
        dist.all_reduce(shared)
        means = shared / count
        mean_gradient, mean_product = (m.view(1, -1, 1, 1) for m in means.chunk(2))
        scale = (inverse if weight is None else weight * inverse).view(1, -1, 1, 1)
        of_x = scale * (gradient - mean_gradient - normalized * mean_product)
        of_affine = (None, None) if weight is None else (of_weight, of_bias)
        return of_x.to(x.dtype), *of_affine, None, None, None, None

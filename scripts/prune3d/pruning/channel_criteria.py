"""Importance of channels: a criterion takes a channel group and gives a score for each channel.

The channels with the lowest scores are removed. Scores are compared within one group only. One's
own criterion is such a function, see `ChannelCriterion`; with an attribute ``needs_gradients`` that
is true it is called after the backward pass of each batch of training images, when the parameters
have gradients, and its scores are averaged. An attribute ``unit``, a function of a group, says what
scores of different groups are divided by before they are compared; without it that is their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.pruning.channels.groups import ChannelGroup

# From a group and a seeded generator to scores of shape (channels,), on any device.
ChannelCriterion = Callable[[ChannelGroup, torch.Generator], Tensor]


def batchnorm_scale(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Sum of the absolute batch-norm scales (network slimming, arXiv 1708.06519).

    A group without batch norms, such as that inside a squeeze-and-excitation, is scored by `l2`.
    """
    norms = [m for m in group.norms if isinstance(m.layer, _BatchNorm) and m.layer.affine]
    if not norms:
        return l2(group, generator)
    scales = [m.layer.get_parameter("weight").detach().abs() for m in norms]
    return _sum(scale[m.positions].sum(1) for scale, m in zip(scales, norms, strict=True))


# A scale is as large whether a channel has one norm or, in a residual stream, many.
batchnorm_scale.unit = lambda group: len(group.norms)  # type: ignore[attr-defined]


def l1(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Sum of the L1 norms of the filters that write each channel (arXiv 1608.08710)."""
    return _sum(filters.norm(1, dim=1) for filters in each_filters(group))


def l2(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Sum of the L2 norms of the filters that write each channel."""
    return _sum(filters.norm(2, dim=1) for filters in each_filters(group))


def group_norm(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Mean squared L2 norm of a channel in all layers that write, scale or read it (DepGraph).

    Fang et al. 2023, arXiv 2301.12900, as in the authors' code, but with depthwise filters.
    """
    squares = [
        member.weight.detach()[member.positions].flatten(1).square().sum(1)
        for member in group.members
    ]
    return torch.stack(squares).mean(0)


def fpgm(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Sum of the distances of each filter to the others of its layer (FPGM, arXiv 1811.00250).

    A filter near the geometric median of the others can be represented by them.
    """
    return _sum(torch.cdist(filters, filters).sum(1) for filters in each_filters(group))


def taylor(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Squared first-order change of the loss when a channel is set to zero (arXiv 1906.10771).

    For a channel with batch norms (sum of scale x its gradient + shift x its gradient)^2, the
    criterion of a gate behind the norm; without them (sum of weight x gradient over its filters)^2.
    """
    norms = [m for m in group.norms if isinstance(m.layer, _BatchNorm) and m.layer.affine]
    changes = [
        (parameter.detach() * gradient_of(parameter))[m.positions].flatten(1).sum(1)
        for m in norms or group.writers
        for parameter in m.layer.parameters(recurse=False)
    ]
    return _sum(iter(changes)).square()


taylor.needs_gradients = True  # type: ignore[attr-defined]
# A change of the loss is one wherever it is.
taylor.unit = lambda group: 1.0  # type: ignore[attr-defined]


def random(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Uniform random scores: the baseline."""
    return torch.rand(group.channels, generator=generator)


def each_filters(group: ChannelGroup) -> Iterator[Tensor]:
    """Yield for each layer that writes the group its weights, shape (channels, weights)."""
    for member in group.writers:
        yield member.weight.detach()[member.positions].flatten(1)


def gradient_of(parameter: Tensor) -> Tensor:
    """Return a parameter's gradient, zero where the loss does not depend on it."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _sum(scores: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(scores)).sum(0)

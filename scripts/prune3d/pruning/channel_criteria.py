"""Importance of channels: a criterion takes a channel group and gives a score for each channel.

The channels with the lowest scores are removed. Scores are compared within one group only.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prune3d.errors import PruningError
from prune3d.pruning.dependency import ChannelGroup

ChannelCriterion = Callable[[ChannelGroup, torch.Generator], Tensor]


def batchnorm_scale(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Sum of the absolute batch-norm scales (network slimming, arXiv 1708.06519).

    Returns
    -------
    Tensor
        Shape (channels,), at least 0.

    Raises
    ------
    PruningError
        If the group has no batch norm.
    """
    if not group.norms:
        raise PruningError(
            f"criterion 'batchnorm_scale' cannot score the channels of layer '{group.name}', which "
            "has no batch norm; use 'l1' or 'l2'."
        )
    return torch.stack([norm.weight.detach().abs() for norm in group.norms.values()]).sum(0)


def l1(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Sum of the L1 norms of the filters that write each channel (arXiv 1608.08710)."""
    return _filter_norms(group, 1)


def l2(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Sum of the L2 norms of the filters that write each channel."""
    return _filter_norms(group, 2)


def random(group: ChannelGroup, generator: torch.Generator) -> Tensor:
    """Uniform random scores: the baseline."""
    return torch.rand(group.channels, generator=generator)


def _filter_norms(group: ChannelGroup, order: int) -> Tensor:
    weights = [layer.get_parameter("weight").detach() for layer in group.writers.values()]
    return torch.stack([w.flatten(1).norm(order, dim=1) for w in weights]).sum(0)

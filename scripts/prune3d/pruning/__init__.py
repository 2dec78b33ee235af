"""Prune a network along depth, width and resolution together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prune3d.pruning.options import PruningOptions

if TYPE_CHECKING:
    from torch import nn

    from prune3d.data.images import ImageSplits

__all__ = ["PruningOptions", "prune"]


def prune(
    model: nn.Module,
    depth: float | None = None,
    width: float | None = None,
    resolution: float | None = None,
    *,
    options: PruningOptions | None = None,
    images: ImageSplits | None = None,
    removal_order: Sequence[str] | None = None,
) -> nn.Module:
    """Return a pruned copy: first blocks, then channels, then the image side.

    Parameters
    ----------
    model
        A network built by `prune3d.build` or loaded by `prune3d.load`, pruned already or not.
    depth, width, resolution
        Ratios to the *dense* network, in (0, 1], rounded to whole blocks, channels and pixels;
        none may be above what the network has now. None leaves a dimension as it is.
    options
        Criteria and rounding.
    images
        Training and selection images. Criteria that look at data need them, and with them the
        batch-norm statistics of the pruned network are estimated anew.
    removal_order
        Names of blocks, the least important first, instead of scoring the blocks now.

    Returns
    -------
    torch.nn.Module
        The pruned copy on the same device; its attribute `spec` says what was removed and
        `lineage` what it cost.

    Raises
    ------
    prune3d.errors.PruningError
        If the network cannot be pruned as asked.
    """
    from prune3d.pruning.joint import PruningTarget, prune_to

    target = PruningTarget(depth, width, resolution)
    return prune_to(model, target, options or PruningOptions(), images, removal_order)

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
    macs: float | None = None,
    options: PruningOptions | None = None,
    images: ImageSplits | None = None,
    removal_order: Sequence[str] | None = None,
) -> nn.Module:
    """Return a pruned copy.

    Parameters
    ----------
    model
        A network built by `prune3d.build` or loaded by `prune3d.load`, pruned already or not.
    depth, width, resolution
        Ratios to the *dense* network, in (0, 1], rounded to whole blocks, channels and pixels;
        none may be above what the network has now. None leaves a dimension as it is.
    macs
        Instead of a width: the ratio of the dense network's multiply-accumulates, in (0, 1], that
        the network may have; the largest width that keeps to it is taken, or the lowest threshold
        where `PruningOptions.allocation` is ``global``.
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

    Examples
    --------
    >>> import prune3d
    >>> model = prune3d.build("resnet20", num_classes=10, image_size=32)
    >>> order = ["layer3.2", "layer1.2", "layer2.2"]
    >>> small = prune3d.prune(model, depth=6 / 9, macs=0.25, resolution=0.75, removal_order=order)
    >>> small.spec.removed_blocks
    ('layer1.2', 'layer2.2', 'layer3.2')
    >>> 0.2475 < prune3d.cost(small).macs / prune3d.cost(model).macs <= 0.25
    True
    """
    from prune3d.pruning.joint import PruningTarget, prune_to

    target = PruningTarget(depth, width, resolution, macs)
    return prune_to(model, target, options or PruningOptions(), images, removal_order)

"""What a network has become: realized ratios and cost, relative to the dense network."""

from __future__ import annotations

from typing import Any

from torch import nn

from prune3d.costs import cost
from prune3d.models.assembly import dense_skeleton, get_spec
from prune3d.pruning.blocks import find_blocks
from prune3d.pruning.joint import dense_groups


def realized(model: nn.Module) -> dict[str, Any]:
    """Return ratios and cost of a network.

    Returns
    -------
    dict
        ``depth`` (blocks kept), ``width`` (mean over the channels of all groups that are left) and
        ``resolution`` (side), ratios in (0, 1]; ``blocks`` and ``side_pixels``; ``macs`` of one
        image, ``params``, and ``macs_ratio`` to the dense network.
    """
    spec = get_spec(model)
    dense = dense_skeleton(spec.dense())
    measured = cost(model)
    blocks = len(find_blocks(dense))
    kept = blocks - len(spec.removed_blocks)
    return {
        "depth": kept / blocks if blocks else 1.0,
        "width": mean_width(model),
        "resolution": spec.side / spec.image_size,
        "blocks": kept,
        "side_pixels": spec.side,
        "macs": measured.macs,
        "params": measured.params,
        "macs_ratio": measured.macs / cost(dense).macs,
    }


def mean_width(model: nn.Module) -> float:
    """Return the channels that are left over those of the dense network, in the groups left."""
    layers = dict(model.named_modules())
    left = total = 0
    for channels, writers in dense_groups(get_spec(model).dense()).values():
        present = [name for name in writers if name in layers]
        if present:
            left += int(layers[present[0]].get_parameter("weight").shape[0])
            total += channels
    return left / total if total else 1.0

"""What a network has become: realized ratios and cost, relative to the dense network."""

from __future__ import annotations

from typing import Any

from torch import nn

from prune3d.costs.count import cost
from prune3d.models.assembly import dense_skeleton, get_spec
from prune3d.pruning.dense import look_at_dense


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
    measured = cost(model)
    blocks = len(look_at_dense(model).blocks)
    kept = blocks - len(spec.removed_blocks)
    return {
        "depth": kept / blocks if blocks else 1.0,
        "width": mean_width(model),
        "resolution": spec.side / spec.image_size,
        "blocks": kept,
        "side_pixels": spec.side,
        "macs": measured.macs,
        "params": measured.params,
        "macs_ratio": measured.macs / cost(dense_skeleton(spec.dense())).macs,
    }


def mean_width(model: nn.Module) -> float:
    """Return the channels that are left over those of the dense network, in the groups left."""
    layers = dict(model.named_modules())
    left = total = 0
    for group in look_at_dense(model).groups:
        # What a removed block held is gone with it.
        writer = next((m for m in group.writers if hasattr(layers.get(m.name), m.key)), None)
        if writer is not None:
            left += writer.left_in(layers[writer.name])
            total += group.channels
    return left / total if total else 1.0

"""From a network to its `prune3d.costs.structure.Structure`: what can go, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from prune3d.costs.count import cost, counted_by_torch, macs_by_side, module_macs
from prune3d.costs.structure import FrozenChannels, Structure, compose, dense_macs
from prune3d.errors import PruningError, UserError, what_failed
from prune3d.export import why_not_onnx
from prune3d.models.assembly import dense_skeleton, get_spec
from prune3d.models.foreign import copy_network, pass_images
from prune3d.models.registry import MODELS
from prune3d.pruning.channels.compare import liven
from prune3d.pruning.channels.trace import LOGITS
from prune3d.pruning.dense import Dense, look_at_dense
from prune3d.pruning.depth import remove_blocks
from prune3d.pruning.describe import describe_layers
from prune3d.pruning.options import PruningOptions
from prune3d.pruning.width import prune_width


def analyze(model: nn.Module, sides: Sequence[int] | None = None) -> Structure:
    """Describe the dense network of a network.

    Parameters
    ----------
    model
        The network; only its specification matters.
    sides
        Image sides in pixels to describe, ascending; by default all that the network can take, and
        then pruning is tried as well: what does not work is no part of the structure, which says
        why.

    Raises
    ------
    PruningError
        If the network does not take images of the size that it was built for, cannot be copied, or
        its multiply-accumulates cannot be counted.
    """
    skeleton = dense_skeleton(get_spec(model).dense())
    dense = look_at_dense(model)
    if sides is not None:
        return _structure(skeleton, dense, {side: module_macs(skeleton, side) for side in sides})
    module_macs(skeleton, get_spec(model).image_size)
    macs = macs_by_side(skeleton)
    structure = _structure(skeleton, dense, macs)
    _check_count(skeleton, structure)
    narrow = copy_network(skeleton, get_spec(model).name)
    reason = _failure(_try_width, narrow, structure)
    if reason is not None:
        dense, narrow = dense.without_width(reason), skeleton
        structure = _structure(skeleton, dense, macs)
    reason = _failure(_try_depth, skeleton, structure)
    if reason is not None:
        structure = _structure(skeleton, dense.without_depth(reason), macs)
    if get_spec(model).name in MODELS:
        return structure
    # Of the same operators as the dense network, and written in a part of the time.
    no_onnx = why_not_onnx(narrow.eval(), (structure.sides[-1], structure.sides[0]))
    return replace(structure, no_onnx=no_onnx)


def _structure(skeleton: nn.Module, dense: Dense, macs: dict[int, dict[str, int]]) -> Structure:
    layers = describe_layers(skeleton, dense.blocks, dense.graph, list(macs.values()))
    return Structure(
        blocks=len(dense.blocks),
        removable=dense.removals,
        groups=dense.sizes,
        multiples=dense.multiples,
        sides=tuple(macs),
        layers=layers,
        no_width=dense.no_width,
        no_depth=dense.no_depth,
        frozen=_frozen(dense),
    )


def _frozen(dense: Dense) -> tuple[FrozenChannels, ...]:
    """Return what stays for another reason than that it are the logits."""
    entries = dense.graph.frozen if dense.graph is not None else ()
    return tuple(
        FrozenChannels(entry.name, entry.channels, entry.reason)
        for entry in entries
        if entry.reason != LOGITS
    )


def _check_count(skeleton: nn.Module, structure: Structure) -> None:
    """Compare the composed MACs of a network that is not registered with torch's count."""
    name = get_spec(skeleton).name
    if name in MODELS:
        return
    composed, counted = dense_macs(structure), counted_by_torch(skeleton)
    if composed == counted:
        return
    third = counted_by_torch(skeleton, images=2)
    if third != counted:
        raise PruningError(
            f"{name} cannot be costed: what it computes for an image depends on how many there are "
            f"(its layers make {composed} multiply-accumulates for one, a second adds {counted}, a "
            f"third {third}), so that its logits for an image may depend on the others; see "
            "whether a reshape or a squeeze mixes the images of a batch."
        )
    raise PruningError(
        f"{name} cannot be costed: its layers add up to {composed} multiply-accumulates for an "
        f"image, but torch counts {counted}; this is a defect of prune3d, please report it with "
        "your model."
    )


def _failure(
    attempt: Callable[[nn.Module, Structure], None], model: nn.Module, structure: Structure
) -> str | None:
    """Return why pruning does not work, or None."""
    try:
        attempt(model, structure)
    except UserError as error:
        return str(error).rstrip(".")
    except Exception as error:  # whatever a network of somebody else's makes go wrong
        return f"pruning {get_spec(model).name} failed ({what_failed(error)})"
    return None


def _try_width(copied: nn.Module, structure: Structure) -> None:
    """Prune half of a copy's channels by lot, in place, to see whether the groups are right."""
    if structure.groups:
        liven(copied)
        prune_width(copied, 0.5, PruningOptions(channel_criterion="random"))
        _check_pruned(copied, structure, 0.5)


def _try_depth(skeleton: nn.Module, structure: Structure) -> None:
    """Remove all blocks that can go, to see whether the rest works, with half the channels, too."""
    spec = get_spec(skeleton)
    order = [block for block in look_at_dense(skeleton).blocks if block.name in structure.removable]
    order = order[: structure.blocks - structure.fewest_blocks]
    if order:
        pruned = copy_network(skeleton, spec.name)
        remove_blocks(pruned, order)
        _check_pruned(pruned, structure, 1.0)
        if spec.name not in MODELS:
            images = torch.zeros(2, spec.in_channels, spec.side, spec.side)
            pass_images(pruned, f"{spec.name} without its blocks", images, training=True)
            if structure.groups:
                liven(pruned)
                prune_width(pruned, 0.5, PruningOptions(channel_criterion="random"))
                _check_pruned(pruned, structure, 0.5)


def _check_pruned(pruned: nn.Module, structure: Structure, width: float) -> None:
    """Compare what a pruned network costs with what is composed.

    Raises
    ------
    PruningError
        If the numbers differ.
    """
    spec, measured = get_spec(pruned), cost(pruned)
    kept = structure.kept(np.array([width]))
    level = compose(structure, spec.removed_blocks, kept)
    at = structure.sides.index(spec.side)
    expected = int((structure.arrays.positions[at] @ level.weights)[0]), int(level.params[0])
    if (measured.macs, measured.params) != expected:
        raise PruningError(
            f"pruned, {spec.name} has {measured.macs} multiply-accumulates and {measured.params} "
            f"parameters where {expected[0]} and {expected[1]} were composed from its layers."
        )

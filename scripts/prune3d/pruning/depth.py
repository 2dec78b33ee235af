"""Pruning along depth: whole blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn

from prune3d.costs.count import cost, module_macs
from prune3d.costs.ratios import kept_blocks
from prune3d.data.images import ImageSplits
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec, set_spec, with_current_shapes
from prune3d.models.lineage import Step, add_step
from prune3d.models.stand_ins import replace_modules
from prune3d.pruning.blocks import Block
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.dense import channel_graph, look_at_dense, present_blocks
from prune3d.pruning.options import BLOCK_CRITERIA, PruningOptions, resolve_criterion


def prune_depth(
    model: nn.Module,
    depth: float,
    options: PruningOptions,
    images: ImageSplits | None = None,
    removal_order: Sequence[str] | None = None,
) -> None:
    """Remove the least important blocks in place until a ratio of the dense network's is left.

    Raises
    ------
    PruningError
        If fewer blocks than the ratio asks for are there already, too few can be removed, or the
        order names one that the dense network does not have.
    """
    spec = get_spec(model)
    known = look_at_dense(model)
    dense = known.blocks
    fewest = max(1, sum(not block.removable for block in dense))
    if fewest >= len(dense):
        if depth == 1:
            return
        raise PruningError(
            f"depth is {depth}, but must be 1: {spec.name} has no block that can be removed "
            f"({known.no_depth}); prune its width and resolution."
        )
    names = [block.name for block in dense]
    for name in removal_order or ():
        if name not in names:
            raise PruningError(
                f"the order of removal names {name}, which is no block of {spec.name}; there are: "
                f"{', '.join(names)}."
            )
    to_keep = kept_blocks(depth, len(dense), fewest)
    excess = len(dense) - len(spec.removed_blocks) - to_keep
    if excess < 0:
        raise PruningError(
            f"depth {depth} is {to_keep} of {len(dense)} blocks, but the network has only "
            f"{len(dense) - len(spec.removed_blocks)} left; pruning only makes smaller."
        )
    if excess == 0:
        return
    if removal_order is None:
        removal_order = order_blocks(model, options, images)
    can_go = {block.name: block for block in present_blocks(model) if block.removable}
    chosen = [can_go[name] for name in dict.fromkeys(removal_order) if name in can_go][:excess]
    if len(chosen) < excess:
        raise PruningError(
            f"depth {depth} needs {excess} more blocks removed, but the order of removal names "
            f"{len(chosen)} that can be; removable are: {', '.join(sorted(can_go))}."
        )
    remove_blocks(model, chosen)


def remove_blocks(model: nn.Module, blocks: Sequence[Block]) -> None:
    """Remove blocks in place.

    Raises
    ------
    PruningError
        If the layers that are left do not fit together.
    """
    spec = get_spec(model)
    appended = [block for block in blocks if block.appends]
    if appended:
        drops = {look_at_dense(model).removals[block.name].drops for block in appended}
        nothing = torch.empty(0, dtype=torch.int64)
        graph = channel_graph(model)
        gone = {group.name: nothing for group in graph.groups if group.name in drops}
        keep_channels(model, graph, gone)
    replaced = {module: str(block.stand_in) for block in blocks for module in block.modules}
    replace_modules(model, replaced)
    names = {*spec.removed_blocks, *(block.name for block in blocks)}
    in_order = tuple(b.name for b in look_at_dense(model).blocks if b.name in names)
    # Of what channels that went before have left: numbers that the removed modules kept.
    attributes = {n: v for n, v in spec.attributes.items() if not _is_within(n, replaced)}
    modules = {**spec.replaced, **replaced}
    set_spec(
        model,
        replace(spec, removed_blocks=in_order, replaced=modules, attributes=attributes),
    )
    with_current_shapes(model)
    try:
        module_macs(model, spec.side)
    except PruningError as error:
        advice = "; prune depth before width" if spec.shapes else ""
        raise PruningError(
            f"{spec.name} does not work without {', '.join(block.name for block in blocks)}: "
            f"{str(error).rstrip('.')}{advice}."
        ) from None


def _is_within(attribute: str, modules: Iterable[str]) -> bool:
    """Tell whether an attribute, ``path:name``, is of one of some modules or of a part of it."""
    path = attribute.partition(":")[0]
    return any(path == module or path.startswith(f"{module}.") for module in modules)


def order_blocks(
    model: nn.Module, options: PruningOptions, images: ImageSplits | None
) -> list[str]:
    """Return the removable blocks that the network has, the least important first.

    Raises
    ------
    PruningError
        If the criterion needs images and there are none, or does not score every block.
    """
    criterion = resolve_criterion(BLOCK_CRITERIA, options.block_criterion)
    blocks = present_blocks(model)
    removable = [block.name for block in blocks if block.removable]
    if not removable:
        return []
    scores = criterion(model, blocks, images, options)
    if set(scores) != set(removable):
        raise PruningError(
            f"criterion '{options.block_criterion}' scored {', '.join(scores) or 'no block'}; "
            f"expected are scores of: {', '.join(removable)}."
        )
    if images is not None and options.block_criterion != "random":
        passes = getattr(criterion, "image_passes", default_passes)(blocks, images, options)
        add_step(model, Step("score blocks", passes, cost(model).macs))
    return sorted(removable, key=lambda name: scores[name])


def default_passes(blocks: Sequence[Block], images: ImageSplits, options: PruningOptions) -> int:
    """Return the image passes of a criterion that looks once at both splits."""
    return min(options.probe_images, len(images.train)) + len(images.selection)

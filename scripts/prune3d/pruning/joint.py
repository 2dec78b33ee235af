"""The pruning itself, on a copy: blocks, then channels, then the image side."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from prune3d.costs import cost
from prune3d.data.images import ImageSplits
from prune3d.errors import PruningError
from prune3d.lineage import Step, add_step, get_lineage, set_lineage
from prune3d.models.assembly import (
    dense_skeleton,
    get_spec,
    remove_blocks,
    set_spec,
    with_current_shapes,
)
from prune3d.models.registry import facts
from prune3d.models.spec import NetworkSpec
from prune3d.pruning.batchnorm import reestimate_statistics
from prune3d.pruning.blocks import find_blocks
from prune3d.pruning.dependency import ChannelGraph, ChannelGroup
from prune3d.pruning.options import BLOCK_CRITERIA, CHANNEL_CRITERIA, PruningOptions
from prune3d.ratios import kept_blocks, kept_channels, side_of


@dataclass(frozen=True)
class PruningTarget:
    """Ratios to the dense network, each in (0, 1]; None leaves a dimension as it is."""

    depth: float | None = None
    width: float | None = None
    resolution: float | None = None


def prune_to(
    model: nn.Module,
    target: PruningTarget,
    options: PruningOptions,
    images: ImageSplits | None,
    removal_order: Sequence[str] | None,
) -> nn.Module:
    """Prune a copy of a network to a target; see `prune3d.prune`."""
    pruned = copy.deepcopy(model)
    set_lineage(pruned, get_lineage(model))
    if target.depth is not None:
        prune_depth(pruned, target.depth, options, images, removal_order)
    if target.width is not None:
        prune_width(pruned, target.width, options)
    if target.resolution is not None:
        prune_resolution(pruned, target.resolution)
    if images is not None:
        passes = reestimate_statistics(pruned, images.train, options)
        add_step(pruned, Step("re-estimate batch norms", passes, cost(pruned).macs))
    return pruned


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
        If fewer blocks than the ratio asks for are there already, or too few can be removed.
    """
    spec = get_spec(model)
    dense = find_blocks(dense_skeleton(spec.dense()))
    fewest = sum(not block.removable for block in dense)
    to_keep = kept_blocks(depth, len(dense), fewest)
    removed = set(spec.removed_blocks)
    excess = len(dense) - len(removed) - to_keep
    if excess < 0:
        raise PruningError(
            f"depth {depth} is {to_keep} of {len(dense)} blocks, but the network has only "
            f"{len(dense) - len(removed)} left; pruning only makes smaller."
        )
    if excess == 0:
        return
    if removal_order is None:
        removal_order = order_blocks(model, options, images)
    can_go = {block.name for block in dense if block.removable} - removed
    chosen = [name for name in dict.fromkeys(removal_order) if name in can_go][:excess]
    if len(chosen) < excess:
        raise PruningError(
            f"depth {depth} needs {excess} more blocks removed, but the order of removal names "
            f"{len(chosen)} that can be; removable are: {', '.join(sorted(can_go))}."
        )
    remove_blocks(model, tuple(chosen))
    names = removed | set(chosen)
    in_order = tuple(block.name for block in dense if block.name in names)
    set_spec(model, replace(spec, removed_blocks=in_order))


def order_blocks(
    model: nn.Module, options: PruningOptions, images: ImageSplits | None
) -> list[str]:
    """Return the removable blocks that the network has, the least important first."""
    criterion = resolve(BLOCK_CRITERIA, "block criterion", options.block_criterion)
    scores = criterion(model, find_blocks(model), images, options)
    if images is not None and options.block_criterion != "random":
        passes = min(options.probe_images, len(images.train)) + len(images.selection)
        add_step(model, Step("score blocks", passes, cost(model).macs))
    return sorted(scores, key=lambda name: scores[name])


def prune_width(model: nn.Module, width: float, options: PruningOptions) -> None:
    """Remove the least important channels of every group in place, down to a ratio of the dense.

    Raises
    ------
    PruningError
        If the ratio is outside (0, 1] or a group has fewer channels already.
    """
    if not 0 < width <= 1:
        raise PruningError(f"width is {width}; allowed is above 0 and at most 1.")
    dense = dense_groups(get_spec(model).dense())
    group_of = {layer: name for name, (_, layers) in dense.items() for layer in layers}
    sizes = {name: channels for name, (channels, _) in dense.items()}
    kept = kept_channels(sizes, np.array([width]), options.round_to)
    criterion = resolve(CHANNEL_CRITERIA, "channel criterion", options.channel_criterion)
    generator = torch.Generator().manual_seed(options.seed)
    graph = ChannelGraph(model)
    excess = {g.name: g.channels - int(kept[group_of[g.name]][0]) for g in graph.groups}
    _refuse_growth(width, graph.groups, excess)
    # Every group is scored before any is pruned, so that the order of the groups does not matter.
    scores = {g.name: criterion(g, generator) for g in graph.groups if excess[g.name]}
    for group in graph.groups:
        if excess[group.name]:
            lowest = torch.argsort(scores[group.name], stable=True)[: excess[group.name]]
            graph.remove(group, sorted(lowest.tolist()))
    with_current_shapes(model)


def prune_resolution(model: nn.Module, resolution: float) -> None:
    """Set the image side that the network is meant for to a ratio of the dense network's.

    Raises
    ------
    PruningError
        If the ratio is outside (0, 1] or above what the network has now.
    """
    spec = get_spec(model)
    side = side_of(resolution, spec.image_size, facts(spec.name).smallest_side)
    if side > spec.side:
        raise PruningError(
            f"resolution {resolution} is {side} pixels, above the {spec.side} that the network "
            "has now; pruning only makes smaller."
        )
    set_spec(model, replace(spec, side=side))


def _refuse_growth(width: float, groups: Sequence[ChannelGroup], excess: dict[str, int]) -> None:
    for group in groups:
        if excess[group.name] < 0:
            raise PruningError(
                f"width {width} asks for {group.channels - excess[group.name]} channels of layer "
                f"'{group.name}', which has only {group.channels}; pruning only makes smaller."
            )


@cache
def dense_groups(spec: NetworkSpec) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return the dense network's channel groups: name -> (channels, layers that write them)."""
    graph = ChannelGraph(dense_skeleton(spec))
    return {group.name: (group.channels, tuple(group.writers)) for group in graph.groups}


def resolve(registry: dict[str, str], kind: str, name: str) -> Any:
    """Import what a registry has under a name.

    Raises
    ------
    PruningError
        If it has nothing under that name.
    """
    if name not in registry:
        raise PruningError(f"unknown {kind} '{name}'; known are: {', '.join(registry)}.")
    module, function = registry[name].split(":")
    return getattr(importlib.import_module(module), function)

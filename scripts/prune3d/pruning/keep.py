"""Parts left alone: layers that are neither cut nor removed; see `prune3d.pruning.patterns`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.pruning.blocks import Block
from prune3d.pruning.channels.groups import ChannelGraph, ChannelGroup, Frozen, owner_of
from prune3d.pruning.patterns import matches, why_unmatched


def layer_names(model: nn.Module) -> list[str]:
    """Return the names of the layers with parameters, in the network's order."""
    return list(dict.fromkeys(_owner(name) for name, _ in model.named_parameters()))


def kept_layers(model: nn.Module, patterns: Sequence[str]) -> dict[str, str]:
    """Return the layers with parameters that patterns match, each with the first that does.

    Raises
    ------
    PruningError
        If a pattern matches none.
    """
    layers = layer_names(model)
    wrong = why_unmatched(patterns, layers, get_spec(model).name)
    if wrong is not None:
        raise PruningError(f"keep: {wrong}.")
    found = {layer: [p for p in patterns if matches(layer, p)] for layer in layers}
    return {layer: which[0] for layer, which in found.items() if which}


def without_groups_of(graph: ChannelGraph, kept: Mapping[str, str]) -> ChannelGraph:
    """Return a graph in which the channels that kept layers have stay."""
    free, stays = [], []
    for group in graph.groups:
        layer = kept_in(group, kept)
        if layer is None:
            free.append(group)
        else:
            reason = f"'{layer}' has them, which '{kept[layer]}' keeps"
            stays.append(Frozen(group.name, group.channels, reason))
    return replace(graph, groups=tuple(free), frozen=(*graph.frozen, *stays))


def without_removal_of(block: Block, kept: Mapping[str, str]) -> Block:
    """Return a block that stays if it holds a layer that is kept."""
    held = next((layer for layer in kept if block.holds(layer)), None)
    if held is None or not block.removable:
        return block
    return block.kept(f"it holds '{held}', which '{kept[held]}' keeps")


def kept_in(group: ChannelGroup, kept: Mapping[str, str]) -> str | None:
    """Return a kept layer that has channels of a group, None where there is none."""
    return next((layer for cut in group.cuts if (layer := _owner(cut.tensor)) in kept), None)


def _owner(tensor: str) -> str:
    """Return the module of a parameter, or the parameter's own name where that is the network."""
    module, key = owner_of(tensor)
    return module or key

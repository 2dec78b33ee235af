"""What is known of the dense network of a specification; looked up once in a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn

from prune3d.costs.count import layers_make_all, module_macs
from prune3d.costs.structure import Removal
from prune3d.errors import PruningError, UserError, what_failed
from prune3d.models.assembly import dense_skeleton, get_spec, set_spec
from prune3d.models.foreign import copy_network
from prune3d.models.registry import MODELS, all_facts
from prune3d.models.spec import NetworkSpec
from prune3d.models.stand_ins import put_in_place, replace_modules
from prune3d.pruning.blocks import Block, find_blocks
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.channels.follow import follow, follow_pruned
from prune3d.pruning.channels.groups import ChannelGraph, ChannelGroup, of_model
from prune3d.pruning.channels.verify import follow_verified
from prune3d.pruning.costable import leave_uncosted
from prune3d.pruning.keep import kept_in, kept_layers, without_groups_of, without_removal_of
from prune3d.pruning.removals import find_removal


@dataclass(frozen=True)
class Dense:
    """The blocks and the channel groups of a dense network.

    Attributes
    ----------
    blocks
        In the order in which they run.
    removals
        For each removable block, what its removal does to the channel groups.
    groups
        In the network's order; none if the network cannot be pruned along width.
    no_width
        Why there are none.
    no_depth
        Why no block can be removed, where none can.
    graph
        The channels from which the groups are, where they could be followed.
    """

    blocks: tuple[Block, ...]
    removals: dict[str, Removal]
    groups: tuple[ChannelGroup, ...]
    no_width: str | None
    no_depth: str | None = None
    graph: ChannelGraph | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Channels of each group."""
        return {group.name: group.channels for group in self.groups}

    @property
    def multiples(self) -> dict[str, int]:
        """What the channels of some groups must be a multiple of."""
        return {group.name: group.multiple for group in self.groups if group.multiple > 1}

    def without_width(self, reason: str) -> Dense:
        """Return the same network as one that cannot be pruned along width."""
        return _assemble(self.blocks, None, reason)

    def without_depth(self, reason: str) -> Dense:
        """Return the same network as one of which no block can be removed."""
        blocks = [block.kept(reason) for block in self.blocks]
        return _assemble(blocks, self.graph, self.no_width)


def look_at_dense(model: nn.Module) -> Dense:
    """Return what is known of the dense network of a network."""
    spec = get_spec(model).dense()
    return _look_keeping(spec) if spec.keep else _look(spec)


def keep_layers(model: nn.Module, patterns: Sequence[str]) -> None:
    """Let a network keep layers, in place, beside those that it keeps already.

    Its specification holds the patterns, so that its costs, its copies and its file follow.

    Parameters
    ----------
    model
        A network built by prune3d.
    patterns
        See `prune3d.pruning.patterns`.

    Raises
    ------
    PruningError
        If a pattern matches no layer of the dense network, or one that was cut or removed already.
    """
    spec = get_spec(model)
    all_patterns = tuple(dict.fromkeys((*spec.keep, *patterns)))
    kept = kept_layers(dense_skeleton(spec.dense()), all_patterns)
    dense = look_at_dense(model)
    for group in dense.groups:
        layer = kept_in(group, kept)
        if layer and any(cut.tensor in spec.shapes for cut in group.cuts):
            raise PruningError(
                f"keep: '{kept[layer]}' matches '{layer}', whose channels were cut already; keep "
                "layers from the dense network on."
            )
    set_spec(model, replace(spec, keep=all_patterns))
    gone = [name for name in spec.removed_blocks if name not in look_at_dense(model).removals]
    if gone:
        set_spec(model, spec)
        raise PruningError(
            f"keep: the block '{gone[0]}' was removed already, and could not be with "
            f"{', '.join(repr(pattern) for pattern in patterns)}; keep layers from the dense "
            "network on."
        )


def channel_graph(model: nn.Module) -> ChannelGraph:
    """Return the channels of a network as it is now.

    Raises
    ------
    PruningError
        If the channels of its dense network cannot be followed.
    """
    dense = look_at_dense(model)
    if dense.graph is None:
        raise PruningError(str(dense.no_width))
    spec = get_spec(model)
    if not spec.shapes and not spec.removed_blocks:
        return of_model(dense.graph, model)
    return follow_pruned(model, dense.graph)


def channel_groups(model: nn.Module) -> list[ChannelGroup]:
    """Return the channel groups of a network as it is now, in the network's order.

    Channels that stay, such as those of the images and the logits, are in none.

    Parameters
    ----------
    model
        A network built by prune3d, on any device.

    Raises
    ------
    PruningError
        If the channels of its dense network cannot be followed.
    """
    return list(channel_graph(model).groups)


def present_blocks(model: nn.Module) -> list[Block]:
    """Return the blocks that a network still has."""
    removed = set(get_spec(model).removed_blocks)
    return [block for block in look_at_dense(model).blocks if block.name not in removed]


@cache
def _look_keeping(spec: NetworkSpec) -> Dense:
    """Return what is known with the layers that are kept as layers that stay."""
    known = _look(replace(spec, keep=()))
    kept = kept_layers(dense_skeleton(spec), spec.keep)
    graph = known.graph and without_groups_of(known.graph, kept)
    blocks = [without_removal_of(block, kept) for block in known.blocks]
    return _assemble(blocks, graph, known.no_width)


@cache
def _look(spec: NetworkSpec) -> Dense:
    model = dense_skeleton(spec)
    no_width, graph = None, None
    try:
        # What pruning gives is compared in any case; for these networks the tests try the rest.
        graph = follow(model) if spec.name in all_facts() else follow_verified(model)
        if not layers_make_all(spec):
            graph = leave_uncosted(model, graph)
    except UserError as error:
        no_width = str(error)
    except Exception as error:  # whatever a network of somebody else's makes go wrong
        no_width = (
            f"{spec.name} cannot be pruned along width: its channels cannot be followed "
            f"({what_failed(error)})."
        )
    try:
        return _with_blocks(model, graph, no_width)
    except Exception as error:
        reason = f"the blocks of {spec.name} cannot be found ({what_failed(error)})"
        return replace(_assemble([], graph, no_width), no_depth=reason)


def _with_blocks(model: nn.Module, graph: ChannelGraph | None, no_width: str | None) -> Dense:
    """Look for blocks until each that is said to be removable is, when it is removed alone."""
    known = get_spec(model).name in MODELS
    barred: dict[str, str] = {}
    while True:
        found = find_blocks(model, barred)
        dense = _assemble(found, graph, no_width)
        if not known:
            dense = _assemble(_tried(model, dense), graph, no_width)
        can = {block.name for block in found if block.removable}
        failed = {b.name: str(b.reason) for b in dense.blocks if b.name in can and not b.removable}
        if known or not failed:
            if barred and not dense.removals:
                dense = replace(dense, no_depth=next(iter(barred.values())))
            return dense
        barred |= failed


def _tried(model: nn.Module, dense: Dense) -> list[Block]:
    """Remove each block alone, to see whether the network works without it."""
    copied = copy_network(model, get_spec(model).name)  # others look at the dense network meanwhile
    return [
        _tried_alone(copied, block, dense) if block.removable else block for block in dense.blocks
    ]


def _tried_alone(model: nn.Module, block: Block, dense: Dense) -> Block:
    drops = dense.removals[block.name].drops
    part = model
    if drops is not None and dense.graph is not None:
        part = copy_network(model, get_spec(model).name)
        keep_channels(part, dense.graph, {drops: torch.empty(0, dtype=torch.int64)})
    originals = {name: part.get_submodule(name) for name in block.modules}
    replace_modules(part, dict.fromkeys(originals, str(block.stand_in)))
    try:
        module_macs(part, get_spec(part).side)
    except Exception as error:
        return block.kept(f"the network does not work without '{block.name}': {error}".rstrip("."))
    finally:
        for name, original in originals.items():
            put_in_place(part, part.get_submodule(name), original)
    return block


def _assemble(found: Sequence[Block], graph: ChannelGraph | None, no_width: str | None) -> Dense:
    groups = () if graph is None else graph.groups
    blocks, removals = [], {}
    for block in found:
        removal = find_removal(block, graph, followed=no_width is None)
        if removal is not None:
            removals[block.name] = removal
        elif block.removable:
            block = block.kept(f"the channels around '{block.name}' do not fit without it")
        blocks.append(block)
    reasons = [block.reason for block in blocks if block.reason]
    no_depth = None
    if not removals:
        no_depth = reasons[0] if reasons else "no block was found"
    if graph is not None and not groups:
        no_width = _all_stay(graph)
    return Dense(tuple(blocks), removals, groups, no_width, no_depth, graph)


def _all_stay(graph: ChannelGraph) -> str:
    """Return why no channel can be pruned: why most of them stay."""
    frozen = max(graph.frozen, key=lambda stay: stay.channels, default=None)
    if frozen is None:
        return "no layer has channels"
    return f"all channels stay, most of them those of '{frozen.name}', since {frozen.reason}"

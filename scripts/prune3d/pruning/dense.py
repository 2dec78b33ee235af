"""What is known of the dense network of a specification; looked up once in a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from torch import nn

from prune3d.costs.structure import Removal
from prune3d.errors import PruningError
from prune3d.models.assembly import dense_skeleton, get_spec
from prune3d.models.spec import NetworkSpec
from prune3d.pruning.blocks import Block, find_blocks
from prune3d.pruning.dependency import ChannelGroup, channel_groups


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
    """

    blocks: tuple[Block, ...]
    removals: dict[str, Removal]
    groups: tuple[ChannelGroup, ...]
    no_width: str | None

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
        return _assemble(self.blocks, (), reason)


def look_at_dense(model: nn.Module) -> Dense:
    """Return what is known of the dense network of a network."""
    return _look(get_spec(model).dense())


def present_blocks(model: nn.Module) -> list[Block]:
    """Return the blocks that a network still has."""
    removed = set(get_spec(model).removed_blocks)
    return [block for block in look_at_dense(model).blocks if block.name not in removed]


@cache
def _look(spec: NetworkSpec) -> Dense:
    model = dense_skeleton(spec)
    no_width = None
    groups: list[ChannelGroup] = []
    try:
        groups = channel_groups(model)
    except PruningError as error:
        no_width = str(error)
    return _assemble(find_blocks(model), groups, no_width)


def _assemble(
    found: Sequence[Block], groups: Sequence[ChannelGroup], no_width: str | None
) -> Dense:
    blocks, removals = [], {}
    for block in found:
        removal = _removal(block, groups, followed=no_width is None)
        if removal is None:
            block = replace(block, stand_in=None, appends=False)
        else:
            removals[block.name] = removal
        blocks.append(block)
    return Dense(tuple(blocks), removals, tuple(groups), no_width)


def _removal(block: Block, groups: Sequence[ChannelGroup], followed: bool) -> Removal | None:
    """Return what removing a block does to the groups, or None where it cannot be removed."""
    if not block.removable:
        return None
    if not followed:
        return None if block.appends else Removal()
    inside = [g for g in groups if any(block.holds(m.name) for m in g.members)]
    written = [g for g in inside if any(block.holds(m.name) for m in g.writers)]
    comes_in = [g for g in inside if not all(block.holds(m.name) for m in g.writers)]
    goes_out = [g for g in written if not all(block.holds(m.name) for m in g.members)]
    if block.appends:
        dropped = [g for g in goes_out if g not in comes_in]
        return Removal(drops=dropped[0].name) if len(dropped) == 1 else None
    ins, outs = {g.name for g in comes_in}, {g.name for g in goes_out}
    if ins == outs:
        return Removal()
    if len(ins) == len(outs) == 1:
        return Removal(joins=(ins.pop(), outs.pop()))
    return None

"""What the removal of a block does to the channel groups."""

from __future__ import annotations

from prune3d.costs.structure import Removal
from prune3d.pruning.blocks import Block
from prune3d.pruning.channels.groups import ChannelGraph
from prune3d.pruning.channels.trace import Lane


def find_removal(block: Block, graph: ChannelGraph | None, followed: bool) -> Removal | None:
    """Return what removing a block does to the groups, or None where it cannot be removed.

    Parameters
    ----------
    block
        The block.
    graph
        The channels of the dense network; None where it has no groups.
    followed
        Whether the channels could be followed.
    """
    if not block.removable:
        return None
    if graph is None or not followed:
        return None if block.appends else Removal()
    inside = [g for g in graph.groups if any(block.holds(m.name) for m in g.members)]
    written = [g for g in inside if any(block.holds(m.name) for m in g.writers)]
    comes_in = {g.name for g in inside if not all(block.holds(m.name) for m in g.writers)}
    goes_out = {g.name for g in written if not all(block.holds(m.name) for m in g.members)}
    if block.appends:
        dropped = goes_out - comes_in
        return Removal(drops=dropped.pop()) if len(dropped) == 1 else None
    if comes_in == goes_out:
        return Removal()
    if len(comes_in) == len(goes_out) == 1:
        ((one,), (other,)) = comes_in, goes_out
        channels = {group.name: group.channels for group in inside}
        # A channel may have several places, and then another number of channels fits.
        if channels[one] == channels[other]:
            return Removal(joins=((one, other),))
    return _joined(block, graph)


def _joined(block: Block, graph: ChannelGraph) -> Removal | None:
    """Return which groups become one where an identity takes the place of a block.

    The channels that go in must be, one by one, those of whole groups in the place of the same
    channels of others, as where two lists of branches with the same widths follow each other.
    """
    trace = graph.trace
    taken = trace.taken.get(block.modules[0], [])
    given = trace.given.get(block.modules[-1], [])
    pairs: set[tuple[str, str]] = set()
    for before, after in zip(taken, given, strict=True):
        found = _pairs(before, after, graph)
        if found is None:
            return None
        pairs |= found
    return Removal(joins=tuple(sorted(pairs)))


def _pairs(
    before: Lane | None, after: Lane | None, graph: ChannelGraph
) -> set[tuple[str, str]] | None:
    if before is None or after is None or before.dim != after.dim:
        return None
    find = graph.trace.classes.find
    if len(before.ids) != len(after.ids):
        return None
    place = {
        int(root): (group.name, run)
        for group in graph.groups
        for run, root in enumerate(group.runs.tolist())
    }
    sizes = {group.name: (len(group.runs), group.multiple) for group in graph.groups}
    met: dict[tuple[str, str], set[int]] = {}
    for a, b in zip(find(before.ids).tolist(), find(after.ids).tolist(), strict=True):
        if a == b:
            continue
        if a not in place or b not in place:
            return None
        (one, run), (other, same) = place[a], place[b]
        if one == other or run != same:
            return None
        met.setdefault((one, other), set()).add(run)
    whole = all(
        sizes[one] == sizes[other] and len(runs) == sizes[one][0]
        for (one, other), runs in met.items()
    )
    return set(met) if whole else None

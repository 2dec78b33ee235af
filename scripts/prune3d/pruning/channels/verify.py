"""Follow channels, and see by numbers whether that was right where identities do not tell."""

from __future__ import annotations

import numpy as np
from torch import nn

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.pruning.channels.compare import compare, expected_outputs, liven
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.channels.follow import by_lot, even_groups, follow_dense, leave_runs
from prune3d.pruning.channels.groups import ChannelGraph


def follow_verified(model: nn.Module) -> ChannelGraph:
    """Return the channels of a dense network; see `follow_dense`.

    Channels of one run have one identity, so that it does not show when a shuffle puts what is left
    of them in another order. Where there are such runs the outputs of a pruned copy are compared,
    and where they are wrong, grouped convolutions lose as many channels of each group, if that is
    right.

    Raises
    ------
    PruningError
        If the network cannot be traced.
    """
    graph = follow_dense(model)
    if all(group.multiple == 1 for group in graph.groups) or _is_right(model, graph):
        return graph
    runs = np.concatenate([group.runs for group in graph.groups if group.multiple > 1])
    even = even_groups(graph.trace, runs)
    if even:
        other = follow_dense(model, {**graph.trace.choices, **even})
        if _is_right(model, other):
            return other
    return leave_runs(model, graph)


def _is_right(model: nn.Module, graph: ChannelGraph) -> bool:
    lively = copy_network(model, get_spec(model).name)
    liven(lively)
    kept = by_lot(graph, 0.5, 0)
    expected = expected_outputs(lively, graph, kept)
    if expected is None:
        return True
    part = copy_network(lively, get_spec(model).name)
    keep_channels(part, graph, kept)
    try:
        compare(part.eval(), expected)
    except PruningError:
        return False
    return True

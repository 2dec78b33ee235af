"""Follow channels, and see by numbers whether that was right where identities do not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.pruning.channels.compare import compare, expected_outputs, liven
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.channels.follow import (
    by_lot,
    even_groups,
    follow_dense,
    leave_alone,
    leave_failing,
)
from prune3d.pruning.channels.groups import ChannelGraph, ChannelGroup

REASON = (
    "they go in runs, of which the network makes something else when there are fewer, as by a "
    "shuffle or by a scale that follows their number"
)


def follow_verified(model: nn.Module) -> ChannelGraph:
    """Return the channels of a dense network; see `follow_dense`.

    Channels of one run have one identity, so that it does not show when a shuffle puts what is left
    of them in another order. Where there are such runs the outputs of a pruned copy are compared,
    and where they are wrong, grouped convolutions lose as many channels of each group, if that is
    right, and else those runs stay.

    Raises
    ------
    PruningError
        If the network cannot be traced.
    """
    graph = follow_dense(model)
    if not _runs(graph) or _is_right(model, graph):
        return graph
    even = even_groups(graph.trace, np.concatenate([group.runs for group in _runs(graph)]))
    if even:
        other = follow_dense(model, {**graph.trace.choices, **even})
        if _is_right(model, other):
            return other
    wrong = [g for g in _runs(graph) if not _is_right(model, replace(graph, groups=(g,)))]
    for groups in (wrong, _runs(graph)):
        left = leave_alone(model, graph, [group.runs for group in groups], REASON)
        left = leave_failing(model, left)
        if not _runs(left) or _is_right(model, left):
            break
    return left


def _runs(graph: ChannelGraph) -> list[ChannelGroup]:
    return [group for group in graph.groups if group.multiple > 1]


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

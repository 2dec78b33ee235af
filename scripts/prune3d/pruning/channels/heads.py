"""Heads of attention: which axis of a reshape counts them, and what goes with them.

Of heads either whole ones go, or as many channels of each. Some code computes the size of a head
from the width of what it is given, as `nn.MultiheadAttention` does: there the heads and that width
are tied, so that both shrink alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from prune3d.pruning.channels.identities import NONE, ConflictError, Ids
from prune3d.pruning.channels.labels import pattern
from prune3d.pruning.channels.trace import Trace, Tracer

# What is tried in turn for the heads of a module whose code does not take fewer.
KINDS = ("whole", "whole tied", "even", "even tied")


def note_heads(tracer: Tracer, out: Tensor, before: Sequence[int]) -> None:
    """Note where one axis becomes several; where one of them counts heads, tie what goes.

    Parameters
    ----------
    tracer
        The tracer.
    out
        The result of a reshape.
    before
        Along how many dimensions each layer of the source's labels varied.
    """
    key = tracer.next_call("heads")
    chosen = tracer.trace.choices.get(key)
    labels = tracer.labels(out)
    for k, (dims, layer) in enumerate(zip(before, labels.layers, strict=True)):
        found = pattern(layer)
        if tracer.classes.strict and chosen is not None and dims < 2 and found.ids.any():
            _check_rows(tracer, layer, _kept(tracer, layer, int(chosen)))
        elif dims != 1 or len(found.dims) < 2:
            continue
        elif chosen is None:
            tracer.trace.splits.setdefault(key, found.ids)
        else:
            labels.layers[k] = _tie(tracer, layer, _kept(tracer, layer, int(chosen)))


def kind_of(tracer: Tracer) -> str:
    """Return one of `KINDS`: what goes of the heads in the module that runs."""
    chosen = tracer.trace.choices.get(f"{tracer.module}:attention:0")
    if chosen is None:
        module = tracer.modules.get(tracer.module)
        return "whole tied" if isinstance(module, nn.MultiheadAttention) else "whole"
    return chosen


def goes_evenly(tracer: Tracer) -> bool:
    """Tell whether as many channels of each head go in the module that runs."""
    return kind_of(tracer).startswith("even")


def _kept(tracer: Tracer, layer: Tensor, heads: int) -> int:
    """Return the axis along which what goes differs: that of the heads, or of what is in each."""
    if not goes_evenly(tracer):
        return heads
    sizes = [dim for dim in range(layer.dim()) if layer.stride(dim) and layer.shape[dim] > 1]
    return max((dim for dim in sizes if dim != heads), default=heads)


def _tie(tracer: Tracer, layer: Tensor, kept: int) -> Tensor:
    """Tie what goes together; return labels that differ along one axis alone."""
    found = pattern(layer)
    first = found.ids
    for dim in set(found.dims) - {kept}:
        first = first.narrow(dim, 0, 1)
    if tracer.guess(found.ids.flatten().numpy()):
        tie_across(tracer, found.ids, kept)
        if kind_of(tracer).endswith("tied"):
            _tie_to_width(tracer, first.flatten().numpy().copy())
    return first.expand(layer.shape)


def _tie_to_width(tracer: Tracer, rows: Ids) -> None:
    """Tie heads, or the places in each, to as many channels each of what the module is given."""
    given = tracer.trace.taken.get(tracer.module) or [None]
    lane = given[-1]
    rows = rows[: len(np.unique(rows))]  # without those of the images after the first
    if lane is None or len(lane.ids) % len(rows):
        return
    each = len(lane.ids) // len(rows)
    tied = np.tile(rows, each) if goes_evenly(tracer) else np.repeat(rows, each)
    tracer.guess(lane.ids)
    tracer.classes.unite(tied, lane.ids)


def _check_rows(tracer: Tracer, layer: Tensor, kept: int) -> None:
    """Refuse heads that the network's code did not take whole."""
    ids = layer.movedim(kept, 0).reshape(layer.shape[kept], -1).numpy()
    if tracer.classes.all_alike(ids.flatten()):
        return
    rows = ids[:, 0]
    once = rows[: len(np.unique(rows))]
    counted = [once, np.tile(once, tracer.images)]  # heads alone, or along with images
    if (ids != ids[:, :1]).any() or not any(np.array_equal(rows, known) for known in counted):
        raise ConflictError("a reshape makes other heads of those that are left")


def tie_across(tracer: Tracer, ids: Tensor, kept: int) -> None:
    """Tie what differs in other dimensions than one."""
    table = ids.movedim(kept, 0).reshape(ids.shape[kept], -1).numpy()
    for column in table.T[1:]:
        tracer.classes.unite(table[:, 0].copy(), column.copy())


def head_axes(trace: Trace) -> dict[str, str]:
    """Return for reshapes that split channels into heads which of the new axes counts these.

    It is the one along which the head changes, and nothing else, where attention multiplies.
    """
    found: dict[str, str] = {}
    for rows in trace.heads:
        head_of = {i: row for row, ids in enumerate(rows.tolist()) for i in ids if i != NONE}
        for key, ids in trace.splits.items():
            if key in found:
                continue
            table = np.vectorize(lambda i, known=head_of: known.get(i, -1))(ids.numpy())
            for axis, size in enumerate(table.shape):
                lines = np.moveaxis(table, axis, 0).reshape(size, -1)
                some = [set(line.tolist()) - {-1} for line in lines]
                one_each = size > 1 and all(len(s) == 1 for s in some)
                if one_each and len(set().union(*some)) == size:
                    found[key] = str(axis)
    return found


def attending(trace: Trace) -> set[str]:
    """Return the modules in which reshapes make heads."""
    return {key.rsplit(":", 2)[0] for key in trace.choices if ":heads:" in key}

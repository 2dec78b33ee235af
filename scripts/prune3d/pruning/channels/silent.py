"""The unpruned network with silent channels: what a pruned network must compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune3d.pruning.channels.cut import gone_classes
from prune3d.pruning.channels.groups import ChannelGraph
from prune3d.pruning.channels.identities import Ids
from prune3d.pruning.channels.labels import pattern
from prune3d.pruning.channels.run import run_trace
from prune3d.pruning.channels.trace import Trace, Tracer


def silent_outputs(
    model: nn.Module, graph: ChannelGraph, kept: Mapping[str, Tensor], images: Tensor
) -> Tensor:
    """Return the outputs of a network in which nothing reads the channels that are to go.

    Statistics over channels, such as those of a layer norm, are taken over the others.

    Parameters
    ----------
    model
        The network, in evaluation mode.
    graph
        Its channels.
    kept
        For the groups to prune the channels that stay.
    images
        Shape (N, channels, side, side).
    """
    known = graph.trace
    trace = Trace(known.axes, known.classes, choices=dict(known.choices))
    tracer = _Silencer(model, trace, gone_classes(graph, kept))
    return run_trace(tracer, model, images)


class _Silencer(Tracer):
    """Runs a network as if some identities were not there."""

    def __init__(self, model: nn.Module, trace: Trace, gone: Ids) -> None:
        super().__init__(model, trace, checks=True)
        self.gone = gone

    def _away(self, ids: Tensor) -> Tensor:
        return torch.from_numpy(np.isin(self.classes.find(ids.numpy()), self.gone))

    def contract(self, func: Any, args: Any, kwargs: Any, places: dict[int, int]) -> Any:
        """Contract with zeros in the place of what is gone."""
        changed = list(args)
        for place in places:
            for layer in self.labels(args[place]).layers:
                away = self._away(pattern(layer).ids)
                if away.any():
                    mask = away.expand(layer.shape).to(args[place].device)
                    changed[place] = changed[place].masked_fill(mask, 0)
        return func(*changed, **kwargs)

    def reduce(self, func: Any, args: Any, kwargs: Any, dims: tuple[int, ...]) -> Any:
        """Take a statistic over what is left."""
        x = args[0]
        left: dict[int, Tensor] = {}
        for layer in self.labels(x).layers:
            found = pattern(layer, self.classes)
            away = self._away(found.ids)
            if len(found.dims) == 1 and found.dims[0] in dims and away.any():
                left[found.dims[0]] = (~away.flatten()).nonzero().flatten().to(x.device)
        if not left:
            return func(*args, **kwargs)
        part = x
        for dim, index in left.items():
            part = part.index_select(dim, index)
        out = func(part, *_fitting(func, args, part, left, x.dim()), **kwargs)
        if isinstance(out, Tensor):
            return _put_back(out, part, x, left)
        return type(out)(_put_back(t, part, x, left) for t in out)


def _fitting(func: Any, args: Any, part: Tensor, left: dict[int, Tensor], count: int) -> list[Any]:
    """Return the other arguments of a norm for what is left of its input."""
    name, rest = func.overloadpacket.__name__, list(args[1:])
    if name == "native_layer_norm":
        start = count - len(args[1])
        for place in (1, 2):
            for dim, index in left.items():
                if rest[place] is not None:
                    rest[place] = rest[place].index_select(dim - start, index)
        rest[0] = list(part.shape[start:])
    elif name == "native_group_norm":
        (index,) = left.values()
        rest[:2] = [t if t is None else t.index_select(0, index) for t in rest[:2]]
        channels, groups = int(args[4]), int(args[6])
        width = channels // groups
        here = len(torch.unique(index // width))
        rest[3], rest[5] = part.shape[1], here
    return rest


def _put_back(out: Tensor, part: Tensor, whole: Tensor, left: dict[int, Tensor]) -> Tensor:
    """Return a result of what is left at its places in the shape of the whole."""
    if out.shape != part.shape:
        return out
    for dim, index in left.items():
        shape = list(out.shape)
        shape[dim] = whole.shape[dim]
        out = out.new_zeros(shape).index_copy(dim, index, out)
    return out

"""Cut channels out of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prune3d.models.assembly import get_spec, set_spec
from prune3d.models.shapes import replace_tensors, set_attributes, tensors_of
from prune3d.pruning.channels.groups import ChannelGraph, ChannelGroup, owner_of
from prune3d.pruning.channels.identities import NONE, Ids
from prune3d.pruning.channels.trace import Axis


def keep_channels(model: nn.Module, graph: ChannelGraph, kept: Mapping[str, Tensor]) -> None:
    """Keep some channels of groups and remove the others from every tensor, in place.

    Parameters
    ----------
    model
        The network.
    graph
        Its channels.
    kept
        For the groups to prune the channels that stay, int64, ascending, in whole runs.
    """
    stay = _staying(model, graph, kept)
    tensors = tensors_of(model)
    new: dict[str, Tensor] = {}
    for (name, axis), mask in stay.items():
        value = new.get(name, tensors[name].detach())
        new[name] = value.index_select(axis, mask.nonzero().flatten().to(value.device))
    sizes = new_sizes(graph, kept) | _even_convolutions(model, graph, new)
    replace_tensors(model, new)
    set_attributes(model, sizes)
    if sizes:
        spec = get_spec(model)
        set_spec(model, replace(spec, attributes={**spec.attributes, **sizes}))


def _even_convolutions(
    model: nn.Module, graph: ChannelGraph, new: Mapping[str, Tensor]
) -> dict[str, int]:
    """Return the attributes of convolutions that keep all their groups, which no shape tells."""
    sizes: dict[str, int] = {}
    present = dict(model.named_modules())  # of a block that is gone a choice may be known
    for key, kind in graph.trace.choices.items():
        name, what, _ = key.rsplit(":", 2)
        layer = present.get(name)
        if (what, kind) != ("grouped", "even") or not isinstance(layer, _ConvNd):
            continue
        changed = [t for tensor, t in new.items() if owner_of(tensor) == (name, "weight")]
        shape = max((tuple(t.shape) for t in changed if t.dim() > 2), default=None)
        if shape is not None:
            one, other = shape[:2]
            if layer.transposed:
                channels = one, other * layer.groups
            else:
                channels = other * layer.groups, one
            sizes[f"{name}:groups"] = layer.groups
            sizes[f"{name}:in_channels"], sizes[f"{name}:out_channels"] = channels
    return sizes


def _staying(
    model: nn.Module, graph: ChannelGraph, kept: Mapping[str, Tensor]
) -> dict[Axis, Tensor]:
    """Return which places of each axis that is cut stay."""
    stay: dict[Axis, Tensor] = {}
    for group in graph.groups:
        if group.name in kept:
            gone = _gone(group, kept[group.name])
            for cut in group.cuts:
                size = len(graph.trace.axes[cut.tensor, cut.axis])
                mask = stay.setdefault((cut.tensor, cut.axis), torch.ones(size, dtype=torch.bool))
                mask[cut.positions[gone].flatten()] = False
    return stay


def _gone(group: ChannelGroup, kept: Tensor) -> Tensor:
    gone = torch.ones(group.channels, dtype=torch.bool)
    gone[kept.cpu()] = False
    return gone


def gone_classes(graph: ChannelGraph, kept: Mapping[str, Tensor]) -> Ids:
    """Return the classes of identities that go."""
    parts = [np.zeros(0, dtype=np.int64)]
    for group in graph.groups:
        if group.name in kept:
            gone = _gone(group, kept[group.name]).view(-1, group.multiple)[:, 0].numpy()
            parts.append(group.runs[gone])
    return np.concatenate(parts)


def new_sizes(graph: ChannelGraph, kept: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the attributes that count channels as they must be when some are gone."""
    gone = gone_classes(graph, kept)
    sizes: dict[str, int] = {}
    for use in graph.uses:
        roots = graph.trace.classes.find(use.ids)
        away = np.isin(roots, gone) & (use.ids != NONE)
        # What would count none at all counts groups of them, of which each loses as many.
        if away.any() and not away.all():
            place = "" if use.size.index is None else f":{use.size.index}"
            name = f"{use.size.module}:{use.size.attribute}{place}"
            left = len(roots) - int(away.sum())
            sizes[name] = left * use.size.times // use.size.over
    return sizes


def remaining(graph: ChannelGraph, model: nn.Module, kept: Mapping[str, Tensor]) -> dict[Axis, Ids]:
    """Return the classes of identities along every axis of the network that is left."""
    stay = _staying(model, graph, kept)
    return {
        axis: graph.trace.classes.find(ids)[stay[axis].numpy()]
        if axis in stay
        else graph.trace.classes.find(ids)
        for axis, ids in graph.trace.axes.items()
    }

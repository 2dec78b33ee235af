"""Whether what a pruned network costs can be composed from its layers, module by module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from prune3d.costs.count import module_macs
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.channels.follow import by_lot, leave_alone
from prune3d.pruning.channels.groups import ChannelGraph
from prune3d.pruning.channels.identities import Ids
from prune3d.pruning.describe import describe_layers


def leave_uncosted(model: nn.Module, graph: ChannelGraph) -> ChannelGraph:
    """Return a graph in which the channels stay whose number changes a cost in an unknown way.

    Such are those of weights that are computed from the images, as by a mixture of experts: their
    multiply-accumulates are no multiple of any parameter.
    """
    while graph.groups:
        wrong = _miscosted(model, graph)
        ids = [ids for module in wrong for ids in _multiplied(graph, module)]
        known = len(graph.trace.classes.frozen())
        names = ", ".join(f"'{name}'" if name else "its own forward" for name in wrong[:2])
        reason = f"what {names} computes with fewer of them is not composed from weights"
        left = leave_alone(model, graph, ids, reason)
        if len(left.trace.classes.frozen()) == known:
            break
        graph = left
    return graph


def _miscosted(model: nn.Module, graph: ChannelGraph) -> list[str]:
    """Return the modules that cost something else than is composed, when channels are gone."""
    side = get_spec(model).side
    kept = by_lot(graph, 0.5, 0)
    part = copy_network(model, get_spec(model).name)
    keep_channels(part, graph, kept)
    measured, composed = module_macs(part, side), _composed(model, graph, kept)
    return sorted(
        name for name in {*measured, *composed} if measured.get(name, 0) != composed.get(name, 0)
    )


def _composed(model: nn.Module, graph: ChannelGraph, kept: Mapping[str, Tensor]) -> dict[str, int]:
    macs = module_macs(model, get_spec(model).side)
    sizes = {name: len(channels) for name, channels in kept.items()}
    composed: dict[str, int] = {}
    for layer in describe_layers(model, (), graph, [macs]):
        inputs = layer.fixed_inputs + sum(n * sizes[g] for g, n in layer.inputs.items())
        outputs = layer.fixed_outputs + sum(n * sizes[g] for g, n in layer.outputs.items())
        made = layer.positions[0] * layer.weights_per_pair * inputs * outputs
        composed[layer.name] = composed.get(layer.name, 0) + made
    return composed


def _multiplied(graph: ChannelGraph, name: str) -> list[Ids]:
    """Return what a module, or the one that a weight belongs to, multiplies."""
    products = graph.trace.products
    while name and name not in products:
        name = name.rpartition(".")[0]
    return products.get(name, [np.zeros(0, dtype=np.int64)])

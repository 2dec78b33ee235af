"""From a network to its `prune3d.costs.structure.Structure`: what can go, and what it costs."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.costs.count import legal_sides, output_positions
from prune3d.costs.structure import Layer, Structure
from prune3d.errors import PruningError
from prune3d.models.assembly import dense_skeleton, get_spec
from prune3d.pruning.blocks import Block
from prune3d.pruning.dense import Dense, look_at_dense
from prune3d.pruning.dependency import WITH_WIDTH, ChannelGroup
from prune3d.pruning.options import PruningOptions
from prune3d.pruning.width import prune_width


def analyze(model: nn.Module, sides: Sequence[int] | None = None) -> Structure:
    """Describe the dense network of a network.

    Parameters
    ----------
    model
        The network; only its specification matters.
    sides
        Image sides in pixels to describe, ascending; by default all that the network can take.

    Raises
    ------
    PruningError
        If the network does not take images of the size that it was built for.
    """
    skeleton = dense_skeleton(get_spec(model).dense())
    dense = look_at_dense(model)
    if sides is None:
        output_positions(skeleton, get_spec(model).image_size)
        sides = legal_sides(skeleton)
        dense = _try_width(skeleton, dense)
    positions = [output_positions(skeleton, side) for side in sides]
    layers = tuple(
        _describe(name, layer, dense.blocks, dense.groups, positions)
        for name, layer in skeleton.named_modules()
        if isinstance(layer, WITH_WIDTH)
    )
    described = sum(
        parameter.numel()
        for layer in skeleton.modules()
        if isinstance(layer, WITH_WIDTH)
        for parameter in layer.parameters(recurse=False)
    )
    return Structure(
        blocks=len(dense.blocks),
        removable=dense.removals,
        groups=dense.sizes,
        multiples=dense.multiples,
        sides=tuple(sides),
        layers=layers,
        fixed_params=sum(p.numel() for p in skeleton.parameters()) - described,
        no_width=dense.no_width,
    )


def _try_width(skeleton: nn.Module, dense: Dense) -> Dense:
    """Prune half of the channels by lot, to see whether the groups are right."""
    if not dense.groups:
        return dense
    try:
        prune_width(copy.deepcopy(skeleton), 0.5, PruningOptions(channel_criterion="random"))
    except PruningError as error:
        return dense.without_width(str(error))
    return dense


def _describe(
    name: str,
    layer: nn.Module,
    blocks: Sequence[Block],
    groups: Sequence[ChannelGroup],
    positions: Sequence[dict[str, int]],
) -> Layer:
    reads = {g.name: m.positions.shape[1] for g in groups for m in g.readers if m.name == name}
    writes = {
        g.name: m.positions.shape[1]
        for g in groups
        for m in (*g.writers, *g.norms)
        if m.name == name
    }
    sizes = {g.name: g.channels for g in groups}
    if isinstance(layer, _BatchNorm):
        area, inputs, outputs = 0, 0, layer.num_features
        extra = sum(p.shape[0] for p in layer.parameters(recurse=False)) // outputs
    elif isinstance(layer, nn.PReLU):
        area, inputs, outputs, extra = 0, 0, layer.num_parameters, 1
    else:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        outputs, inputs = layer.weight.shape[:2]
        area = math.prod(layer.weight.shape[2:])
        extra = int(layer.bias is not None)
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            # The inputs of one group of the convolution, which stay as they are.
            reads = {}
    return Layer(
        name=name,
        block=next((b.name for b in blocks if b.holds(name)), None),
        weights_per_pair=area,
        inputs=reads,
        fixed_inputs=inputs - sum(n * sizes[g] for g, n in reads.items()),
        outputs=writes,
        fixed_outputs=outputs - sum(n * sizes[g] for g, n in writes.items()),
        params_per_output=extra,
        positions=tuple(at.get(name, 0) for at in positions),
    )

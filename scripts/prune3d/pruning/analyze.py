"""From a network to its `prune3d.structure.Structure`: what can be pruned and what it costs."""

from __future__ import annotations

import torch
from torch import nn

from prune3d.costs import output_positions
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.pruning.blocks import Block, find_blocks
from prune3d.pruning.dependency import ChannelGraph, ChannelGroup
from prune3d.structure import Layer, Structure


def analyze(model: nn.Module) -> Structure:
    """Describe a dense network.

    Parameters
    ----------
    model
        The dense network.
    """
    graph = ChannelGraph(model)
    blocks = find_blocks(model)
    positions = {side: output_positions(model, side) for side in legal_sides(model)}
    layers = [
        _describe(name, module, blocks, graph.groups, list(positions.values()))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    ]
    counted = sum(module.numel() for module in model.parameters())
    known = sum(
        p.numel()
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
        for p in module.parameters(recurse=False)
    )
    if counted != known:
        raise PruningError(
            f"{get_spec(model).name} has {counted - known} parameters outside convolutions, linear "
            "layers and batch norms, whose cost is not known."
        )
    return Structure(
        blocks=len(blocks),
        groups={group.name: group.channels for group in graph.groups},
        sides=tuple(positions),
        layers=tuple(layers),
    )


def legal_sides(model: nn.Module) -> list[int]:
    """Return the image sides in pixels that the network can take, ascending, the dense one last."""
    sides: list[int] = []
    for side in range(get_spec(model).image_size, 0, -1):
        try:
            output_positions(model, side)
        except PruningError:
            break
        sides.append(side)
    return sides[::-1]


def _describe(
    name: str,
    module: nn.Module,
    blocks: list[Block],
    groups: list[ChannelGroup],
    positions: list[dict[str, int]],
) -> Layer:
    inside = [b.name for b in blocks if b.removable and name.startswith(f"{b.name}.")]
    written = [g.name for g in groups if name in g.writers or name in g.norms]
    bias = getattr(module, "bias", None) is not None
    fixed_outputs = int(module.get_parameter("weight").shape[0])
    if isinstance(module, nn.BatchNorm2d):
        weights, inputs, fixed_inputs, extra = 0, {}, 0, 2
    else:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        inputs = {g.name: g.readers[name] for g in groups if name in g.readers}
        reads = module.weight.shape[1]
        depthwise = isinstance(module, nn.Conv2d) and module.groups > 1
        inputs = {} if depthwise else inputs
        sizes = {g.name: g.channels for g in groups}
        fixed_inputs = reads - sum(n * sizes[g] for g, n in inputs.items())
        weights = int(torch.tensor(module.weight.shape[2:]).prod())
        extra = int(bias)
    return Layer(
        name=name,
        block=inside[0] if inside else None,
        weights_per_pair=weights,
        inputs=inputs,
        fixed_inputs=fixed_inputs,
        output=written[0] if written else None,
        fixed_outputs=fixed_outputs,
        params_per_output=extra,
        positions=tuple(at.get(name, 0) for at in positions),
    )

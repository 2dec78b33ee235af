"""The terms of each layer in the cost."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.costs.structure import Layer
from prune3d.pruning.dense import Dense
from prune3d.pruning.dependency import WITH_WIDTH


def describe_layers(
    model: nn.Module, dense: Dense, macs: Sequence[dict[str, int]]
) -> tuple[Layer, ...]:
    """Describe every module with parameters or multiply-accumulates of its own.

    Parameters
    ----------
    model
        The dense network.
    dense
        Its blocks and groups.
    macs
        What each module makes for one image, at each image side; see
        `prune3d.costs.count.module_macs`.
    """
    seen: set[int] = set()
    layers = []
    for name, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        made = [at.get(name, 0) for at in macs]
        block = next((b.name for b in dense.blocks if b.holds(name)), None)
        if isinstance(module, WITH_WIDTH) and _follow_weights(module, made):
            layers.append(_by_weights(name, module, block, dense, own, made))
        elif own or any(made):
            layers.append(_as_it_is(name, block, sum(p.numel() for p in own), made))
    return tuple(layers)


def _follow_weights(layer: nn.Module, macs: Sequence[int]) -> bool:
    """Tell whether a layer's MACs are whole passes over its weights."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        return all(made % layer.weight.numel() == 0 for made in macs)
    return not any(macs)


def _as_it_is(name: str, block: str | None, params: int, macs: Sequence[int]) -> Layer:
    return Layer(
        name=name,
        block=block,
        weights_per_pair=1,
        inputs={},
        fixed_inputs=1,
        outputs={},
        fixed_outputs=1,
        params_per_output=0,
        positions=tuple(macs),
        stored=False,
        fixed_params=params,
    )


def _by_weights(
    name: str,
    layer: nn.Module,
    block: str | None,
    dense: Dense,
    own: Sequence[nn.Parameter],
    macs: Sequence[int],
) -> Layer:
    groups = dense.groups
    reads = {g.name: m.positions.shape[1] for g in groups for m in g.readers if m.name == name}
    writes = {
        g.name: m.positions.shape[1]
        for g in groups
        for m in (*g.writers, *g.norms)
        if m.name == name
    }
    stored, positions = False, [0 for _ in macs]
    if isinstance(layer, _BatchNorm):
        area, inputs, outputs = 0, 0, layer.num_features
        per_output = [p for p in own if p.shape == (outputs,)]
    elif isinstance(layer, nn.PReLU):
        area, inputs, outputs = 0, 0, layer.num_parameters
        per_output = list(own)
    else:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        outputs, inputs = layer.weight.shape[:2]
        area = math.prod(layer.weight.shape[2:])
        stored = any(p is layer.weight for p in own)
        per_output = [p for p in own if p is layer.bias]
        positions = [made // layer.weight.numel() for made in macs]
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            # The inputs of one group of the convolution, which stay as they are.
            reads = {}
    described = len(per_output) * outputs + (area * inputs * outputs if stored else 0)
    return Layer(
        name=name,
        block=block,
        weights_per_pair=area,
        inputs=reads,
        fixed_inputs=inputs - sum(n * dense.sizes[g] for g, n in reads.items()),
        outputs=writes,
        fixed_outputs=outputs - sum(n * dense.sizes[g] for g, n in writes.items()),
        params_per_output=len(per_output),
        positions=tuple(positions),
        stored=stored,
        fixed_params=sum(p.numel() for p in own) - described,
    )

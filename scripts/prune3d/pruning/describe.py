"""The terms of each layer in the cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from prune3d.costs.structure import Layer
from prune3d.models.shapes import tensors_of
from prune3d.pruning.blocks import Block
from prune3d.pruning.channels.groups import ChannelGraph, ChannelGroup, owner_of
from prune3d.pruning.channels.identities import NONE, Ids

# For each axis of a tensor the groups that it has, each with its places for one channel.
Axes = dict[int, dict[str, int]]
EMPTY: Ids = np.zeros(0, dtype=np.int64)


def describe_layers(
    model: nn.Module,
    blocks: Sequence[Block],
    graph: ChannelGraph | None,
    macs: Sequence[dict[str, int]],
) -> tuple[Layer, ...]:
    """Describe every module with parameters or multiply-accumulates of its own.

    Parameters
    ----------
    model
        The dense network.
    blocks, graph
        Its blocks, and its channels where they could be followed.
    macs
        What each module makes for one image, at each image side; see
        `prune3d.costs.count.module_macs`.
    """
    terms = _Terms(model, blocks, graph)
    layers: list[Layer] = []
    for name, _ in model.named_modules():
        layers += terms.of_module(name, macs)
    return tuple(layers)


class _Terms:
    """Describes the modules of a network, each parameter once."""

    def __init__(
        self, model: nn.Module, blocks: Sequence[Block], graph: ChannelGraph | None
    ) -> None:
        groups = () if graph is None else graph.groups
        self.blocks, self.graph = blocks, graph
        self.sizes = {group.name: group.channels for group in groups}
        self.pruned = _pruned_axes(groups)
        self.seen: set[int] = set()
        self.modules = dict(model.named_modules())
        first = {id(tensor): name for name, tensor in tensors_of(model).items()}
        # Of each module the tensors that are its own, by the names under which they are cut.
        self.owned: dict[str, dict[str, Tensor]] = {}
        named = (
            *model.named_parameters(remove_duplicate=False),
            *model.named_buffers(remove_duplicate=False),
        )
        for name, tensor in named:
            self.owned.setdefault(owner_of(name)[0], {})[first[id(tensor)]] = tensor

    def of_module(self, module: str, macs: Sequence[dict[str, int]]) -> list[Layer]:
        """Return the terms of a module; ``macs`` are those of all at each image side."""
        owned = self.owned.get(module, {})
        made = [at.get(module, 0) for at in macs]
        block = next((b.name for b in self.blocks if b.holds(module)), None)
        attends = isinstance(self.modules[module], nn.MultiheadAttention)
        weight = None if attends else self._weight(owned, made, macs)
        layers: dict[str, Layer] = {}
        fixed = 0
        if weight is not None:
            layers[""] = self._matrix(module, block, weight, owned[weight], made)
        for name, tensor in owned.items():
            if not isinstance(tensor, nn.Parameter) or name == weight or id(tensor) in self.seen:
                continue
            by_hand = [at.get(name, 0) for at in macs]
            if any(by_hand) and all(count % tensor.numel() == 0 for count in by_hand):
                layers[name] = self._matrix(name, block, name, tensor, by_hand)
                continue
            if any(by_hand):
                layers[f"{name} in parts"] = self._in_parts(name, block, tensor, by_hand)
            self.seen.add(id(tensor))
            axes = self.pruned.get(name, {})
            if not axes:
                fixed += tensor.numel()
            elif len(axes) == 1:
                layers[name] = self._vector(name, block, tensor, axes, len(macs))
            else:
                nothing = [0 for _ in macs]
                layers[name] = self._matrix(name, block, name, tensor, nothing)
        if fixed or (any(made) and weight is None):
            rest = [0 for _ in macs] if weight is not None else made
            layers["rest"] = _as_it_is(module, block, fixed, rest, self._by_heads(module, rest))
        return list(layers.values())

    def _weight(
        self, owned: Mapping[str, Tensor], made: Sequence[int], macs: Sequence[dict[str, int]]
    ) -> str | None:
        """Return the tensor whose whole passes are the MACs, if there is one.

        One that has some under its own name is another operator's.
        """
        if not any(made):
            return None
        fits = [
            name
            for name, tensor in owned.items()
            if tensor.dim() > 1
            and all(count % tensor.numel() == 0 for count in made)
            and not any(at.get(name) for at in macs)
        ]
        pruned = [name for name in fits if name in self.pruned]
        return max(pruned or fits, key=lambda name: owned[name].numel(), default=None)

    def _by_heads(self, module: str, made: Sequence[int]) -> ChannelGroup | None:
        """Return the group with whose channels the MACs of a module grow that are no weight's."""
        if self.graph is None or not any(made):
            return None
        trace = self.graph.trace
        known = trace.whole_heads.get(module) or trace.products.get(module) or [EMPTY]
        ids = np.concatenate(known)
        roots = trace.classes.find(ids[ids != NONE])
        met = [group for group in self.graph.groups if np.isin(group.runs, roots).any()]
        whole = len(met) == 1 and all(count % met[0].channels == 0 for count in made)
        return met[0] if whole else None

    def _matrix(
        self, name: str, block: str | None, tensor: str, weight: Tensor, made: Sequence[int]
    ) -> Layer:
        """Return the term of a weight, the product of two of its axes."""
        axes, sizes = self.pruned.get(tensor, {}), self.sizes
        reads, writes = (1, 0)
        if isinstance(self.modules.get(name), _ConvTransposeNd):
            reads, writes = writes, reads
        if set(axes) - {reads, writes}:
            writes, *others = sorted(axes)
            reads = others[0] if others else int(writes == 0)
        inputs, outputs = axes.get(reads, {}), axes.get(writes, {})
        stored = isinstance(weight, nn.Parameter) and id(weight) not in self.seen
        self.seen.add(id(weight))
        return Layer(
            name=name,
            block=block,
            weights_per_pair=weight.numel() // (weight.shape[reads] * weight.shape[writes]),
            inputs=inputs,
            fixed_inputs=weight.shape[reads] - _count(inputs, sizes),
            outputs=outputs,
            fixed_outputs=weight.shape[writes] - _count(outputs, sizes),
            params_per_output=0,
            positions=tuple(count // weight.numel() for count in made),
            stored=stored,
        )

    def _in_parts(self, name: str, block: str | None, weight: Tensor, made: Sequence[int]) -> Layer:
        """Return the term of a weight of which equal parts meet different numbers of pixels.

        Such is that of queries, keys and values in one, where the queries are others.
        """
        whole = self._matrix(name, block, name, weight, [0 for _ in made])
        self.seen.discard(id(weight))
        parts = math.gcd(whole.fixed_outputs, *whole.outputs.values())
        unit = weight.numel() // parts
        if any(count % unit for count in made):
            return _as_it_is(name, block, 0, made, None)
        return replace(
            whole,
            outputs={group: n // parts for group, n in whole.outputs.items()},
            fixed_outputs=whole.fixed_outputs // parts,
            positions=tuple(count // unit for count in made),
            stored=False,
        )

    def _vector(
        self, name: str, block: str | None, parameter: Tensor, axes: Axes, sides: int
    ) -> Layer:
        """Return the term of a parameter of which one axis is pruned."""
        ((axis, outputs),) = axes.items()
        count = parameter.shape[axis]
        return Layer(
            name=name,
            block=block,
            weights_per_pair=0,
            inputs={},
            fixed_inputs=0,
            outputs=outputs,
            fixed_outputs=count - _count(outputs, self.sizes),
            params_per_output=parameter.numel() // count,
            positions=(0,) * sides,
        )


def _as_it_is(
    name: str, block: str | None, params: int, macs: Sequence[int], heads: ChannelGroup | None
) -> Layer:
    channels = 1 if heads is None else heads.channels
    return Layer(
        name=name,
        block=block,
        weights_per_pair=1,
        inputs={},
        fixed_inputs=1,
        outputs={} if heads is None else {heads.name: 1},
        fixed_outputs=int(heads is None),
        params_per_output=0,
        positions=tuple(count // channels for count in macs),
        stored=False,
        fixed_params=params,
    )


def _pruned_axes(groups: Sequence[ChannelGroup]) -> dict[str, Axes]:
    pruned: dict[str, Axes] = {}
    for group in groups:
        for cut in group.cuts:
            axis = pruned.setdefault(cut.tensor, {}).setdefault(cut.axis, {})
            axis[group.name] = cut.positions.shape[1]
    return pruned


def _count(groups: Mapping[str, int], sizes: Mapping[str, int]) -> int:
    return sum(n * sizes[g] for g, n in groups.items())

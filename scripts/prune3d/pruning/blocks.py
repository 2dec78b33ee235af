"""Blocks: the units that depth counts and removes, found from the network's structure.

A block is a module with at least two convolutions or linear layers, among them a convolution wider
than a pixel, or with one whose output is appended to the input; a module that only holds such
modules is a container and no block. Where no such block can be removed, as in a VGG, or there is
only one, the blocks are the single convolutions with their batch norms and activations, and where
none of these can be, modules whose convolutions all look at one pixel.

A block can be removed in two ways. If its output has the shape of its input, an identity takes its
place (residual blocks; repeated convolutions). If its output is appended to its input, as in a
DenseNet, the channels that it appends are removed from every layer that reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from prune3d.costs.count import pass_image
from prune3d.models.assembly import get_spec
from prune3d.models.stand_ins import IDENTITY, NOTHING, has_tensor, tensors

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)


@dataclass(frozen=True)
class Block:
    """A unit that depth counts.

    Attributes
    ----------
    name
        Name of its (first) module.
    modules
        Names of the modules that are replaced when it is removed.
    stand_in
        What replaces them: ``identity``, ``nothing`` (a tensor without channels), or None for a
        block that cannot be removed.
    appends
        Whether its output is appended to its input, so that its channels go with it.
    reason
        Why it cannot be removed, where it cannot.
    """

    name: str
    modules: tuple[str, ...]
    stand_in: str | None = None
    appends: bool = False
    reason: str | None = None

    @property
    def removable(self) -> bool:
        """Whether it can be removed."""
        return self.stand_in is not None

    def holds(self, layer: str) -> bool:
        """Tell whether a layer is one of its modules or inside one."""
        return any(layer == m or layer.startswith(f"{m}.") for m in self.modules)

    def kept(self, reason: str) -> Block:
        """Return the same block as one that cannot be removed."""
        return replace(self, stand_in=None, appends=False, reason=reason)


@dataclass(frozen=True)
class Call:
    """A module's call in a forward pass: the tensors that went in, the tensor that came out.

    `listed` tells whether the first of them came in a list of several.
    """

    name: str
    module: nn.Module
    inputs: tuple[Tensor, ...]
    output: Tensor
    listed: bool


def find_blocks(model: nn.Module, barred: Mapping[str, str] | None = None) -> list[Block]:
    """Return the blocks of a dense network in the order in which they run.

    That a block can be removed is read off the shapes of what goes in and what comes out.

    Parameters
    ----------
    model
        The network.
    barred
        Names of modules that are known to be in the way of the others when they are removed, each
        with the reason.
    """
    calls, barred = record_calls(model), barred or {}
    modules = _composite_blocks(model, calls, barred)
    if _some_can_go(modules):
        return modules
    chains = _chains(calls, barred)
    if not any(block.removable for block in chains):
        pointwise = _composite_blocks(model, calls, barred, pointwise=True)
        if _some_can_go(pointwise):
            return pointwise
    return chains or modules


def _some_can_go(blocks: Sequence[Block]) -> bool:
    # A single block cannot be removed, since one is always left.
    return len(blocks) > 1 and any(block.removable for block in blocks)


def record_calls(model: nn.Module) -> list[Call]:
    """Return the calls of all modules that give one tensor, in the order in which they end."""
    calls: list[Call] = []

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, named: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found = tuple(tensors((inputs, named)))
                first = next((a for a in (*inputs, *named.values()) if has_tensor(a)), None)
                listed = len(list(tensors(first))) > 1
                calls.append(Call(name, module, found, output, listed))

        return hook

    handles = [
        module.register_forward_hook(record(name), with_kwargs=True)
        for name, module in model.named_modules()
        if name
    ]
    try:
        spec = get_spec(model)
        shape = (1, spec.in_channels, spec.side, spec.side)
        image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        pass_image(model, image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _composite_blocks(
    model: nn.Module, calls: list[Call], barred: Mapping[str, str], pointwise: bool = False
) -> list[Block]:
    by_name: dict[str, list[int]] = {}
    for place, call in enumerate(calls):
        by_name.setdefault(call.name, []).append(place)
    known: dict[str, Block] = {}

    def block(name: str) -> Block:
        if name not in known:
            known[name] = _as_block(name, calls, by_name.get(name, []), barred)
        return known[name]

    composites = {}
    for name, module in model.named_modules():
        count = _convolutions(module, pointwise)
        if name and (count > 1 or (count == 1 and block(name).appends)):
            composites[name] = module

    def walk(parent: str) -> Iterator[Block]:
        for name in _nearest_inside(composites, parent):
            inside = [inner for inner in composites if inner.startswith(f"{name}.")]
            if _is_container(composites[name], name, inside) or _only_wraps(inside, name, block):
                yield from walk(name)
            elif name in by_name:
                yield block(name)

    return sorted(walk(""), key=lambda found: by_name[found.name][0])


def _as_block(name: str, calls: list[Call], places: list[int], barred: Mapping[str, str]) -> Block:
    """Return a module as a block, from all its calls."""
    block = Block(name, (name,))
    if name in barred:
        return block.kept(barred[name])
    if not places:
        return block.kept(f"'{name}' gives something else than a tensor")
    ways = {_removal(calls, place) for place in places}
    if len(ways) > 1 or (len(places) > 1 and ways != {(IDENTITY, False)}):
        return block.kept(f"'{name}' is called {len(places)} times and changes the shape")
    (stand_in, appends) = ways.pop()
    if stand_in is None:
        return block.kept(
            f"the output of '{name}' has neither the shape of its input nor is it appended to it"
        )
    return replace(block, stand_in=stand_in, appends=appends)


def _convolutions(module: nn.Module, pointwise: bool) -> int:
    """Return how many layers are inside a module, or 0 if no convolution is wide enough."""
    inside = [m for m in module.modules() if isinstance(m, _ConvNd | nn.Linear) and m is not module]
    wide = (pointwise or max(m.kernel_size) > 1 for m in inside if isinstance(m, _ConvNd))
    return len(inside) if any(wide) else 0


def _is_container(module: nn.Module, name: str, inside: list[str]) -> bool:
    kinds = nn.Sequential | nn.ModuleList | nn.ModuleDict
    own = {f"{name}.{child}" for child, _ in module.named_children()}
    return isinstance(module, kinds) and not own.isdisjoint(inside)


def _only_wraps(inside: list[str], name: str, block: Callable[[str], Block]) -> bool:
    """Tell whether a module is there for the blocks that it holds, such as a stage.

    It cannot be removed itself and holds one that can, or could but holds two or more.
    """
    removable = [inner for inner in inside if block(inner).removable]
    innermost = [n for n in removable if not any(o.startswith(f"{n}.") for o in removable)]
    return len(innermost) >= (2 if block(name).removable else 1)


def _nearest_inside(composites: dict[str, nn.Module], parent: str) -> list[str]:
    inside = [n for n in composites if n.startswith(f"{parent}.") or not parent]
    return [n for n in inside if not any(n.startswith(f"{other}.") for other in inside)]


def _removal(calls: list[Call], place: int) -> tuple[str | None, bool]:
    """Return how the block of a call can be removed: its stand-in, and whether it appends."""
    call = calls[place]
    output = call.output
    if output.dim() < 3 or not call.inputs:
        return None, False
    first = call.inputs[0]
    if first.shape == output.shape and not call.listed:
        return IDENTITY, False
    if len(call.inputs) == 1 and _contains(output, first):
        return IDENTITY, True
    later = (t for other in calls[place + 1 :] for t in (*other.inputs, other.output))
    for tensor in later:
        if _contains(tensor, output):
            whole = all(_contains(tensor, part) for part in call.inputs)
            return (NOTHING, True) if whole else (None, False)
    return None, False


def _contains(whole: Tensor, part: Tensor) -> bool:
    """Tell whether the channels of a tensor are among those of a larger one, side by side."""
    if whole.dim() != 4 or part.dim() != 4 or whole.shape[1] <= part.shape[1]:
        return False
    if whole.shape[0] != part.shape[0] or whole.shape[2:] != part.shape[2:]:
        return False
    count = part.shape[1]
    starts = (whole[0] == part[0, :1]).flatten(1).all(1).nonzero().flatten().tolist()
    return any(
        start + count <= whole.shape[1] and torch.equal(whole[:, start : start + count], part)
        for start in starts
    )


def _chains(calls: list[Call], barred: Mapping[str, str]) -> list[Block]:
    """Return every convolution with the batch norm and the activation that follow it."""
    times: dict[str, int] = {}
    for call in calls:
        times[call.name] = times.get(call.name, 0) + 1
    leaves = [c for c in calls if next(c.module.children(), None) is None and times[c.name] == 1]
    blocks = []
    for place, call in enumerate(leaves):
        if not isinstance(call.module, _ConvNd) or len(call.inputs) != 1:
            continue
        chain = [call]
        for kinds in (_BatchNorm, ACTIVATIONS):
            after = place + len(chain)
            follows = after < len(leaves) and isinstance(leaves[after].module, kinds)
            if follows and any(t is chain[-1].output for t in leaves[after].inputs):
                chain.append(leaves[after])
        names = tuple(c.name for c in chain)
        block = Block(names[0], names, IDENTITY)
        if chain[0].inputs[0].shape != chain[-1].output.shape:
            block = block.kept(f"the output of '{names[0]}' has another shape than its input")
        elif names[0] in barred:
            block = block.kept(barred[names[0]])
        blocks.append(block)
    return blocks

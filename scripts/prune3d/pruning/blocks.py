"""Blocks: the units that depth counts and removes, found from the network's structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from prune3d.costs import pass_one_image
from prune3d.models.assembly import get_spec


@dataclass(frozen=True)
class Block:
    """A composite module in a sequence of modules.

    Attributes
    ----------
    name
        Module name.
    removable
        Whether input and output have the same shape, so that an identity can take its place.
    """

    name: str
    removable: bool


def find_blocks(model: nn.Module) -> list[Block]:
    """Return the blocks in the order in which they run.

    A block is a child of an `nn.Sequential` that has children of its own and holds a convolution;
    blocks inside blocks do not count.
    """
    found: list[Block] = []

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found.append(Block(name, inputs[0].shape == output.shape))

        return hook

    handles = [
        module.register_forward_hook(record(name)) for name, module in _candidates(model).items()
    ]
    try:
        pass_one_image(model, get_spec(model).side)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _candidates(model: nn.Module) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        parent, _, _ = name.rpartition(".")
        inside = any(name.startswith(f"{block}.") for block in found)
        if inside or not isinstance(model.get_submodule(parent), nn.Sequential):
            continue
        if any(isinstance(m, nn.Conv2d) for m in module.modules() if m is not module):
            found[name] = module
    return found

"""Units that depth removes, beside residual blocks of wide convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.costs.structure import compose
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze

FILE = Path(__file__).parent / "own/units.py"
OPTIONS = PruningOptions(block_criterion="random", channel_criterion="l1")
REMOVABLE = {
    "fire": {"blocks.1", "blocks.3"},
    "pointwise": {"blocks.0", "blocks.1", "blocks.2"},
    "gathers": {"blocks.0", "blocks.1"},
    "volumes": {"one", "two"},
    "partial": {"blocks.0", "blocks.1"},
    "shuffled": {"blocks.1", "blocks.2"},
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return prune3d.build(f"{FILE}:{name}", 4, 16).eval()


def passed(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(images)


@pytest.mark.parametrize("name", REMOVABLE)
def test_the_units_are_found_and_removed(name: str) -> None:
    model = build(name)
    structure = analyze(model)
    assert set(structure.removable) == REMOVABLE[name]
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for unit in structure.removable:
        depth = (structure.blocks - 1) / structure.blocks
        small = prune3d.prune(model, depth=depth, options=OPTIONS, removal_order=[unit])
        without = build(name)
        without.load_state_dict(model.state_dict())
        without.set_submodule(unit, nn.Identity())
        torch.testing.assert_close(passed(small, images), passed(without, images))


@pytest.mark.parametrize("name", REMOVABLE)
def test_without_them_and_with_fewer_channels_the_cost_is_the_composed_one(name: str) -> None:
    model = build(name)
    structure = analyze(model)
    depth = structure.fewest_blocks / structure.blocks
    both = prune3d.prune(model, depth=depth, width=0.5, options=OPTIONS)
    level = compose(structure, both.spec.removed_blocks, structure.kept(np.array([0.5])))
    found = prune3d.cost(both)
    assert found.params == level.params[0]
    assert found.macs == (structure.arrays.positions[-1] @ level.weights)[0]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        both.eval()(torch.zeros(1, 3, 16, 16))
    assert found.macs == counter.get_total_flops() // 2

"""Composed costs of all realizable networks against networks that were really pruned."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.costs.structure import Structure, dense_macs, enumerate_lattice
from prune3d.costs.structure_file import read_structure, write_structure
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze
from prune3d.pruning.dense import present_blocks
from prune3d.pruning.realized import realized

WIDTHS = np.array([1.0, 0.83, 0.45, 0.01])


def shuffled_order(model: nn.Module) -> list[str]:
    """Return the removable blocks in an order that is not the network's."""
    names = [block.name for block in present_blocks(model) if block.removable]
    return list(np.random.default_rng(0).permutation(names))


def counted(model: nn.Module, side: int) -> tuple[int, int]:
    """Return MACs by torch's counter, at two operations each, and parameters."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, side, side))
    return counter.get_total_flops() // 2, sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "size", "round_to"),
    [("resnet8", 16, 1), ("resnet14", 11, 8), ("resnet20", 32, 1), ("resnet20", 8, 4)],
)
def test_every_lattice_entry_is_what_pruning_gives(name: str, size: int, round_to: int) -> None:
    model = prune3d.build(name, 10, size)
    order = shuffled_order(model)
    structure = analyze(model)
    sides = [size, size // 2]
    lattice = enumerate_lattice(structure, order, WIDTHS, sides, round_to)
    levels = sorted({0, 1, len(order) // 2, len(order)})
    options = PruningOptions(round_to=round_to)
    for k, (w, width), (s, side) in itertools.product(levels, enumerate(WIDTHS), enumerate(sides)):
        depth = (structure.blocks - k) / structure.blocks
        pruned = prune3d.prune(
            model, depth, width, side / size, options=options, removal_order=order
        )
        assert (lattice.macs[k, w, s], lattice.params[k, w]) == counted(pruned, side)
        assert lattice.depth[k] == pytest.approx(depth)
        assert lattice.width[k, w] == pytest.approx(realized(pruned)["width"])
        assert lattice.resolution[s] == pytest.approx(side / size)


def test_the_first_entry_is_the_dense_network() -> None:
    model = prune3d.build("resnet20", 10, 32)
    structure = analyze(model)
    lattice = enumerate_lattice(structure, shuffled_order(model), np.array([1.0]), [32])
    assert lattice.macs[0, 0, 0] == lattice.dense_macs == dense_macs(structure) == 40_813_184
    assert lattice.params[0, 0] == 272_474


def test_without_an_order_of_removal_only_the_dense_depth_is_there() -> None:
    model = prune3d.build("resnet14", 10, 16)
    structure = analyze(model)
    lattice = enumerate_lattice(structure, [], WIDTHS, [16, 9])
    assert lattice.depth.tolist() == [1]
    for (w, width), (s, side) in itertools.product(enumerate(WIDTHS), enumerate((16, 9))):
        pruned = prune3d.prune(model, width=width, resolution=side / 16)
        assert (lattice.macs[0, w, s], lattice.params[0, w]) == counted(pruned, side)


def test_cost_is_about_d_w2_r2_when_every_channel_shrinks() -> None:
    model = prune3d.build("resnet56", 10, 32)
    structure = analyze(model)
    widths = np.linspace(0.5, 1, 6)
    lattice = enumerate_lattice(structure, shuffled_order(model), widths, [32, 24, 16])
    ratio = lattice.macs[0] / lattice.dense_macs
    product = widths[:, None] ** 2 * lattice.resolution**2
    assert np.all(np.abs(ratio / product - 1) < 0.05)


def test_all_sides_that_the_network_takes_are_listed() -> None:
    model = prune3d.build("resnet8", 10, 20)
    assert analyze(model).sides == tuple(range(1, 21))


def test_each_group_of_channels_is_written_by_the_layers_of_one_width() -> None:
    structure = analyze(prune3d.build("resnet14", 10, 16))
    # Three residual streams and two blocks a stage.
    assert sorted(structure.groups.values()) == [16] * 3 + [32] * 3 + [64] * 3
    written = [la for la in structure.layers if la.name.endswith(("conv2", "shortcut.0"))]
    assert len({tuple(la.outputs) for la in written}) == 3
    assert {la.name for la in structure.layers if not la.outputs} == {"fc"}


def test_every_layer_knows_its_block() -> None:
    structure = analyze(prune3d.build("resnet14", 10, 16))
    blocks = {la.block for la in structure.layers}
    assert blocks == {None, *(f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 1))}
    assert set(structure.removable) == {"layer1.0", "layer1.1", "layer2.1", "layer3.1"}


def test_a_structure_survives_json() -> None:
    model = prune3d.build("resnet8", 10, 8)
    structure = analyze(model)
    again = Structure.from_dict(json.loads(json.dumps({**structure.to_dict(), "cost": {}})))
    assert again == structure
    # JSON files have sorted keys; the order of the groups decides how each is rounded.
    assert list(again.groups) == list(structure.groups)


def test_groups_keep_their_order_in_a_file_where_names_are_sorted_otherwise(tmp_path: Path) -> None:
    structure = analyze(prune3d.build("resnet110", 10, 16))
    write_structure(tmp_path / "structure.json", structure)
    again = read_structure(tmp_path / "structure.json")
    widths = np.linspace(0.2, 1, 30)
    expected = structure.kept(widths)
    assert sorted(expected) != list(expected)
    assert all((kept == expected[name]).all() for name, kept in again.kept(widths).items())

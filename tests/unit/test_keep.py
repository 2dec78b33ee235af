"""Parts left alone: neither cut nor removed, and costs, lattice and files follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import prune3d
from prune3d.costs.structure import enumerate_lattice
from prune3d.errors import PruningError
from prune3d.models.registry import all_facts
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze
from prune3d.pruning.dense import channel_groups, keep_layers, look_at_dense
from prune3d.pruning.keep import layer_names

Network = Callable[..., nn.Module]


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("name", "patterns", "whole"),
    [
        ("resnet14", ["layer2.*"], ["layer2"]),
        ("resnet14", ["layer?.0.conv1"], ["layer1.0.conv1", "layer2.0.conv1"]),
        ("resnet14", ["conv1", "fc"], ["conv1", "fc"]),
        ("cifar_mobilenet_v2", ["stem", "blocks.3"], ["stem", "blocks.3"]),
        ("densenet40", ["stages.0.3"], ["stages.0.3"]),
        ("cifar_vgg16_bn", ["features.7"], ["features.7"]),
    ],
)
def test_kept_layers_keep_their_shapes_and_costs_follow(
    name: str, patterns: list[str], whole: list[str], make_network: Network
) -> None:
    model = make_network(name, size=32)
    before = shapes(model)
    options = PruningOptions(channel_criterion="l1", keep=tuple(patterns))
    pruned = prune3d.prune(model, width=0.5, options=options)
    after = shapes(pruned)
    kept = [n for n in before for w in whole if n == w or n.startswith(f"{w}.")]
    assert all(before[n] == after[n] for n in kept)
    assert before != after
    structure = analyze(pruned)
    lattice = enumerate_lattice(structure, [], np.array([0.5]), structure.sides[-1:])
    measured = prune3d.cost(pruned)
    assert (int(lattice.macs[0, 0, 0]), int(lattice.params[0, 0])) == (
        measured.macs,
        measured.params,
    )
    assert lattice.dense_macs == prune3d.cost(model).macs
    free = prune3d.prune(model, width=0.5, options=PruningOptions(channel_criterion="l1"))
    assert prune3d.cost(free).macs < measured.macs


def test_kept_blocks_are_not_removed(make_network: Network) -> None:
    options = PruningOptions(block_criterion="random", keep=("layer1.1", "layer3"))
    pruned = prune3d.prune(make_network(), depth=4 / 6, options=options)
    assert pruned.spec.removed_blocks == ("layer1.0", "layer2.1")
    with pytest.raises(PruningError, match="depth"):
        prune3d.prune(make_network(), depth=3 / 6, options=options)
    reasons = {block.name: block.reason for block in look_at_dense(pruned).blocks}
    assert reasons["layer1.1"] == "it holds 'layer1.1.conv1', which 'layer1.1' keeps"


def test_files_keep_what_is_kept(tmp_path: Path, make_network: Network) -> None:
    model = make_network()
    keep_layers(model, ["conv1"])
    prune3d.save(model, tmp_path / "model.safetensors")
    again = prune3d.prune(prune3d.load(tmp_path / "model.safetensors"), width=0.5)
    assert again.conv1.out_channels == 16
    assert again.layer2[0].conv1.out_channels == 16
    assert "conv1" not in look_at_dense(again).sizes
    stays = {entry.name: entry.reason for entry in analyze(again).frozen}
    assert stays["conv1"] == "'conv1' has them, which 'conv1' keeps"
    assert "conv1" in {group.name for group in channel_groups(make_network())}


def test_a_budget_is_reached_beside_what_is_kept(make_network: Network) -> None:
    model = make_network()
    options = PruningOptions(keep=("layer3",))
    pruned = prune3d.prune(model, macs=0.6, options=options)
    assert 0.57 < prune3d.cost(pruned).macs / prune3d.cost(model).macs <= 0.6
    with pytest.raises(PruningError, match="cannot be reached by width"):
        prune3d.prune(model, macs=0.05, options=options)


def test_patterns_that_cannot_be_kept_are_refused(make_network: Network) -> None:
    model = make_network()
    with pytest.raises(PruningError, match=r"keep: 'stem' matches no layer of resnet14; .* conv1"):
        prune3d.prune(model, width=0.5, options=PruningOptions(keep=("fc", "stem")))
    narrow = prune3d.prune(model, width=0.5)
    with pytest.raises(PruningError, match="'conv1', whose channels were cut already"):
        keep_layers(narrow, ["conv1"])
    shallow = prune3d.prune(model, depth=5 / 6, removal_order=["layer1.1"])
    with pytest.raises(PruningError, match=r"the block 'layer1.1' was removed already"):
        keep_layers(shallow, ["layer1.1"])
    assert shallow.spec.keep == ()


@pytest.mark.parametrize("name", ["resnet20", "densenet40", "mobilenet_v2"])
def test_the_names_of_layers_are_known_before_a_network_is_built(name: str) -> None:
    known = all_facts()[name].layers
    assert list(known) == layer_names(prune3d.build(name, 7, 64))
    owners = {
        parameter.rpartition(".")[0]
        for parameter, _ in prune3d.build(name, 7, 64).named_parameters()
    }
    assert set(known) == owners

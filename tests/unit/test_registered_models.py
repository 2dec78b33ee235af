"""Every registered model is pruned along all three dimensions, saved, rebuilt and trained on."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.costs.structure import enumerate_lattice
from prune3d.models import MODELS
from prune3d.models.registry import usual_size
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze
from prune3d.pruning.blocks import Block
from prune3d.pruning.channels.follow import follow
from prune3d.pruning.channels.verify import follow_verified
from prune3d.pruning.dense import present_blocks

RANDOM = PruningOptions(channel_criterion="random", seed=3)
# The largest takes half a minute.
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n == "vgg16_bn" else n for n in MODELS]


def build(name: str) -> nn.Module:
    """Build a model for 10 classes with batch norms and biases that all differ."""
    torch.manual_seed(11)
    side = 32 if usual_size(name)[1] == 32 else 64
    model = prune3d.build(name, 10, side)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if getattr(module, "bias", None) is not None:
            # No two alike, so that what is left tells its origin.
            values = torch.linspace(-0.3, 0.3, len(module.bias))
            module.bias.data = values[torch.randperm(len(values))]
    return model.eval()


def removable(model: nn.Module) -> list[Block]:
    """Return the blocks that can go, in an order that is not the network's."""
    blocks = [block for block in present_blocks(model) if block.removable]
    return [blocks[i] for i in np.random.default_rng(1).permutation(len(blocks))]


def images(side: int) -> Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))


def counted(model: nn.Module, side: int) -> tuple[int, int]:
    """Return MACs by torch's counter, at two operations each, and parameters."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, side, side))
    return counter.get_total_flops() // 2, sum(p.numel() for p in model.parameters())


def silence_what_is_gone(model: nn.Module, pruned: nn.Module) -> nn.Module:
    """Return the original with every channel at zero whose bias the pruned network lacks.

    A channel is zero when the norms behind it give zero, and a layer with a bias when its row is.
    """
    silent = copy.deepcopy(model)
    left = dict(pruned.named_modules())
    for name, module in silent.named_modules():
        bias = getattr(module, "bias", None)
        if bias is None or not hasattr(left.get(name), "bias"):
            continue
        gone = ~torch.isin(bias, left[name].bias)
        assert int(gone.sum()) == len(bias) - len(left[name].bias)
        with torch.no_grad():
            module.weight[gone] = 0
            bias[gone] = 0
    return silent


def close(found: nn.Module, expected: nn.Module, side: int) -> None:
    """Compare outputs in double precision."""
    x = images(side).double()
    with torch.no_grad():
        torch.testing.assert_close(found.double()(x), expected.double()(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_registered_model_is_pruned_along_all_three_dimensions(name: str, tmp_path: Path) -> None:
    model = build(name)
    order = [block.name for block in removable(model)]
    structure = analyze(model)
    blocks = structure.blocks
    gone = min(blocks - round(0.7 * blocks), len(order))
    side = round(0.75 * structure.sides[-1])
    lattice = enumerate_lattice(structure, order, np.array([0.6]), [side])

    pruned = prune3d.prune(model, 1 - gone / blocks, 0.6, 0.75, removal_order=order)

    assert (lattice.macs[gone, 0, 0], lattice.params[gone, 0]) == counted(pruned, side)
    assert prune3d.cost(pruned).macs == lattice.macs[gone, 0, 0]
    assert lattice.dense_macs == counted(model, structure.sides[-1])[0]
    assert lattice.macs[gone, 0, 0] < 0.25 * lattice.dense_macs

    pruned.train()
    logits = pruned(images(side))
    assert logits.shape == (3, 10)
    logits.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in pruned.parameters() if p.grad is not None)
    pruned.eval()

    file = tmp_path / "model.safetensors"
    prune3d.save(pruned, file)
    again = prune3d.load(file)
    assert again.spec == pruned.spec
    with torch.no_grad():
        assert torch.equal(again(images(side)), pruned(images(side)))


@pytest.mark.parametrize("name", NAMES)
def test_without_channels_outputs_are_those_of_the_network_with_silent_ones(name: str) -> None:
    model = build(name)
    pruned = prune3d.prune(model, width=0.6, options=RANDOM)
    assert len(list(pruned.modules())) == len(list(model.modules()))
    close(pruned, silence_what_is_gone(model, pruned), model.spec.side)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_trials_find_nothing_that_the_trace_of_a_registered_model_does_not_tell(name: str) -> None:
    model = build(name)
    traced, tried = follow(model), follow_verified(model)
    assert [(g.name, g.channels, g.multiple) for g in traced.groups] == [
        (g.name, g.channels, g.multiple) for g in tried.groups
    ]


@pytest.mark.parametrize("name", [n for n in MODELS if "vgg" not in n])
def test_without_blocks_outputs_are_those_of_the_network_with_silent_ones(name: str) -> None:
    model = build(name)
    blocks = removable(model)
    gone = blocks[: max(1, len(blocks) // 3)]
    total = len(present_blocks(model))
    depth = (total - len(gone)) / total
    pruned = prune3d.prune(model, depth=depth, removal_order=[block.name for block in gone])
    silent = silence_what_is_gone(model, pruned)
    for block in gone:
        if not block.appends:
            last = [
                m
                for m in silent.get_submodule(block.name).modules()
                if isinstance(m, nn.BatchNorm2d)
            ][-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    close(pruned, silent, model.spec.side)


@pytest.mark.parametrize("name", ["cifar_vgg16_bn", "cifar_vgg19_bn"])
def test_without_a_convolution_a_vgg_passes_its_input_on(name: str) -> None:
    model = build(name)
    gone = removable(model)[:3]
    total = len(present_blocks(model))
    pruned = prune3d.prune(
        model, depth=(total - 3) / total, removal_order=[block.name for block in gone]
    )
    places = {int(m.rpartition(".")[2]) for block in gone for m in block.modules}
    assert len(places) == 9
    left = [m for i, m in enumerate(model.features) if i not in places]
    x = images(32)
    with torch.no_grad():
        features = nn.Sequential(*left)(x).mean((2, 3))
        torch.testing.assert_close(pruned(x), model.classifier(features))


@pytest.mark.parametrize("name", ["resnet20", "densenet40", "mobilenet_v2", "regnet_y_400mf"])
def test_a_budget_is_reached_by_width_within_a_percent(name: str) -> None:
    model = build(name)
    small = prune3d.prune(model, macs=0.4, resolution=0.75)
    ratio = counted(small, small.spec.side)[0] / counted(model, model.spec.side)[0]
    assert 0.396 < ratio <= 0.4


def test_widths_that_are_multiples_of_eight_are_part_of_the_search() -> None:
    model = build("mobilenet_v2")
    small = prune3d.prune(model, macs=0.5, options=PruningOptions(round_to=8))
    convolutions = [m for m in small.modules() if isinstance(m, nn.Conv2d)]
    assert {m.out_channels % 8 for m in convolutions} == {0}
    assert 0.45 < counted(small, 64)[0] / counted(model, 64)[0] <= 0.5


def test_grouped_convolutions_lose_whole_groups() -> None:
    model = build("regnet_y_400mf")
    small = prune3d.prune(model, width=0.5)
    pairs = zip(model.modules(), small.modules(), strict=True)
    grouped = [(a, b) for a, b in pairs if isinstance(a, nn.Conv2d) and a.groups > 1]
    assert len(grouped) == 16
    for dense, pruned in grouped:
        assert pruned.weight.shape[1] == dense.weight.shape[1] == 8
        assert pruned.out_channels == 8 * pruned.groups < dense.out_channels

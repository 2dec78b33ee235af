"""MACs and parameters against sums by hand, published figures and torch's own counter."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.costs.count import macs_by_side, module_macs
from prune3d.errors import PruningError, UserError


def macs_by_torch(model: nn.Module, channels: int, side: int) -> int:
    """Return the MACs of one image; torch counts two operations for each."""
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, channels, side, side))
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


def resnet_by_hand(n: int, side: int, classes: int, channels: int) -> tuple[int, int]:
    """Return MACs and parameters of a ResNet of 6n + 2 layers with option B shortcuts."""
    macs = params = 0

    def convolution(inputs: int, outputs: int, area: int, pixels: int) -> None:
        nonlocal macs, params
        macs += inputs * outputs * area * pixels * pixels
        params += inputs * outputs * area + 2 * outputs  # and its batch norm

    convolution(channels, 16, 9, side)
    before = 16
    for width in (16, 32, 64):
        side = side if width == 16 else (side + 1) // 2
        for block in range(n):
            convolution(before if block == 0 else width, width, 9, side)
            convolution(width, width, 9, side)
        if before != width:
            convolution(before, width, 1, side)
        before = width
    return macs + 64 * classes, params + 64 * classes + classes


@pytest.mark.parametrize("layers", [8, 14, 20, 32, 44, 56, 110])
@pytest.mark.parametrize(("side", "classes", "channels"), [(32, 10, 3), (8, 10, 1), (33, 100, 3)])
def test_resnets_cost_what_their_description_says(
    layers: int, side: int, classes: int, channels: int
) -> None:
    cost = prune3d.cost(prune3d.build(f"resnet{layers}", classes, side, channels))
    assert (cost.macs, cost.params) == resnet_by_hand((layers - 2) // 6, side, classes, channels)


@pytest.mark.parametrize(
    ("name", "option_a_params", "millions_of_macs"),
    [("resnet20", 269_722, 40.55), ("resnet56", 853_018, 125.49)],
)
def test_published_figures_differ_by_the_two_shortcuts_alone(
    name: str, option_a_params: int, millions_of_macs: float
) -> None:
    cost = prune3d.cost(prune3d.build(name, 10, 32))
    shortcuts = 16 * 32 + 32 * 64
    assert cost.params == option_a_params + shortcuts + 2 * (32 + 64)
    shortcut_macs = 16 * 32 * 16**2 + 32 * 64 * 8**2
    assert (cost.macs - shortcut_macs) / 1e6 == pytest.approx(millions_of_macs, abs=0.005)


@pytest.mark.parametrize("side", [1, 2, 5, 8, 17, 31, 32])
def test_macs_are_half_of_torchs_flops_at_every_side(side: int) -> None:
    model = prune3d.build("resnet20", 10, 32)
    assert prune3d.cost(model, side / 32).macs == macs_by_torch(model, 3, side)


def test_parameters_do_not_depend_on_the_side() -> None:
    model = prune3d.build("resnet8", 10, 32)
    assert prune3d.cost(model, 0.5).params == sum(p.numel() for p in model.parameters())


def test_measuring_changes_nothing() -> None:
    model = prune3d.build("resnet8", 10, 16).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prune3d.cost(model)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_resolution_out_of_range_is_refused() -> None:
    with pytest.raises(PruningError, match=r"resolution is 1\.5"):
        prune3d.cost(prune3d.build("resnet8", 10, 16), 1.5)


def test_a_foreign_network_is_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"Linear was not built by prune3d\.build"):
        prune3d.cost(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet20", 32), ("densenet40", 32), ("cifar_mobilenet_v2", 32), ("cifar_vgg16_bn", 32)],
)
def test_every_side_costs_what_it_costs_alone(name: str, side: int) -> None:
    """Though modules are not run again on maps of a size that they have had."""
    model = prune3d.build(name, 10, side)
    alone = {}
    for one in range(side, 0, -1):
        with suppress(PruningError):
            alone[one] = module_macs(model, one)
    forwards = [vars(module).get("forward") for module in model.modules()]
    found = macs_by_side(model)
    assert found == {one: alone[one] for one in alone if one >= min(found)}
    assert len(found) > side // 2
    assert [vars(module).get("forward") for module in model.modules()] == forwards

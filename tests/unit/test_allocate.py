"""Channels allocated over groups by one threshold, against a removal one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSplits
from prune3d.errors import PruningError
from prune3d.pruning.channel_criteria import batchnorm_scale, l2, taylor
from prune3d.pruning.dense import channel_groups
from prune3d.pruning.options import PruningOptions

Make = Callable[..., nn.Module]


def shares(model: nn.Module, dense: nn.Module) -> dict[str, float]:
    """Return which part of its channels each group has left."""
    whole = {group.name: group.channels for group in channel_groups(dense)}
    return {group.name: group.channels / whole[group.name] for group in channel_groups(model)}


def cut(model: nn.Module, **more: Any) -> nn.Module:
    options = {"channel_criterion": "l2", "allocation": "global", **more.pop("options", {})}
    return prune3d.prune(model, options=PruningOptions(**options), **more)


@pytest.mark.parametrize("name", ["resnet14", "cifar_vgg16_bn", "cifar_mobilenet_v2"])
@pytest.mark.parametrize("width", [0.7, 0.35])
def test_as_many_macs_as_with_equal_shares_but_other_shares(
    make_network: Make, name: str, width: float
) -> None:
    model = make_network(name, size=32)
    pruned, uniform = cut(model, width=width), prune3d.prune(model, width=width)
    macs, limit = prune3d.cost(pruned).macs, prune3d.cost(uniform).macs
    assert 0.97 * limit <= macs <= limit
    found = shares(pruned, model)
    assert max(found.values()) - min(found.values()) > 0.05
    # A tenth stays, but where equal shares leave less.
    assert min(found.values()) >= min(0.1, width - 0.05)
    assert pruned(torch.randn(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize(("round_to", "macs"), [(4, 0.5), (4, 0.25), (2, 0.125)])
def test_a_budget_of_macs_is_used_up_where_no_uniform_width_does(
    make_network: Make, round_to: int, macs: float
) -> None:
    model, options = make_network("resnet14"), {"round_to": round_to}
    budget = macs * prune3d.cost(model).macs
    uniform = prune3d.prune(model, macs=macs, options=PruningOptions(**options))
    assert prune3d.cost(uniform).macs < 0.97 * budget
    pruned = cut(model, macs=macs, options=options)
    assert 0.98 * budget <= prune3d.cost(pruned).macs <= budget


def test_the_channels_that_stay_are_those_of_one_threshold(make_network: Make) -> None:
    """By removing one after another, the least important first; then what fits comes back."""
    model = make_network("resnet14")
    generator = torch.Generator()
    groups = channel_groups(model)
    scores = {g.name: l2(g, generator) / l2(g, generator).mean() for g in groups}
    limit = prune3d.cost(prune3d.prune(model, width=0.5)).macs
    everything = sorted((float(s), name) for name, own in scores.items() for s in own)
    counts = {group.name: group.channels for group in groups}
    fewest = {group.name: int(np.ceil(0.1 * group.channels)) for group in groups}
    gone: list[str] = []
    for _, name in everything:
        if cost_of(counts) <= limit:
            break
        counts[name] = max(fewest[name], counts[name] - 1)
        gone.append(name)
    for name in reversed(gone):
        more = {**counts, name: counts[name] + 1}
        counts = more if cost_of(more) <= limit else counts
    pruned = cut(model, width=0.5)
    assert {group.name: group.channels for group in channel_groups(pruned)} == counts
    assert prune3d.cost(pruned).macs == cost_of(counts)
    # Of each group the highest scores stay.
    kept = scores["conv1"].argsort(descending=True)[: counts["conv1"]].sort().values
    assert torch.equal(pruned.conv1.weight, model.conv1.weight[kept])


def cost_of(kept: dict[str, int], side: int = 16) -> int:
    """Return the MACs of a ResNet-14, from the definition of the network."""
    macs, before = 3 * kept["conv1"] * 9 * side**2, kept["conv1"]
    for stage, stream in ((1, "conv1"), (2, "layer2.0.conv2"), (3, "layer3.0.conv2")):
        side = side if stage == 1 else side // 2
        for block in range(2):
            inner = kept[f"layer{stage}.{block}.conv1"]
            inputs = before if block == 0 else kept[stream]
            macs += 9 * side**2 * inner * (inputs + kept[stream])
            macs += side**2 * before * kept[stream] if block == 0 and stage > 1 else 0
        before = kept[stream]
    return macs + 10 * before


def test_depth_and_resolution_are_pruned_first(make_network: Make) -> None:
    model = make_network("resnet20", size=32)
    order = ["layer2.2", "layer1.1", "layer3.1"]
    more: dict[str, Any] = {"depth": 6 / 9, "resolution": 0.75, "removal_order": order}
    pruned = cut(model, width=0.5, **more)
    limit = prune3d.cost(prune3d.prune(model, width=0.5, **more)).macs
    assert 0.97 * limit <= prune3d.cost(pruned).macs <= limit
    assert set(pruned.spec.removed_blocks) == set(order) and pruned.spec.side == 24


def test_channels_stay_in_multiples(make_network: Make) -> None:
    model = make_network("cifar_vgg16_bn", size=32)
    pruned = cut(model, width=0.5, options={"round_to": 8})
    assert all(group.channels % 8 == 0 for group in channel_groups(pruned))
    limit = prune3d.cost(prune3d.prune(model, width=0.5, options=PruningOptions(round_to=8))).macs
    assert 0.95 * limit <= prune3d.cost(pruned).macs <= limit


@pytest.mark.parametrize("seed", range(6))
def test_the_budget_is_used_where_one_channel_costs_much(seed: int) -> None:
    """In the stream of a narrow network that has lost most blocks."""
    torch.manual_seed(seed)
    model = prune3d.build("resnet32_wd2", 4, 24)
    blocks = [f"layer{stage}.{i}" for stage in (1, 2, 3) for i in (1, 2, 3, 4)]
    shape: Any = {"depth": 4 / 15, "removal_order": blocks[:11]}
    options = {"channel_criterion": "l1"}
    uniform = prune3d.prune(model, width=0.986, options=PruningOptions(**options), **shape)
    pruned = cut(model, width=0.986, options=options, **shape)
    limit = prune3d.cost(uniform).macs
    assert 0.98 * limit <= prune3d.cost(pruned).macs <= limit


def test_equal_scores_keep_equal_shares() -> None:
    """Scales that no training has changed yet are all 1."""
    model = prune3d.build("resnet14", 10, 16)
    pruned = cut(model, width=0.5, options={"channel_criterion": "batchnorm_scale"})
    assert all(abs(share - 0.5) < 0.13 for share in shares(pruned, model).values())
    limit = prune3d.cost(prune3d.prune(model, width=0.5)).macs
    assert 0.97 * limit <= prune3d.cost(pruned).macs <= limit


def test_a_layer_that_matters_less_loses_more(make_network: Make) -> None:
    """By what makes the scores of groups comparable: scales and losses as they are."""
    model = make_network("resnet14")
    with torch.no_grad():
        model.layer2[1].bn1.weight.mul_(0.01)
    found = shares(cut(model, width=0.6, options={"channel_criterion": "batchnorm_scale"}), model)
    assert found["layer2.1.conv1"] == min(found.values()) < 0.2
    # A mean of the group itself would hide it.
    assert batchnorm_scale.unit(channel_groups(model)[0]) > 1  # type: ignore[attr-defined]
    assert taylor.unit(channel_groups(model)[0]) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("round_to", [1, 8])
def test_in_two_steps_a_tenth_of_the_dense_channels_stays_in_their_multiples(
    make_network: Make, round_to: int
) -> None:
    """Of 64 channels, whose scales are the smallest of all, seven, or one multiple of eight."""
    model = make_network("resnet14", size=32)
    with torch.no_grad():
        model.layer3[1].bn1.weight.mul_(0.001)
    options = {"channel_criterion": "batchnorm_scale", "round_to": round_to}
    once = cut(model, width=0.6, options=options)
    twice = cut(once, width=0.3, options=options)
    for pruned in (once, twice):
        left = {group.name: group.channels for group in channel_groups(pruned)}
        assert left["layer3.1.conv1"] == {1: 7, 8: 8}[round_to]
        assert all(channels % round_to == 0 for channels in left.values())
    assert prune3d.cost(twice).macs < 0.5 * prune3d.cost(once).macs


def test_losses_are_compared_over_all_layers(make_network: Make, digits: ImageSplits) -> None:
    model = make_network("resnet14", size=8, channels=1)
    options = {"channel_criterion": "taylor", "probe_images": 64}
    pruned = cut(model, width=0.5, images=digits.probe(64, 0), options=options)
    limit = prune3d.cost(prune3d.prune(model, width=0.5)).macs
    assert 0.97 * limit <= prune3d.cost(pruned).macs <= limit


def test_an_unknown_allocation_is_refused() -> None:
    with pytest.raises(PruningError, match="allocation is 'local'; allowed is one of uniform"):
        PruningOptions(allocation="local")


def test_the_full_width_is_left_as_it_is(make_network: Make) -> None:
    model = make_network("resnet14")
    assert prune3d.cost(cut(model, width=1.0)) == prune3d.cost(model)

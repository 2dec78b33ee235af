"""What each policy prunes to, against a search over all networks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import nn

import prune3d
from prune3d.errors import PruningError
from prune3d.policies import (
    LatticeOptions,
    check_delivered,
    enumerate_candidates,
    optimal_target,
    rival_target,
)
from prune3d.pruning.analyze import analyze
from prune3d.ratios import kept_channels
from prune3d.samples import Samples
from prune3d.structure import Structure

OPTIONS = LatticeOptions(width_step=0.02, round_to=1)
ORDER = ["layer1.2", "layer3.1", "layer2.2", "layer1.1", "layer3.2", "layer2.1", "layer1.0"]


class Surface:
    """An accuracy that saturates along each ratio."""

    def __init__(self, slopes: tuple[float, float, float]) -> None:
        self.slopes = np.array(slopes)

    def predict(self, X: Any) -> np.ndarray:
        return 1 - np.exp(-3 * np.asarray(X)) @ self.slopes

    def gradient(self, X: Any) -> np.ndarray:
        return 3 * np.exp(-3 * np.atleast_2d(X)) * self.slopes


SURFACES = [Surface((0.2, 0.3, 0.5)), Surface((0.5, 0.4, 0.1)), Surface((-0.1, -0.2, -0.1))]


def samples(low: float) -> Samples:
    """Return fitted samples that reach down to one ratio in each dimension."""
    ratios = np.ones((4, 3))
    ratios[[1, 2, 3], [0, 1, 2]] = low
    return Samples(("",) * 4, ratios, np.ones(4), np.ones(4))


@pytest.fixture(scope="module")
def structure() -> Structure:
    """Return what of a ResNet-20 can be pruned."""
    return analyze(prune3d.build("resnet20", 10, 32))


def cost_by_hand(removed: list[str], kept: dict[str, int], side: int) -> int:
    """Return the MACs of a pruned ResNet-20, from the definition of the network."""
    macs = 3 * kept["conv1"] * 9 * side**2
    before = kept["conv1"]
    for stage, stream in ((1, "conv1"), (2, "layer2.0.conv2"), (3, "layer3.0.conv2")):
        side = side if stage == 1 else (side + 1) // 2
        for block in range(3):
            name = f"layer{stage}.{block}"
            if name in removed:
                continue
            inner, inputs = kept[f"{name}.conv1"], before if block == 0 else kept[stream]
            macs += 9 * side**2 * inner * (inputs + kept[stream])
            if block == 0 and stage > 1:
                macs += side**2 * before * kept[stream]
        before = kept[stream]
    return macs + 10 * before


@pytest.fixture(scope="module")
def networks(structure: Structure) -> list[tuple[float, float, float, int]]:
    """Return depth, width, resolution and MACs of every network, by hand."""
    found = []
    widths = 1 - 0.02 * np.arange(50)
    channels = kept_channels(structure.groups, widths)
    for w in range(len(widths)):
        kept = {name: int(values[w]) for name, values in channels.items()}
        for k in range(len(ORDER) + 1):
            removed = ORDER[:k]
            left = [g for g in kept if g.rpartition(".")[0] not in removed]
            width = sum(kept[g] for g in left) / sum(structure.groups[g] for g in left)
            found += [
                ((9 - k) / 9, width, side / 32, cost_by_hand(removed, kept, side))
                for side in range(1, 33)
            ]
    return found


Networks = list[tuple[float, float, float, int]]
DENSE_MACS = 40_813_184


@pytest.mark.parametrize("surface", [0, 1, 2])
@pytest.mark.parametrize("budget", [0.8, 0.25, 0.1])
def test_the_optimum_is_the_best_of_all_networks(
    structure: Structure, networks: Networks, surface: int, budget: float
) -> None:
    predictor = SURFACES[surface]
    found = optimal_target(predictor, samples(0.4), structure, ORDER, budget, OPTIONS)
    table = np.array(networks)
    inside = (table[:, :3] >= 0.4 - 1e-9).all(1)
    within = inside & (table[:, 3] <= budget * DENSE_MACS)
    full = within & (table[:, 3] >= 0.97 * budget * DENSE_MACS)
    assert full.any()
    best = predictor.predict(table[full, :3]).max()
    assert found["predicted_accuracy"] == pytest.approx(best, abs=1e-9)
    assert 0.97 * budget <= found["macs_ratio"] <= budget
    assert found["macs_ratio"] == pytest.approx(found["macs"] / DENSE_MACS)
    ratios = [found[axis] for axis in ("depth", "width", "resolution")]
    assert min(ratios) >= 0.4 - 1e-9
    same = np.abs(table - [*ratios, found["macs"]]).max(1) < 1e-9
    assert same.any()


@pytest.mark.parametrize(("policy", "axis"), [("depth", 0), ("width", 1), ("resolution", 2)])
@pytest.mark.parametrize("budget", [1.0, 0.6, 0.25])
def test_a_rival_takes_the_largest_network_that_shrinks_one_dimension(
    structure: Structure, networks: Networks, policy: str, axis: int, budget: float
) -> None:
    found = rival_target(policy, structure, ORDER, budget, OPTIONS)
    table = np.array(networks)
    others = [i for i in range(3) if i != axis]
    line = table[(table[:, others] == 1).all(1)]
    assert found["macs"] == line[line[:, 3] <= budget * DENSE_MACS, 3].max()
    assert [found[("depth", "width", "resolution")[i]] for i in others] == [1, 1]
    assert found["macs_ratio"] <= budget


@pytest.mark.parametrize("budget", [1.0, 0.6, 0.25, 1e-4])
@pytest.mark.parametrize("policy", ["width", "resolution"])
def test_width_and_resolution_alone_need_no_order_of_removal(
    structure: Structure, policy: str, budget: float
) -> None:
    alone = rival_target(policy, structure, [], budget, OPTIONS)
    full = rival_target(policy, structure, ORDER, budget, OPTIONS)
    if "unreachable" not in full:
        # A lattice without the other depths is smaller by as much.
        assert alone.pop("lattice_networks") * (len(ORDER) + 1) == full.pop("lattice_networks")
        assert alone["macs"] > 0
    assert alone == full


def test_the_side_step_leaves_out_sides_down_from_the_dense_one(
    structure: Structure, networks: Networks
) -> None:
    options = LatticeOptions(width_step=0.02, side_step=5)
    sides = [32, 27, 22, 17, 12, 7, 2]
    lattice = enumerate_candidates(structure, ORDER, options).lattice
    assert [round(32 * ratio) for ratio in lattice.resolution] == sides
    macs = [macs for *_, resolution, macs in networks if round(32 * resolution) in sides]
    # Widths that keep the same channels are there once.
    assert set(lattice.macs.ravel().tolist()) == set(macs)
    found = rival_target("resolution", structure, ORDER, 0.6, options)
    # The maps of 22 pixels have 22, 11 and 6 of 32, 16 and 8: at most 0.75^2 of each. 27 have 0.71.
    assert found["resolution"] == 22 / 32


@pytest.mark.parametrize("policy", ["depth", "width", "resolution"])
def test_a_rival_that_cannot_reach_the_budget_says_so(structure: Structure, policy: str) -> None:
    found = rival_target(policy, structure, ORDER, 1e-4, OPTIONS)
    assert f"{policy} alone cannot meet the budget 0.0001" in found["unreachable"]
    assert found["policy"] == policy


@pytest.mark.parametrize("budget", [1e-4, 0.01])
def test_an_optimum_that_cannot_be_reached_says_so(structure: Structure, budget: float) -> None:
    found = optimal_target(SURFACES[0], samples(0.5), structure, ORDER, budget, OPTIONS)
    assert f"no network meets the budget {budget:g}" in found["unreachable"]
    assert "macs" not in found
    json.dumps(found, allow_nan=False)


def test_targets_are_plain_values(structure: Structure) -> None:
    found = optimal_target(SURFACES[0], samples(0.4), structure, ORDER, 0.25, OPTIONS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["region"] == [[0.4, 1], [0.4, 1], [0.4, 1]]
    assert found["budget_macs"] == 0.25


@pytest.mark.parametrize("round_to", [1, 4])
def test_pruning_to_a_target_gives_what_was_promised(
    make_network: Callable[..., nn.Module], round_to: int
) -> None:
    from prune3d.pruning import PruningOptions

    model = make_network("resnet20", size=32)
    structure = analyze(model)
    options = LatticeOptions(width_step=0.01, round_to=round_to)
    target = optimal_target(SURFACES[1], samples(0.3), structure, ORDER, 0.3, options)
    pruned = prune3d.prune(
        model,
        target["depth"],
        target["width_asked"],
        target["resolution"],
        options=PruningOptions(round_to=round_to),
        removal_order=ORDER,
    )
    cost = prune3d.cost(pruned)
    assert (cost.macs, cost.params) == (target["macs"], target["params"])
    check_delivered(pruned, target)
    for key in ("macs", "params"):
        wrong = copy.deepcopy(target)
        wrong[key] += 1
        with pytest.raises(PruningError, match=rf"{target[key]} {key} but {target[key] + 1}"):
            check_delivered(pruned, wrong)
    with pytest.raises(PruningError, match=r"above the budget of 0\.1\."):
        check_delivered(pruned, {**target, "budget_macs": 0.1})

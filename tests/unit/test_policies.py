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
from prune3d.costs.ratios import kept_channels
from prune3d.costs.structure import Structure
from prune3d.costs.work import Work
from prune3d.errors import PruningError
from prune3d.optimize import Budget
from prune3d.optimize.policies import (
    LatticeOptions,
    OptimumOptions,
    check_delivered,
    enumerate_candidates,
    optimal_target,
)
from prune3d.optimize.registry import POLICIES
from prune3d.optimize.rivals import Question, rival_target
from prune3d.pruning.analyze import analyze
from prune3d.pruning.latency import LatencyTable
from prune3d.sampling.table import Samples

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


def optimum(
    predictor: Any,
    fitted: Samples,
    structure: Structure,
    budget: float | dict[str, float],
    options: LatticeOptions = OPTIONS,
    **more: Any,
) -> dict[str, Any]:
    candidates = enumerate_candidates(structure, ORDER, options, more.pop("latencies", None))
    chosen = more.pop("options_of_optimum", None)
    return optimal_target(predictor, fitted, candidates, Budget.of(budget), chosen, **more)


def rival(
    policy: str,
    structure: Structure,
    order: list[str],
    budget: float | dict[str, float],
    options: LatticeOptions = OPTIONS,
) -> dict[str, Any]:
    candidates = enumerate_candidates(structure, order, options)
    return rival_target(policy, Question(candidates, Budget.of(budget), POLICIES[policy].axes))


Networks = list[tuple[float, float, float, int]]
DENSE_MACS = 40_813_184


@pytest.mark.parametrize("surface", [0, 1, 2])
@pytest.mark.parametrize("budget", [0.8, 0.25, 0.1])
def test_the_optimum_is_the_best_of_all_networks(
    structure: Structure, networks: Networks, surface: int, budget: float
) -> None:
    predictor = SURFACES[surface]
    found = optimum(predictor, samples(0.4), structure, budget)
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
    found = rival(policy, structure, ORDER, budget)
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
    alone = rival(policy, structure, [], budget)
    full = rival(policy, structure, ORDER, budget)
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
    found = rival("resolution", structure, ORDER, 0.6, options)
    # The maps of 22 pixels have 22, 11 and 6 of 32, 16 and 8: at most 0.75^2 of each. 27 have 0.71.
    assert found["resolution"] == 22 / 32


@pytest.mark.parametrize("policy", ["depth", "width", "resolution"])
def test_a_rival_that_cannot_reach_the_budget_says_so(structure: Structure, policy: str) -> None:
    found = rival(policy, structure, ORDER, 1e-4)
    assert f"{policy} alone cannot meet the budget 0.0001" in found["unreachable"]
    assert found["policy"] == policy


@pytest.mark.parametrize("budget", [1e-4, 0.01])
def test_an_optimum_that_cannot_be_reached_says_so(structure: Structure, budget: float) -> None:
    found = optimum(SURFACES[0], samples(0.5), structure, budget)
    assert f"no network meets the budget {budget:g}" in found["unreachable"]
    assert "macs" not in found
    json.dumps(found, allow_nan=False)


def test_targets_are_plain_values(structure: Structure) -> None:
    found = optimum(SURFACES[0], samples(0.4), structure, 0.25)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["region"] == [[0.4, 1], [0.4, 1], [0.4, 1]]
    assert found["budget_macs"] == 0.25
    assert found["limits"] == {"macs": 0.25 * DENSE_MACS}
    assert found["extrapolated"] == []


@pytest.mark.parametrize("round_to", [1, 4])
def test_pruning_to_a_target_gives_what_was_promised(
    make_network: Callable[..., nn.Module], round_to: int
) -> None:
    from prune3d.pruning import PruningOptions

    model = make_network("resnet20", size=32)
    structure = analyze(model)
    options = LatticeOptions(width_step=0.01, round_to=round_to)
    target = optimum(SURFACES[1], samples(0.3), structure, 0.3, options)
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
    with pytest.raises(PruningError, match=r"has \d+ macs, above the budget of 1000\."):
        check_delivered(pruned, {**target, "limits": {"macs": 1000}})


def test_several_budgets_hold_together(structure: Structure) -> None:
    parameters = enumerate_candidates(structure, ORDER, OPTIONS).lattice.dense_params
    assert parameters == sum(p.numel() for p in prune3d.build("resnet20", 10, 32).parameters())
    alone = optimum(SURFACES[0], samples(0.3), structure, {"macs": 0.3})
    both = optimum(SURFACES[0], samples(0.3), structure, {"macs": 0.3, "params": 0.15})
    assert alone["params"] > 0.15 * parameters
    assert both["params"] <= 0.15 * parameters
    assert both["macs_ratio"] <= 0.3
    assert both["predicted_accuracy"] < alone["predicted_accuracy"]
    # The same in numbers of their own.
    absolute = {"macs": 0.3 * DENSE_MACS, "params": 0.15 * parameters}
    same = optimum(SURFACES[0], samples(0.3), structure, absolute)
    assert same["index"] == both["index"]
    for policy in ("depth", "width"):
        found = rival(policy, structure, ORDER, {"macs": 0.5, "params": 0.6})
        assert found["macs_ratio"] <= 0.5
        assert found["params"] <= 0.6 * parameters


def product_of(lattice_depth: Any, width: Any, side: Any) -> np.ndarray:
    """Return a latency that is linear in each dimension."""
    return np.multiply.outer(np.multiply.outer(0.2 + lattice_depth, 0.1 + width), side / 32.0)


def test_latency_budgets_use_the_table(structure: Structure) -> None:
    depth, width = np.array([2, 5, 9]) / 9, np.array([0.1, 0.5, 1.0])
    side = np.array([8.0, 20.0, 32.0])
    work = Work(structure, ORDER, 1)
    table = LatencyTable(depth, width, side, product_of(depth, width, side), "a device", work)
    found = optimum(SURFACES[0], samples(0.3), structure, {"latency_ms": 0.5}, latencies=table)
    at = (np.array([found["depth"]]), np.array([found["width_asked"]]))
    expected = table.at(*at, np.array([32 * found["resolution"]]))[0, 0, 0]
    assert found["latency_ms"] == pytest.approx(expected)
    assert 0.97 * 0.5 <= found["latency_ms"] <= 0.5
    part = {"latency": 0.5 / product_of(np.ones(1), np.ones(1), np.array([32.0]))[0, 0, 0]}
    same = optimum(SURFACES[0], samples(0.3), structure, part, latencies=table)
    assert same["index"] == found["index"]
    with pytest.raises(ValueError, match="does not know the dense network's ms"):
        optimum(SURFACES[0], samples(0.3), structure, part)


def test_networks_outside_the_sampled_region_are_chosen_only_when_asked(
    structure: Structure,
) -> None:
    refused = optimum(SURFACES[0], samples(0.7), structure, 0.1)
    assert "sampling a wider region would help" in refused["unreachable"]
    options = OptimumOptions(extrapolate=True)
    found = optimum(SURFACES[0], samples(0.7), structure, 0.1, options_of_optimum=options)
    assert found["extrapolated"]
    for axis in ("depth", "width", "resolution"):
        assert (axis in found["extrapolated"]) == (found[axis] < 0.7 - 1e-9)

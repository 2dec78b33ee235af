"""Networks that are tried before one is chosen."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prune3d
from prune3d.optimize import Budget
from prune3d.optimize.policies import LatticeOptions, enumerate_candidates, optimal_target
from prune3d.optimize.registry import POLICIES
from prune3d.optimize.rerank import (
    NETWORK,
    choose,
    propose,
    ranking,
    spread,
    taken_by,
)
from prune3d.optimize.rivals import Question, rival_target
from prune3d.optimize.rounds import RerankOptions
from prune3d.optimize.target_file import CANDIDATES, OPTIMUM, TRIALS
from prune3d.predictor import LowRankPolynomialRegressor, bootstrap
from prune3d.pruning.analyze import analyze
from prune3d.sampling.table import Samples
from prune3d.train.recipe import Recipe, learning_rate

ORDER = ("layer1.1", "layer2.2", "layer3.1", "layer1.2", "layer2.1", "layer3.2")
AXES = ("depth", "width", "resolution")


def metrics(top1: float, loss: float = 1.0) -> dict[str, Any]:
    return {"selection": {"top1": top1, "loss": loss}, "cost_macs": 7}


NOBODY = {"unreachable": "fewer networks"}


def test_each_point_is_the_farthest_from_those_before_it() -> None:
    points = np.random.default_rng(0).uniform(0.2, 1, (40, 3))
    found = spread(points, 5, 6)
    assert found[0] == 5
    assert len(set(found)) == 6
    for k in range(1, 6):
        nearest = [
            min(np.linalg.norm(np.log(points[i] / points[j])) for j in found[:k]) for i in range(40)
        ]
        assert found[k] == int(np.argmax(nearest))


def test_equal_points_are_taken_once() -> None:
    points = np.array([[0.5, 0.5, 0.5]] * 3 + [[1.0, 0.5, 0.5]] * 2)
    assert spread(points, 1, 5) == [1, 3]


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Return noisy samples of a smooth surface."""
    ratios = np.array(list(itertools.product((1.0, 0.6, 0.34), (1.0, 0.6, 0.3), (1.0, 0.5))))
    noise = np.random.default_rng(1).normal(0, 0.02, len(ratios))
    accuracy = 0.9 - 0.1 * ((1 - ratios) ** 2) @ np.array([1.0, 1.0, 1.5]) + noise
    costs = np.ones(len(ratios), dtype=np.int64)
    return Samples(
        names=tuple(map(str, range(len(ratios)))), ratios=ratios, accuracy=accuracy, cost_macs=costs
    )


@pytest.fixture(scope="module")
def search(samples: Samples) -> dict[str, Any]:
    """Search the networks of a ResNet-20 by these samples."""
    structure = analyze(prune3d.build("resnet20", 10, 32))
    candidates = enumerate_candidates(structure, ORDER, LatticeOptions(0.05, 4, 1))
    ratios, accuracy = samples.ratios, samples.accuracy
    predictor = LowRankPolynomialRegressor().fit(ratios, accuracy)
    budget = Budget.of(0.25)
    refits = bootstrap(predictor, ratios, accuracy, n=100)
    target = optimal_target(predictor, samples, candidates, budget, None, refits)
    return {
        "members": target.pop("members"),
        "target": target,
        "candidates": candidates,
        "budget": budget,
        "predictor": predictor,
    }


def test_the_proposed_are_tied_networks_far_apart_and_the_single_dimensions(
    search: dict[str, Any],
) -> None:
    proposed = propose(**search, count=4)
    target, members = search["target"], search["members"]
    assert {key: proposed[0][key] for key in NETWORK} == {key: target[key] for key in NETWORK}
    tied = {tuple(member["index"]) for member in members}
    places = [tuple(network["index"]) for network in proposed]
    assert len(set(places)) == len(places)
    assert len([place for place in places[:4] if place in tied]) == 4
    lattice = search["candidates"].lattice
    for network in proposed:
        assert network["macs"] == lattice.macs[tuple(network["index"])]
        assert network["macs"] <= 0.25 * lattice.dense_macs
        ratios = [[network[axis] for axis in AXES]]
        predicted = search["predictor"].predict(ratios)[0]
        assert network["predicted_accuracy"] == pytest.approx(predicted, abs=1e-12)
    # Width alone, resolution alone; six of nine blocks, which can go, are not enough for a quarter.
    alone = [n for n in proposed if [n[axis] for axis in AXES].count(1.0) == 2]
    assert {next(axis for axis in AXES if n[axis] < 1) for n in alone} >= {"width", "resolution"}


def test_nothing_is_proposed_where_nothing_is_to_be_tried(search: dict[str, Any]) -> None:
    assert propose(**search, count=0) == []
    unreachable = {**search, "target": {"unreachable": "too small"}}
    assert propose(**unreachable, count=3) == []


def test_the_best_of_the_last_round_is_chosen(search: dict[str, Any], tmp_path: Path) -> None:
    proposed = propose(**search, count=4)
    first = [metrics(0.5 + i / 100) for i in range(len(proposed))]
    first[1] = metrics(0.9)
    first += [NOBODY] * 2
    # The best predicted, though last of the first round, then the two best of that.
    second = [metrics(0.92), metrics(0.91), metrics(0.93)]
    best = proposed[-1]
    optimum, rows = choose(search["target"], proposed, first, second)
    assert {key: optimum[key] for key in NETWORK} == {key: best[key] for key in NETWORK}
    assert optimum["tried_accuracy"] == 0.93
    assert optimum["predicted"]["index"] == search["target"]["index"]
    assert optimum["kkt"] == search["target"]["kkt"]
    assert [row["chosen"] for row in rows] == [0] * len(proposed) + [0, 0, 1]
    assert [row["candidate"] for row in rows if row["round"] == "second"] == [1, 2, len(proposed)]
    TRIALS.write(tmp_path / "trials.csv", rows)
    assert TRIALS.read(tmp_path / "trials.csv") == rows
    OPTIMUM.write(tmp_path / "optimum.json", optimum)
    assert OPTIMUM.read(tmp_path / "optimum.json") == json.loads(json.dumps(optimum))
    limits = search["target"]["limits"]
    CANDIDATES.write(tmp_path / "candidates.json", {"limits": limits, "networks": proposed})
    assert len(CANDIDATES.read(tmp_path / "candidates.json")["networks"]) == len(proposed)


def test_the_policy_without_trials_is_what_the_method_predicted_before_it_tried(
    search: dict[str, Any], samples: Samples
) -> None:
    networks, budget, predictor = (search[key] for key in ("candidates", "budget", "predictor"))
    policy = "dwr_predicted"
    axes = POLICIES[policy].axes
    question = Question(networks, budget, axes, samples=samples, predictor=predictor)
    found = rival_target(policy, question)
    proposed = propose(**search, count=4)
    first = [metrics(0.5 + i / 100) for i in range(len(proposed))]
    optimum, _ = choose(search["target"], proposed, first, [])
    assert optimum["index"] != found["index"]
    assert {key: found[key] for key in NETWORK} == {
        key: optimum["predicted"][key] for key in NETWORK
    }


def test_one_round_alone_and_no_round(search: dict[str, Any]) -> None:
    proposed = propose(**search, count=4)
    first = [metrics(0.5)] * len(proposed)
    first[2] = metrics(0.6)
    optimum, rows = choose(search["target"], proposed, first, [])
    assert optimum["index"] == proposed[2]["index"]
    assert sum(row["chosen"] for row in rows) == 1
    assert choose(search["target"], [], [NOBODY], [NOBODY]) == (search["target"], [])


def test_ranking_goes_by_accuracy_then_loss_then_order() -> None:
    trials = [metrics(0.8, 0.5), NOBODY, metrics(0.9, 0.7), metrics(0.9, 0.6), metrics(0.8, 0.5)]
    assert ranking(trials) == [3, 2, 0, 4]


def test_places_are_taken_by_number_and_then_by_rank() -> None:
    networks = [{"depth": 1.0}, {"depth": 0.5}]
    assert taken_by(2, networks, None) == networks[1]
    assert taken_by(3, networks, None) is None
    networks.append({"depth": 0.2})
    first = [metrics(0.1), metrics(0.2), metrics(0.3), NOBODY]
    assert [taken_by(k, networks, first) for k in (1, 2, 3)] == [networks[i] for i in (0, 2, 1)]
    assert taken_by(4, networks, first) is None


def test_the_best_predicted_that_recovers_late_is_chosen(search: dict[str, Any]) -> None:
    """As (0.53, 0.58, 0.83) of the glyphs: 18.9 % of seed 2 and 68.3 % of seed 1 in two epochs."""
    proposed = propose(**search, count=4)
    first = [metrics(0.65)] * len(proposed)
    first[0] = metrics(0.189)
    optimum, _ = choose(search["target"], proposed, first, [metrics(0.72), metrics(0.68)])
    assert optimum["index"] == search["target"]["index"]


def test_a_round_has_places_for_all_that_may_be_proposed() -> None:
    options = RerankOptions(candidates=4, keep=2, part=0.2)
    assert [options.places(name) for name in ("first", "second")] == [7, 2]
    assert [options.part_of(name) for name in ("first", "second")] == [0.2, 0.4]
    assert RerankOptions(candidates=0).places("first") == 0
    assert RerankOptions(candidates=0).places("second") == 0
    assert RerankOptions(candidates=3, keep=1).places("second") == 0
    assert RerankOptions(candidates=1, keep=9).places("second") == 4


@pytest.mark.parametrize("schedule", ["cosine", "step", "one_cycle"])
def test_a_shortened_recipe_has_the_whole_schedule(schedule: str) -> None:
    recipe = Recipe(epochs=20, warmup_epochs=2.0, learning_rate=0.2, schedule=schedule)
    short = recipe.scaled(0.2)
    assert short.epochs == 4
    for progress in (0, 1, 2, 7, 11, 19, 20):
        assert learning_rate(short, progress / 5) == pytest.approx(learning_rate(recipe, progress))
    assert recipe.scaled(0.01).epochs == 1
    assert recipe.scaled(1.0) == recipe


@pytest.mark.parametrize("schedule", ["cosine", "step", "one_cycle"])
def test_a_shortened_rewinding_has_all_that_the_whole_one_repeats(schedule: str) -> None:
    dense = Recipe(epochs=25, warmup_epochs=2.0, learning_rate=0.2, schedule=schedule)
    recipe = Recipe(epochs=16, schedule="rewind", original=dense)
    short, shorter = recipe.scaled(0.25), recipe.scaled(0.5).scaled(0.25)
    assert (short.epochs, shorter.epochs) == (4, 2)
    for progress in (0.0, 1.5, 4, 9, 15, 16):
        whole = learning_rate(dense, 9 + progress)
        assert learning_rate(short, progress / 4) == pytest.approx(whole)
        assert learning_rate(shorter, progress / 8) == pytest.approx(whole)
    assert recipe.scaled(1.0) == recipe

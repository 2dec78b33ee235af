"""Levels that nobody chose: what the network can have, from 1 to what the budgets need."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from prune3d.costs.levels import auto_levels, stretched
from prune3d.costs.prunable import Prunable
from prune3d.errors import ConfigError
from prune3d.models.registry import MODELS, facts
from prune3d.sampling.tree import AXES, Point, fitted_points, sampling_tree
from prune3d.workflow.config import check_sampling, load_experiments, overlay
from prune3d.workflow.sampling import design_of, last_levels, stretched_points

CONFIG = Path(__file__).resolve().parents[2] / "config"
BASE, SCHEMA = (
    yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
    for name in ("config.yaml", "schema.yaml")
)
ELEVEN = Prunable(11, 3, {"a": 10, "b": 24}, {}, range(5, 25))


def settings(**changes: Any) -> dict[str, Any]:
    base = {"data": {"name": "glyphs", "side": 24}, "sampling": {"levels": 4}}
    experiment = {"x": overlay(base, changes)}
    config = overlay({**BASE, "run": ["x"]}, {"experiments": experiment})
    return load_experiments(config, SCHEMA)["x"]


def test_eleven_blocks_of_which_three_must_stay() -> None:
    levels = auto_levels("depth", 4, 0.25, ELEVEN)
    # 9, 7, 5 and 3 blocks.
    assert [round(level * 11, 1) for level in levels] == pytest.approx([9, 7, 5, 3], abs=0.1)
    assert min(level * 11 for level in levels) > 2.5  # or the strict reading would refuse it
    assert [ELEVEN.depth(level) for level in levels] == [9 / 11, 7 / 11, 5 / 11, 3 / 11]


@pytest.mark.parametrize("macs", [0.7, 0.25, 0.125, 0.01])
@pytest.mark.parametrize("name", MODELS)
def test_every_level_of_every_model_is_another_network(name: str, macs: float) -> None:
    known = facts(name)
    assert known is not None
    prunable = Prunable.of_facts(known, max(32, known.image_size))
    for axis in AXES:
        levels = auto_levels(axis, 4, macs, prunable)
        strict = {"depth": prunable.depth, "resolution": prunable.resolution}
        made = [
            prunable.width(level, 1) if axis == "width" else strict[axis](level) for level in levels
        ]
        assert all(1 > high > low for high, low in pairwise(made))
        assert len(levels) >= min(4, known.removable if axis == "depth" else 4)


@pytest.mark.parametrize(("axis", "power"), [("depth", 1), ("width", 2), ("resolution", 2)])
def test_the_last_level_meets_the_smallest_budget_alone(axis: str, power: int) -> None:
    large = Prunable(100, 1, {"a": 1000}, {}, range(1, 1001))
    for macs in (0.25, 0.15):
        assert auto_levels(axis, 4, macs, large)[-1] ** power <= macs


def test_levels_of_a_small_budget_leave_something_to_train() -> None:
    large = Prunable(100, 1, {"a": 1000}, {}, range(1, 1001))
    assert [auto_levels(axis, 4, 1e-4, large)[-1] for axis in AXES] == [0.1, 0.25, 0.3]


def test_what_cannot_be_pruned_has_no_levels() -> None:
    rigid = Prunable(6, 6, {}, {}, [32])
    assert [auto_levels(axis, 4, 0.25, rigid) for axis in AXES] == [(), (), ()]


def test_the_default_design_of_a_registered_model() -> None:
    given = settings(model={"name": "resnet20"})
    design = design_of(given)
    assert len(fitted_points(design)) == 13 and len(design.holdout) == 3
    assert stretched_points(given, design) == frozenset()
    assert min(design.depth) * 9 == pytest.approx(2, abs=0.05)  # 0.225 of nine blocks


def test_levels_given_by_hand_stay_as_they_are() -> None:
    sampling = {"depth": [0.67, 0.33], "holdout": [], "levels": 3}
    given = settings(model={"name": "resnet20"}, sampling=sampling, predictor={"degree": 2})
    design = design_of(given)
    assert design.depth == (0.67, 0.33) and design.holdout == ()
    assert len(design.width) == len(design.resolution) == 3


def test_held_out_networks_are_no_samples() -> None:
    given = settings(model={"name": "resnet20"}, sampling={"design": "grid"})
    nodes = sampling_tree(design_of(given)).nodes
    assert len(nodes) == 5**3 + sum(node.role == "holdout" for node in nodes.values())


@pytest.mark.parametrize(("blocks", "fewest"), [(11, 3), (15, 7), (16, 1), (16, 12), (5, 1)])
def test_an_unknown_network_gets_as_many_levels_down_to_its_smallest(
    blocks: int, fewest: int
) -> None:
    given = settings(model={"name": "timm/resnet18"})
    found = Prunable(blocks, fewest, {"a": 10, "b": 24}, {}, range(5, 25))
    check_sampling("x", given, found)
    design, last = design_of(given), last_levels(given)
    points = [*fitted_points(design), *design.holdout]
    assert stretched_points(given, design) == set(points)
    made = {stretched(point, last, found) for point in points}
    assert len(made) == len(points) == 16
    assert min(depth for depth, _, _ in made) == max(fewest, round(0.225 * blocks)) / blocks


def test_what_is_given_beside_auto_levels_is_taken_as_it_is() -> None:
    sampling = {"depth": [0.82, 0.55, 0.27], "points": [[0.5, 0.5, 1]], "holdout": [[0.7, 1, 1]]}
    given = settings(model={"name": "timm/resnet18"}, sampling=sampling)
    design, last = design_of(given), last_levels(given)
    assert not stretched_points(given, design) & {*design.points, *design.holdout}
    assert last["depth"] is None
    assert stretched(Point(0.27, 1.0, 1.0), last, ELEVEN) == (3 / 11, 1.0, 1.0)


@pytest.mark.parametrize("blocks, fewest, depths", [(4, 2, 3), (3, 2, 2), (6, 6, 1)])
def test_an_unknown_network_with_few_blocks_is_sampled_at_those_that_it_has(
    blocks: int, fewest: int, depths: int
) -> None:
    given = settings(model={"name": "timm/resnet18"})
    few = Prunable(blocks, fewest, {"a": 10, "b": 24}, {}, range(5, 25))
    check_sampling("x", given, few)
    last = last_levels(given)
    made = {stretched(point, last, few) for point in fitted_points(design_of(given))}
    assert {depth for depth, _, _ in made} == {n / blocks for n in range(blocks, fewest - 1, -1)}
    assert len(made) == 1 + (depths - 1) + 4 + 4


def test_a_registered_network_with_few_blocks_is_sampled_with_the_defaults() -> None:
    given = settings(model={"name": "resnet8"}, budgets=[{"name": "half", "macs": 0.5}])
    points = fitted_points(design_of(given))
    assert {point.depth for point in points} == {1.0, 0.67}


def test_levels_that_are_too_few_though_there_are_more_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"has 3 depth levels but degree 3 needs at least 4"):
        settings(model={"name": "resnet20"}, sampling={"levels": 2})


@pytest.mark.parametrize("design", ["optimal", "list"])
def test_greedy_needs_samples_of_each_dimension_that_there_is(design: str) -> None:
    points = [[0.5, 1, 1], [1, 0.5, 1], [1, 1, 0.5], [0.7, 0.7, 0.7]]
    sampling = {"design": design, "points": points if design == "list" else [], "count": 10}
    change = {
        "model": {"name": "timm/resnet18"},
        "sampling": {**sampling, "holdout": []},
        "predictor": {"degree": 1 if design == "list" else 3},
        "policies": ["dwr", "greedy"],
        "optimum": {"extrapolate": True},
    }
    if design == "list":
        check_sampling("x", settings(**change), ELEVEN)
        change["sampling"]["points"] = points[1:]
    with pytest.raises(ConfigError, match=r"'x', sampling: the policy greedy .* none of (\w+);"):
        check_sampling("x", settings(**change), ELEVEN)
    check_sampling("x", settings(**{**change, "policies": ["dwr"]}), ELEVEN)


def test_greedy_needs_no_samples_of_a_dimension_that_the_network_has_not() -> None:
    rigid = Prunable(11, 11, {"a": 10, "b": 24}, {}, range(5, 25))
    given = settings(model={"name": "timm/resnet18"}, policies=["dwr", "greedy"])
    check_sampling("x", given, rigid)


def test_samples_that_do_not_reach_a_budget_are_refused_with_the_ends() -> None:
    sampling = {"depth": [0.9, 0.8, 0.7], "width": [0.9, 0.8, 0.7], "resolution": [0.9, 0.8, 0.7]}
    small = [{"name": "tiny", "macs": 0.05}]
    change = {"model": {"name": "resnet56"}, "sampling": sampling, "budgets": small}
    with pytest.raises(ConfigError, match=r"budget 'tiny' asks for 0\.05; add levels down to"):
        settings(**change)
    settings(**change, optimum={"extrapolate": True})
    settings(**{**change, "budgets": [{"name": "half", "macs": 0.5}]})

"""Moving depth, width and resolution along an estimated gradient of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

import prune3d
from prune3d.data.images import ImageSet, ImageSplits
from prune3d.models.lineage import Step, set_lineage
from prune3d.optimize import Budget
from prune3d.optimize.descent import PLANE, STEPS, Surface, joint_gradient
from prune3d.optimize.policies import Candidates, LatticeOptions, enumerate_candidates
from prune3d.optimize.registry import CHOOSING, JUDGING, POLICIES
from prune3d.optimize.rivals import Question, rival_target
from prune3d.pruning.analyze import analyze
from prune3d.pruning.one_shot import OneShot
from prune3d.pruning.options import PruningOptions
from prune3d.train.evaluate import evaluate

ORDER = [f"layer{s}.{b}" for b in (2, 1) for s in (1, 3, 2)] + ["layer1.0"]
MOST = 5 * STEPS + 1


@pytest.fixture(scope="module")
def networks() -> Candidates:
    structure = analyze(prune3d.build("resnet20", 10, 32))
    return enumerate_candidates(structure, ORDER, LatticeOptions(width_step=0.01))


class Bowl:
    """A loss that is least at one place and grows with the squared distance in logarithms."""

    def __init__(self, *least: float, slope: float = 1.0) -> None:
        self.least, self.slope = np.log(least), slope
        self.judged: list[tuple[float, float, float]] = []

    def at(self, ratios: np.ndarray) -> np.ndarray:
        return self.slope * ((np.log(ratios) - self.least) ** 2).sum(-1)

    def __call__(self, network: Mapping[str, Any]) -> float:
        ratios = (network["depth"], network["width"], network["resolution"])
        self.judged.append(ratios)
        return float(self.at(np.array(ratios)))


def question(networks: Candidates, budget: float, loss: Any, seed: int = 0) -> Question:
    return Question(networks, Budget.of(budget), seed=seed, loss=loss)


@pytest.mark.parametrize("budget", [0.5, 0.25, 0.125])
@pytest.mark.parametrize("least", [(0.9, 0.5, 0.8), (0.35, 0.9, 0.7), (0.8, 0.8, 0.4)])
def test_it_comes_near_the_least_loss_within_the_budget(
    networks: Candidates, budget: float, least: tuple[float, float, float]
) -> None:
    bowl, lattice = Bowl(*least), networks.lattice
    found = rival_target("joint_gradient", question(networks, budget, bowl))
    assert 0.97 * budget <= found["macs_ratio"] <= budget
    assert len(bowl.judged) == len(set(bowl.judged)) <= MOST
    used = lattice.macs.ravel() / lattice.dense_macs
    within = np.flatnonzero((used <= budget) & (used >= 0.97 * budget))
    losses = bowl.at(lattice.points(within))
    own = float(bowl.at(np.array([found[axis] for axis in ("depth", "width", "resolution")])))
    # It starts with equal thirds, and must win most of what there is to win.
    start = float(bowl.at(np.array(bowl.judged[0])))
    assert own == min(float(bowl.at(np.array(place))) for place in bowl.judged)
    assert own - losses.min() <= 0.25 * (start - losses.min()) + 0.01


def test_the_same_seed_judges_the_same_networks(networks: Candidates) -> None:
    runs = []
    for seed in (0, 0, 1):
        bowl = Bowl(0.9, 0.5, 0.8)
        joint_gradient(question(networks, 0.25, bowl, seed))
        runs.append(bowl.judged)
    assert runs[0] == runs[1] != runs[2]


def test_directions_leave_the_cost_as_it_is() -> None:
    assert np.allclose(PLANE @ np.array([1, 2, 2]), 0) and np.allclose(PLANE @ PLANE.T, np.eye(2))


def test_the_gradient_is_that_of_the_loss_along_the_budget(networks: Candidates) -> None:
    tilt = np.array([0.3, -0.5, 0.9])

    def loss(network: Mapping[str, Any]) -> float:
        ratios = [network["depth"], network["width"], network["resolution"]]
        return float(np.log(ratios) @ tilt)

    surface = Surface(question(networks, 0.25, loss))
    place = surface.nearest(np.log([0.63, 0.79, 0.79]))
    expected = PLANE.T @ PLANE @ tilt
    for angle in (0.0, 0.7):
        found = surface.gradient(place, angle)
        cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
        assert cosine > 0.9
        assert 0.6 < np.linalg.norm(found) / np.linalg.norm(expected) < 1.6


@pytest.mark.parametrize("worst", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_the_worst(networks: Candidates, worst: float) -> None:
    bowl = Bowl(0.9, 0.5, 0.8)

    def loss(network: Mapping[str, Any]) -> float:
        value = bowl(network)
        return worst if network["depth"] < 0.7 and len(bowl.judged) > 1 else value

    found = joint_gradient(question(networks, 0.25, loss))
    assert found.depth >= 0.7 or len(bowl.judged) == 1


def test_a_flat_loss_ends_at_the_start(networks: Candidates) -> None:
    judged = []
    found = joint_gradient(question(networks, 0.25, lambda network: judged.append(network) or 1.0))
    assert found.macs <= 0.25 * networks.lattice.dense_macs and 1 < len(judged) <= 5


def test_a_budget_that_no_network_meets_is_told(networks: Candidates) -> None:
    bowl = Bowl(1.0, 1.0, 1.0)
    found = rival_target("joint_gradient", question(networks, 1e-6, bowl))
    assert "no network meets the budget" in found["unreachable"] and bowl.judged == []


def test_every_policy_that_finds_a_network_is_chosen_by_one_kind_of_job() -> None:
    assert JUDGING == ("joint_gradient",)
    assert sorted((*CHOOSING, *JUDGING)) == sorted(n for n, p in POLICIES.items() if p.find)


def random_images(count: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 16, 16), generator=generator)
    return ImageSet(pixels.byte(), torch.arange(count) % 10, (0.5,) * 3, (0.25,) * 3)


def test_networks_are_judged_with_the_dense_weights_and_all_passes_are_billed(
    make_network: Any,
) -> None:
    model = make_network("resnet14")
    set_lineage(model, [Step("train", 1000, 10**6, "dense")])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = ImageSplits(random_images(40, 0), random_images(24, 1))
    options = PruningOptions(channel_criterion="l2", probe_images=32, round_to=2)
    order = ["layer1.1", "layer2.1"]
    judge = OneShot(model, options, images, order)
    expected_cost = 0
    for target in ((1.0, 0.5, 1.0), (0.67, 0.75, 0.75)):
        named = dict(zip(("depth", "width_asked", "resolution"), target, strict=True))
        loss = judge.loss(named)
        pruned = prune3d.prune(model, *target, options=options, images=images, removal_order=order)
        assert loss == evaluate(pruned, images.selection)["loss"]
        # Statistics of 32 images, and 24 that judge; L2 norms look at no image.
        expected_cost += (32 + 24) * prune3d.cost(pruned).macs
    assert judge.cost_macs == expected_cost
    assert (judge.networks, judge.image_passes) == (2, 2 * (32 + 24))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name

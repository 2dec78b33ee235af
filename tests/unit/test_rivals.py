"""What rivals prune to, against searches over all networks and the published rules."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import prune3d
from prune3d.costs.lattice import Lattice
from prune3d.costs.structure import Structure
from prune3d.costs.structure_file import BLOCKS, write_structure
from prune3d.costs.work import Work
from prune3d.optimize import Budget
from prune3d.optimize.policies import (
    Candidates,
    LatticeOptions,
    enumerate_candidates,
    read_candidates,
)
from prune3d.optimize.predictor_file import PREDICTOR
from prune3d.optimize.registry import DENSE_LONGER, DRAWN, POLICIES
from prune3d.optimize.rivals import (
    Question,
    finder_of,
    read_search,
    rival_target,
    sensitivities,
)
from prune3d.optimize.surrogate import Settings, fit_both
from prune3d.pruning.analyze import analyze
from prune3d.pruning.latency import LATENCIES
from prune3d.sampling.table import SAMPLES, Samples
from prune3d.workflow.config import load_experiments, overlay
from prune3d.workflow.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
ORDER = [f"layer{s}.{b}" for b in (2, 1) for s in (1, 3, 2)] + ["layer1.0"]
AXES = ("depth", "width", "resolution")
BUDGETS = [0.6, 0.25, 0.125]


class Product:
    """A product of powers, as a predictor; its best point is found with pencil and paper."""

    def __init__(self, *exponents: float) -> None:
        self.exponents = np.array(exponents)

    def predict(self, X: Any) -> np.ndarray:
        return np.asarray(np.prod(np.asarray(X) ** self.exponents, axis=1))


@pytest.fixture(scope="module")
def structure() -> Structure:
    """Return what of a ResNet-20 can be pruned."""
    return analyze(prune3d.build("resnet20", 10, 32))


@pytest.fixture(scope="module")
def networks(structure: Structure) -> Candidates:
    return enumerate_candidates(structure, ORDER, LatticeOptions(width_step=0.01))


def samples(*rows: tuple[float, float, float, float]) -> Samples:
    table = np.array([(1.0, 1.0, 1.0, 0.9), *rows])
    names = tuple(f"d{100 * d:g}_w{100 * w:g}_r{100 * r:g}" for d, w, r, _ in table)
    macs_ratio = np.prod(table[:, :3] ** np.array([1, 2, 2]), axis=1)
    costs = np.arange(1.0, len(table) + 1)
    return Samples(names, table[:, :3], table[:, 3], costs, macs_ratio)


def ratios(target: dict[str, Any]) -> np.ndarray:
    return np.array([target[axis] for axis in AXES])


def asked(policy: str, networks: Candidates, budget: float, **more: Any) -> dict[str, Any]:
    question = Question(networks, Budget.of(budget), POLICIES[policy].axes, **more)
    target = rival_target(policy, question)
    json.dumps(target, allow_nan=False)
    return target


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize(
    ("policy", "factors"),
    [
        # T = 1/64, each dimension a quarter of which its part of d w^2 r^2 is.
        ("uniform", (1 / 4, 1 / 2, 1 / 2)),
        ("compound", (1 / 1.2, 1 / 1.1, 1 / 1.15)),
        ("fast_compound", (0.5**0.1, 0.5**0.4, 0.5**0.05)),
    ],
)
def test_a_rule_uses_the_budget_with_the_ratios_nearest_to_its_own(
    networks: Candidates, policy: str, factors: tuple[float, ...], budget: float
) -> None:
    found = asked(policy, networks, budget)
    assert 0.97 * budget <= found["macs_ratio"] <= budget
    # Every network of the budget against a fine grid of the rule's own points.
    lattice = networks.lattice
    used = lattice.macs / lattice.dense_macs
    full = np.flatnonzero((used >= 0.97 * budget) & (used <= budget))
    points = np.log(lattice.points(full))
    rule = np.outer(np.linspace(0, 12, 6001), np.log(factors))

    def distance(point: np.ndarray) -> float:
        return float(np.linalg.norm(rule - point, axis=1).min())

    best = min(map(distance, points))
    assert distance(np.log(ratios(found))) == pytest.approx(best, abs=1e-4)
    # Depth is in ninths: the network is no further from the rule than a block or so.
    assert best < 0.12


def test_fast_compound_scaling_changes_the_width_most(networks: Candidates) -> None:
    """T^0.1, T^0.4 and T^0.05 are exponents of the cost: at a quarter 0.87, 0.57 and 0.93."""
    assert ratios(asked("fast_compound", networks, 0.25)) == pytest.approx(
        [0.87, 0.57, 0.93], abs=0.06
    )


@pytest.mark.parametrize("round_to", [1, 8])
@pytest.mark.parametrize("policy", ["uniform", "compound", "fast_compound", "tinynet", *DRAWN])
def test_rules_work_on_coarse_lattices_and_for_other_budgets(
    structure: Structure, policy: str, round_to: int
) -> None:
    candidates = enumerate_candidates(
        structure, ORDER[:2], LatticeOptions(width_step=0.25, side_step=8, round_to=round_to)
    )
    for budget in ({"macs": 0.3}, {"params": 0.4}, {"macs": 0.5, "params": 0.2}):
        question = Question(candidates, Budget.of(budget))
        target = rival_target(policy, question)
        parts = [
            target[name] / whole
            for name, whole in (
                ("macs", candidates.lattice.dense_macs),
                ("params", candidates.lattice.dense_params or 0),
            )
            if name in budget
        ]
        assert max(np.array(parts) / [budget[k] for k in ("macs", "params") if k in budget]) <= 1
    unreachable = rival_target(policy, Question(candidates, Budget.of(0.001)))
    assert unreachable["unreachable"].startswith("no network meets the budget 0.001")


@pytest.mark.parametrize(
    ("macs", "depth", "side"),
    # TinyNet-C, -D and -E of EfficientNet-B0's 387 million and 224 pixels, as published.
    [(100 / 387, 0.85, 184), (52 / 387, 0.695, 152), (24 / 387, 0.6, 106)],
)
def test_tinynets_depth_and_side_at_the_published_costs(
    networks: Candidates, macs: float, depth: float, side: int
) -> None:
    found = asked("tinynet", networks, macs)
    assert found["depth"] == pytest.approx(depth, abs=1 / 18)
    # Depth is in ninths, sides in 32nds, and they are weighed against each other.
    assert found["resolution"] == pytest.approx(side / 224, abs=0.05)
    assert 0.97 * macs <= found["macs_ratio"] <= macs


def test_tinynets_are_interpolated_in_the_logarithms(networks: Candidates) -> None:
    between = (100 * 52) ** 0.5 / 387
    found = asked("tinynet", networks, between)
    assert found["depth"] == pytest.approx((0.85 * 0.695) ** 0.5, abs=1 / 18)
    assert found["resolution"] == pytest.approx((184 * 152) ** 0.5 / 224, abs=1 / 32)
    # What is deepened there is left as deep as it is here.
    assert asked("tinynet", networks, 0.8)["depth"] == 1


def test_fitted_tinynets_follow_the_samples_that_none_beats(networks: Candidates) -> None:
    """Samples of which the deep ones are never beaten: no block goes."""
    rows = [(1.0, w, r, 0.9 - 0.1 * (1 - w * r)) for w in (0.8, 0.5, 0.3) for r in (0.9, 0.7, 0.5)]
    rows += [(d, w, 1.0, 0.3) for d in (0.7, 0.4) for w in (0.9, 0.6)]
    found = asked("tinynet_fitted", networks, 0.25, samples=samples(*rows))
    assert found["depth"] == 1
    assert 0.97 * 0.25 <= found["macs_ratio"] <= 0.25


def test_fitted_tinynets_go_by_the_measured_cost_of_the_samples(networks: Candidates) -> None:
    """Depth falls with the cost; where networks cost half of d w^2 r^2 more of it is left."""
    known = samples(*((d, 0.9, 0.9, 0.9 - 0.3 * (1 - d)) for d in np.linspace(0.95, 0.25, 12)))
    assert known.macs_ratio is not None
    halved = np.where(known.macs_ratio < 1, known.macs_ratio / 2, 1)
    cheaper = replace(known, macs_ratio=halved)
    by_formula, measured = (
        asked("tinynet_fitted", networks, 0.25, samples=one)["depth"] for one in (known, cheaper)
    )
    # A depth of 0.25 / 0.9^4 = 0.38, and of twice that; it is in ninths.
    assert by_formula == pytest.approx(0.38, abs=0.06)
    assert measured == pytest.approx(0.76, abs=0.06)
    with pytest.raises(ValueError, match="MACs"):
        asked("tinynet_fitted", networks, 0.25, samples=replace(known, macs_ratio=None))


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("left_alone", [0, 1, 2])
def test_two_dimensions_are_the_best_predicted_with_the_third_left_alone(
    networks: Candidates, left_alone: int, budget: float
) -> None:
    policy = "_".join(axis for i, axis in enumerate(AXES) if i != left_alone)
    predictor = Product(0.1, 0.3, 0.2)
    known = samples((0.2, 0.2, 0.2, 0.5))
    found = asked(policy, networks, budget, samples=known, predictor=predictor)
    lattice = networks.lattice
    best = 0.0
    for index in np.ndindex(lattice.macs.shape):
        d, w, s = index
        point = np.array([lattice.depth[d], lattice.width[d, w], lattice.resolution[s]])
        used = lattice.macs[index] / (budget * lattice.dense_macs)
        if 0.97 <= used <= 1 and point[left_alone] == 1 and point.min() >= 0.2:
            best = max(best, float(predictor.predict(point[None])[0]))
    assert ratios(found)[left_alone] == 1
    assert found["predicted_accuracy"] == pytest.approx(best, abs=1e-12)
    assert 0.97 * budget <= found["macs_ratio"] <= budget


def test_two_dimensions_that_cannot_reach_the_budget_say_so(networks: Candidates) -> None:
    known = samples((0.5, 0.9, 0.9, 0.5))
    found = asked("depth_width", networks, 0.1, samples=known, predictor=Product(1, 1, 1))
    assert "no network meets the budget 0.1 of the dense MACs" in found["unreachable"]


def test_a_table_of_sensitivity_never_falls_and_keeps_the_least_ratio() -> None:
    known = samples(
        (0.8, 1.0, 1.0, 0.92),  # better than the dense network: no loss
        (0.6, 1.0, 1.0, 0.85),
        (0.4, 1.0, 1.0, 0.87),  # no worse than the one before it: as far as that loss goes
        (1.0, 0.5, 1.0, 0.70),
        (0.5, 0.5, 1.0, 0.10),  # shrinks two
    )
    tables = sensitivities(known)
    assert list(tables) == ["depth", "width"]
    assert tables["depth"] == pytest.approx(np.array([[0.0, 0.8], [0.05, 0.4]]))
    assert tables["width"] == pytest.approx(np.array([[0.0, 1.0], [0.2, 0.5]]))


@pytest.mark.parametrize("budget", BUDGETS)
def test_greedy_meets_the_budget_at_one_threshold(networks: Candidates, budget: float) -> None:
    """Losses linear in each ratio, so that the threshold is found by bisection by hand."""
    slopes = np.array([0.2, 0.4, 0.8])
    rows = []
    for i, slope in enumerate(slopes):
        for ratio in (0.6, 0.2):
            point = np.ones(3)
            point[i] = ratio
            rows.append((*point, 0.9 - slope * (1 - ratio)))
    found = asked("greedy", networks, budget, samples=samples(*rows))
    assert 0.97 * budget <= found["macs_ratio"] <= budget
    low, high = 0.0, 0.7
    for _ in range(60):
        middle = (low + high) / 2
        d, w, r = np.maximum(0.2, 1 - middle / slopes)
        low, high = (middle, high) if d * w**2 * r**2 > budget else (low, middle)
    # The network's own cost is not quite d w^2 r^2, and depth is in ninths.
    assert ratios(found) == pytest.approx(np.maximum(0.2, 1 - low / slopes), abs=0.12)


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_greedy_trades_the_dimensions_that_there_are(networks: Candidates, lacking: int) -> None:
    """Without blocks, channels or other sides the threshold of the other two is found by hand."""
    lattice = networks.lattice
    taken = [slice(None)] * 3
    taken[lacking] = slice(0, 1)
    depths, widths, sides = taken
    fewer = replace(
        lattice,
        depth=lattice.depth[depths],
        width=lattice.width[depths, widths],
        resolution=lattice.resolution[sides],
        macs=lattice.macs[depths, widths, sides],
        params=lattice.params[depths, widths],
    )
    slopes = np.array([0.2, 0.4, 0.8])
    alone = np.eye(3)[[i for i in range(3) if i != lacking]]
    rows = [(*(1 - 0.8 * axis), 0.9 - 0.8 * float(slopes @ axis)) for axis in alone]
    found = asked("greedy", Candidates(fewer, networks.widths[widths]), 0.5, samples=samples(*rows))
    assert 0.97 * 0.5 <= found["macs_ratio"] <= 0.5
    low, high = 0.0, 0.7
    for _ in range(60):
        middle = (low + high) / 2
        point = np.where(np.arange(3) == lacking, 1, np.maximum(0.2, 1 - middle / slopes))
        low, high = (middle, high) if cost(point) > 0.5 else (low, middle)
    assert ratios(found) == pytest.approx(point, abs=0.12)


def cost(point: np.ndarray) -> float:
    return float(np.prod(point ** np.array([1, 2, 2])))


def test_greedy_does_not_take_a_failed_sample_for_a_loss(
    networks: Candidates, tmp_path: Path
) -> None:
    """As if it had never been sampled: read from files of a run in which one width failed."""
    rows = []
    for axis, slope in enumerate((0.2, 0.4, 0.8)):
        for ratio in (0.8, 0.6, 0.4, 0.2):
            point = [100.0, 100.0, 100.0]
            point[axis] = 100 * ratio
            rows.append((*(x / 100 for x in point), 0.9 - slope * (1 - ratio)))
    clean = samples(*rows)
    wreck = clean.names[5]  # the widest of those that are narrower
    tables = []
    for name, known in (
        ("spoilt", replace(clean, accuracy=np.where(np.arange(13) == 5, 0.05, clean.accuracy))),
        ("clean", clean.without([wreck])),
    ):
        table, predictor = tmp_path / f"{name}.csv", tmp_path / f"{name}.json"
        write_samples(table, known)
        PREDICTOR.write(
            predictor, fit_both(known, Settings("low_rank", 2, 1, 1e-2, "none", "robust"))
        )
        tables.append(read_search(str(table), str(predictor))[0])
    assert tables[0] is not None and wreck not in tables[0].names
    found = [asked("greedy", networks, 0.25, samples=table) for table in tables]
    assert found[0] == found[1]
    spoilt, _ = read_search(str(tmp_path / "spoilt.csv"), None)
    assert found[0] != asked("greedy", networks, 0.25, samples=spoilt)


def write_samples(path: Path, known: Samples) -> None:
    assert known.macs_ratio is not None
    columns = zip(known.names, known.ratios, known.accuracy, known.macs_ratio, strict=True)
    rows = [
        {"point": name, **dict(zip(AXES, map(float, own), strict=True)), "accuracy": float(top1)}
        | {"macs_ratio": float(ratio), "macs": 100, "params": 10, "image_passes": 1, "cost_macs": 1}
        for name, own, top1, ratio in columns
    ]
    SAMPLES.write(path, rows)


def test_other_blocks_at_the_optimum_cost_as_much_as_the_method(
    structure: Structure, networks: Candidates
) -> None:
    index = (3, 30, 10)
    lattice = networks.lattice
    optimum = {
        "depth": lattice.depth[3],
        "resolution": lattice.resolution[10],
        "macs": int(lattice.macs[index]),
    }
    budget = lattice.macs[index] / lattice.dense_macs + 0.002
    order = ["layer1.0", "layer2.2", "layer1.1", "layer3.1"]
    others = enumerate_candidates(structure, order, LatticeOptions(width_step=0.01))
    found = asked("random_blocks", others, budget, optimum=optimum)
    assert found["removal_order"] == order
    assert [found["depth"], found["resolution"]] == [optimum["depth"], optimum["resolution"]]
    costs = others.lattice.macs[3, :, 10]
    apart = np.abs(costs[costs <= budget * lattice.dense_macs] - optimum["macs"])
    assert abs(found["macs"] - optimum["macs"]) == apart.min()
    none = asked("random_blocks", others, budget, optimum={"unreachable": "there is none"})
    assert none["unreachable"] == "there is none"


def test_blocks_are_shuffled_by_a_seed(structure: Structure, tmp_path: Path) -> None:
    file = tmp_path / "structure.json"
    write_structure(file, structure)
    orders = [
        read_candidates(LatticeOptions(), str(file), None, None, seed).removal_order
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == set(orders[2]) == set(structure.removable)


@pytest.mark.parametrize("policy", ["width", "depth", "width_resolution", "random_blocks"])
def test_all_policies_foretell_the_same_times(policy: str, tmp_path: Path) -> None:
    """Times that follow from the work of layers are foretold without error."""
    structure = analyze(prune3d.build("cifar_mobilenet_v2", 10, 32), [8, 16, 24, 32])
    order = sorted(structure.removable)[::-1]
    files = {name: str(tmp_path / f"{name}.json") for name in ("structure", "blocks")}
    write_structure(files["structure"], structure)
    BLOCKS.write(files["blocks"], {"removal_order": order, "image_passes": 1, "cost_macs": 1})
    work = Work(structure, order, 8)
    depths = [(structure.blocks - gone) / structure.blocks for gone in (0, 3, len(order))]
    levels = np.array(depths), np.array([0.25, 0.5, 0.75, 1.0]), np.array([8.0, 16.0, 32.0])
    largest = work.at(np.ones(1), np.ones(1), np.array([32.0]))[0, 0, 0]
    ms = np.random.default_rng(0).uniform(0.1, 1, len(largest)) / largest
    known = {"device": "this one", "threads": 1, "batch_size": 1, "runs": 3, "role": "grid"}
    times = (work.at(*levels) @ ms).ravel()
    rows = [
        {"depth": d, "width": w, "side": int(s), "latency_ms": float(own), **known}
        for (d, w, s), own in zip(itertools.product(*levels), times, strict=True)
    ]
    LATENCIES.write(tmp_path / "latency.csv", rows)
    # What the rule gives this policy.
    one = Experiment("digits", load_experiments(timed_config(policy), SCHEMA)["digits"], (0,))
    settings = one.rival("time", policy)
    found = read_candidates(
        LatticeOptions(*(settings[field.name] for field in fields(LatticeOptions))),
        files["structure"],
        files["blocks"] if one.target_blocks("0", "time", policy) else None,
        str(tmp_path / "latency.csv"),
        5 if POLICIES[policy].is_shuffling_blocks else None,
    )
    own = Work(structure, found.removal_order, 8)
    expected = own.at(found.lattice.depth, found.widths, 32 * found.lattice.resolution) @ ms
    np.testing.assert_allclose(found.lattice.latency_ms, expected, rtol=1e-6)


def timed_config(policy: str) -> dict[str, Any]:
    """Return the shipped config with a budget of latency, coarse lattices and multiples of 8."""
    shipped = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    change = {
        "policies": ["dwr", policy],
        "budgets": [{"name": "time", "latency": 0.5}],
        "lattice": {"width_step": 0.2, "side_step": 1},
        "pruning": {"round_to": 8},
    }
    defaults = overlay(shipped["defaults"], change)
    return {**shipped, "defaults": defaults, "experiments": {"digits": None}}


def test_random_points_are_drawn_anew_for_each_seed_and_the_same_again(
    networks: Candidates,
) -> None:
    lowest = (0.3, 0.3, 0.5)
    drawn = [
        asked("random_point1", networks, 0.25, seed=seed, lowest=lowest) for seed in range(300)
    ]
    again = asked("random_point1", networks, 0.25, seed=7, lowest=lowest)
    assert again == drawn[7]
    points = np.array([ratios(target) for target in drawn])
    assert (points >= np.array(lowest) - 1e-9).all()
    used = np.array([target["macs_ratio"] for target in drawn])
    assert ((used >= 0.97 * 0.25) & (used <= 0.25)).all()
    # All pairs of depth and side that reach the budget at some width inside, about as often.
    lattice = networks.lattice
    ratio = lattice.macs / lattice.dense_macs
    inside = (lattice.width >= 0.3)[:, :, None] & (lattice.resolution >= 0.5)
    inside &= (lattice.depth >= 0.3)[:, None, None]
    pairs = ((ratio >= 0.97 * 0.25) & (ratio <= 0.25) & inside).any(axis=1)
    depths = {float(lattice.depth[d]) for d in np.flatnonzero(pairs.any(axis=1))}
    assert {float(d) for d in points[:, 0]} == depths
    expected = pairs.sum(axis=1) / pairs.sum()
    for share, depth in zip(expected, lattice.depth, strict=True):
        assert np.mean(points[:, 0] == depth) == pytest.approx(share, abs=0.1)


def test_networks_without_blocks_or_channels_leave_rules_what_is_there() -> None:
    """One level of depth and of width: every rule changes the image side alone."""
    sides = np.arange(32, 0, -1)
    macs = (1000 * sides**2).reshape(1, 1, -1)
    one = np.ones((1, 1))
    lattice = Lattice(one[0], one, sides / 32, macs, 1000 * one.astype(int), 1000 * 32**2, 1000)
    for policy in ("uniform", "compound", "fast_compound", "tinynet", *DRAWN):
        found = asked(policy, Candidates(lattice, one[0]), 0.25)
        assert ratios(found).tolist() == [1, 1, 0.5]


def test_every_policy_has_a_finder_a_place_in_the_docs_and_in_the_schema() -> None:
    text = (ROOT / "config/schema.yaml").read_text()
    listed = re.search(r"      policies:\n.*?enum:\n((?:            - \w+\n)+)", text, re.DOTALL)
    assert listed is not None
    names = re.findall(r"- (\w+)", listed.group(1))
    assert names == [*POLICIES, DENSE_LONGER]
    docs = (ROOT / "docs/policies.md").read_text()
    undocumented = [n for n in names if f"`{n}`" not in docs and n not in DRAWN]
    assert not undocumented
    for policy in POLICIES.values():
        assert policy.source
        assert policy.is_at_optimum or callable(finder_of(policy))

"""The search over a lattice against loops in plain Python."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from prune3d.costs.lattice import Lattice
from prune3d.optimize import Budget, BudgetError, largest_within, maximize
from prune3d.predictor import LowRankPolynomialRegressor, bootstrap


class Surface:
    """Predictor with the values of a function."""

    def __init__(self, function):
        self.function = function

    def predict(self, X):
        return self.function(X)


def random_lattice(rng: np.random.Generator) -> Lattice:
    """Return a small lattice whose costs are not those of a formula."""
    d, w, s = rng.integers(1, 7, 3)
    macs = rng.integers(1, 1000, (d, w, s))
    return Lattice(
        depth=rng.uniform(0.2, 1, d),
        width=rng.uniform(0.2, 1, (d, w)),
        resolution=rng.uniform(0.2, 1, s),
        macs=macs,
        params=rng.integers(1, 100, (d, w)),
        dense_macs=1000,
    )


def regular_lattice() -> Lattice:
    """Return 5 depths, 7 widths and 4 sides with the cost d w^2 r^2."""
    depth, width, sides = np.linspace(1, 0.2, 5), np.linspace(0.4, 1, 7), np.linspace(0.4, 1, 4)
    macs = 1e6 * depth[:, None, None] * width[:, None] ** 2 * sides**2
    params = 1e3 * depth[:, None] * width**2
    return Lattice(
        depth=depth,
        width=np.tile(width, (5, 1)),
        resolution=sides,
        macs=macs.round().astype(int),
        params=params.round().astype(int),
        dense_macs=10**6,
    )


def brute_force(function, lattice, budget, region, floor, allowed):
    """Return (index, candidates), index None if nothing fits; a loop over every network."""
    candidates = []
    for d, w, s in itertools.product(*map(range, lattice.shape)):
        point = (lattice.depth[d], lattice.width[d, w], lattice.resolution[s])
        if not all(low <= x <= high for x, (low, high) in zip(point, region, strict=True)):
            continue
        if lattice.macs[d, w, s] <= budget * lattice.dense_macs and allowed[d, w, s]:
            value = float(function(np.array([point]))[0])
            candidates.append((-value, int(lattice.macs[d, w, s]), (d, w, s)))
    full = [c for c in candidates if c[1] >= floor * budget * lattice.dense_macs]
    candidates = full or candidates
    return (min(candidates)[2] if candidates else None), len(candidates)


@pytest.mark.parametrize("seed", range(40))
def test_equals_a_loop_over_all_networks(seed):
    rng = np.random.default_rng(seed)
    lattice = random_lattice(rng)
    a, b = rng.standard_normal((2, 3))

    def function(X):
        # Coarse values make many exact ties.
        return np.round(np.sin(3 * X @ a) + X @ b, 1)

    region = np.sort(rng.uniform(0.1, 1, (3, 2)), axis=1) if seed % 2 else np.array([[0, 1]] * 3)
    allowed = rng.random(lattice.shape) < 0.8
    budget, floor = rng.uniform(0.05, 1), rng.choice([0, 0.5, 0.97])
    expected, count = brute_force(function, lattice, budget, region, floor, allowed)
    arguments = {"region": region, "floor": floor, "allowed": allowed}
    if expected is None:
        with pytest.raises(BudgetError):
            maximize(Surface(function), lattice, budget, **arguments)
        return
    choice = maximize(Surface(function), lattice, budget, **arguments)
    d, w, s = choice.index
    assert choice.index == expected
    assert choice.n_candidates == count
    assert (choice.depth, choice.resolution) == (lattice.depth[d], lattice.resolution[s])
    assert (choice.width, choice.params) == (lattice.width[d, w], lattice.params[d, w])
    assert choice.macs == lattice.macs[d, w, s]
    assert choice.macs_ratio == pytest.approx(choice.macs / 1000)


def test_ties_go_to_fewer_macs_then_to_the_first():
    lattice = regular_lattice()
    choice = maximize(Surface(lambda X: np.full(len(X), 0.5)), lattice, 0.5, floor=0)
    assert choice.macs == lattice.macs.min()
    macs = np.full((2, 2, 2), 7)
    flat = Lattice([0.5, 1], [[0.5, 1]] * 2, [0.5, 1], macs, np.ones((2, 2), int), 10)
    assert maximize(Surface(lambda X: X[:, 0]), flat, 0.8).index == (1, 0, 0)
    # Differences of rounding are ties too.
    tilted = Surface(lambda X: X[:, 0] + 1e-14 * X[:, 2])
    assert maximize(tilted, flat, 0.8).index == (1, 0, 0)


def test_near_ties_are_the_next_best_within_a_thousandth():
    lattice = regular_lattice()

    def function(X):
        return 0.9 - 0.002 * np.abs(X - 0.7).sum(axis=1)

    choice = maximize(Surface(function), lattice, 0.5, floor=0)
    within = lattice.points()[lattice.macs.ravel() <= 0.5e6]
    values = np.sort(function(within))[::-1]
    assert choice.predicted_accuracy == values[0]
    listed = [tie.predicted_accuracy for tie in choice.near_ties]
    np.testing.assert_allclose(listed, values[1:11])
    steep = maximize(Surface(lambda X: 100 * function(X)), lattice, 0.5, floor=0)
    assert all(t.predicted_accuracy >= steep.predicted_accuracy - 1e-3 for t in steep.near_ties)


def test_the_floor_makes_it_use_the_budget():
    lattice = regular_lattice()
    small_is_better = Surface(lambda X: -X.sum(axis=1))
    assert maximize(small_is_better, lattice, 0.5, floor=0).macs == lattice.macs.min()
    assert 0.97 * 0.5 <= maximize(small_is_better, lattice, 0.5).macs_ratio <= 0.5
    # Nothing costs that much: the floor is void.
    tiny = Lattice([0.5], [[0.5]], [0.5], [[[10]]], [[1]], 1000)
    assert maximize(small_is_better, tiny, 0.5).macs == 10


def test_a_network_of_exactly_the_budget_is_within_it():
    for macs in (1, 3, 7, 29, 333):
        lattice = Lattice([1.0], [[1.0]], [1.0], [[[macs]]], [[1]], 1000)
        assert maximize(Surface(lambda X: X[:, 0]), lattice, macs / 1000).macs == macs


def test_errors_say_what_is_near_and_whether_a_wider_region_helps():
    lattice, surface = regular_lattice(), Surface(lambda X: X[:, 0])
    region = [(0.6, 1), (0.6, 1), (0.6, 1)]
    with pytest.raises(
        BudgetError,
        match=r"0.05 of the .* with 0.07776 of the MACs; sampling a wider .* would help",
    ):
        maximize(surface, lattice, 0.05, region=region)
    with pytest.raises(
        BudgetError, match=r"with 0.07776 of the MACs; sampling a wider region would not help"
    ):
        maximize(surface, lattice, 0.001, region=region)
    with pytest.raises(BudgetError, match=r"none lies in the sampled region, the nearest outside"):
        maximize(surface, lattice, 0.5, region=[(0.61, 0.62)] * 3)
    with pytest.raises(BudgetError, match="none is allowed"):
        maximize(surface, lattice, 0.5, allowed=np.zeros(lattice.shape, bool))


@pytest.mark.parametrize(
    ("budget", "arguments", "message"),
    [
        (0, {}, r"the budget is 0 of the dense MACs but must be in \(0, 1\]"),
        (50, {}, "the budget is 50 of"),
        (float("nan"), {}, "the budget is nan"),
        (0.5, {"floor": 97}, r"floor is 97 but must be in \[0, 1\]"),
        (0.5, {"region": [(0, 1)] * 2}, "region must be three ranges"),
        (0.5, {"region": [(1, 0)] * 3}, "region must be three ranges"),
        (0.5, {"allowed": np.ones((5, 7, 4))}, "allowed must be booleans"),
        (0.5, {"allowed": np.ones((5, 7), bool)}, r"of shape \(5, 7, 4\)"),
    ],
)
def test_wrong_arguments_are_refused(budget, arguments, message):
    with pytest.raises(ValueError, match=message):
        maximize(Surface(lambda X: X[:, 0]), regular_lattice(), budget, **arguments)


def test_a_prediction_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="is not finite"):
        maximize(
            Surface(lambda X: np.where(X[:, 0] < 0.5, np.nan, 1)), regular_lattice(), 0.9, floor=0
        )


@pytest.mark.parametrize("seed", range(20))
def test_one_axis_equals_a_loop(seed):
    rng = np.random.default_rng(seed)
    lattice = random_lattice(rng)
    budget = rng.uniform(0.2, 1)
    top, side = list(lattice.depth).index(max(lattice.depth)), np.argmax(lattice.resolution)
    widest = [list(row).index(max(row)) for row in lattice.width]
    lines = {
        "depth": [(d, widest[d], side) for d in range(lattice.shape[0])],
        "width": [(top, w, side) for w in range(lattice.shape[1])],
        "resolution": [(top, widest[top], s) for s in range(lattice.shape[2])],
    }
    for axis, line in lines.items():
        within = [index for index in line if lattice.macs[index] <= budget * 1000]
        if within:
            choice = largest_within(lattice, budget, axis)
            assert choice.index == max(within, key=lambda index: lattice.macs[index])
            assert choice.predicted_accuracy is None
            assert choice.n_candidates == len(within)
        else:
            with pytest.raises(BudgetError, match=f"{axis} alone cannot meet the budget"):
                largest_within(lattice, budget, axis)


def test_one_axis_errors_name_the_smallest_ratio():
    with pytest.raises(
        BudgetError, match=r"depth alone .* budget 0.1 .* network has 0.2 of the MACs; raise"
    ):
        largest_within(regular_lattice(), 0.1, "depth")
    with pytest.raises(ValueError, match="'height' but must be one of depth, width, resolution"):
        largest_within(regular_lattice(), 0.1, "height")


def test_choices_are_plain_json():
    lattice = regular_lattice()
    choice = maximize(Surface(lambda X: 0.9 + 1e-4 * X[:, 0]), lattice, 0.5)
    described = json.loads(json.dumps(choice.to_dict()))
    assert described["index"] == list(choice.index)
    assert described["near_ties"][0]["macs_ratio"] == choice.near_ties[0].macs_ratio
    assert json.loads(json.dumps(largest_within(lattice, 0.5, "width").to_dict()))["macs"] <= 5e5


def test_a_hundred_thousand_networks_are_predicted_many_at_a_time():
    depth, width, sides = np.linspace(0.3, 1, 20), np.linspace(0.3, 1, 100), np.linspace(0.3, 1, 50)
    macs = 1e8 * depth[:, None, None] * width[:, None] ** 2 * sides**2
    lattice = Lattice(
        depth, np.tile(width, (20, 1)), sides, macs.astype(int), macs[:, :, 0].astype(int), 10**8
    )
    asked: list[int] = []
    surface = Surface(lambda X: (asked.append(len(X)), X.sum(axis=1))[1])
    choice = maximize(surface, lattice, 1.0, floor=0)
    assert len(asked) < 100
    assert choice.n_candidates == 100_000
    assert choice.index == (19, 99, 49)


class Refits:
    """Many predictors: a function with random tilts."""

    def __init__(self, function, tilts):
        self.function, self.tilts = function, tilts

    def predict(self, X):
        return self.function(X) + self.tilts @ np.asarray(X).T

    def chunks(self, X):
        for start in range(0, len(X), 7):
            yield slice(start, start + 7), self.predict(X[start : start + 7])


def timed(rng, lattice):
    """Give a lattice parameters and latencies of the dense network."""
    times = rng.uniform(1, 10, lattice.shape)
    return replace(lattice, dense_params=100, latency_ms=times, dense_latency_ms=10)


@pytest.mark.parametrize("seed", range(30))
def test_several_budgets_equal_a_loop_over_all_networks(seed):
    rng = np.random.default_rng(seed)
    lattice = timed(rng, random_lattice(rng))
    limits = {
        "macs": rng.uniform(0.2, 1),
        "params": rng.uniform(0.2, 1),
        "latency": rng.uniform(0.3, 1),
        "latency_ms": rng.uniform(3, 10),
    }
    budget = Budget(**{name: limits[name] for name in limits if rng.random() < 0.6} or limits)
    a = rng.standard_normal(3)
    found = []
    for d, w, s in itertools.product(*map(range, lattice.shape)):
        used = [
            part
            for name, part in (
                ("macs", lattice.macs[d, w, s] / 1000),
                ("params", lattice.params[d, w] / 100),
                ("latency", lattice.latency_ms[d, w, s] / 10),
                ("latency_ms", lattice.latency_ms[d, w, s]),
            )
            for part in [part / limits[name]]
            if getattr(budget, name) is not None
        ]
        if max(used) <= 1:
            point = (lattice.depth[d], lattice.width[d, w], lattice.resolution[s])
            found.append((-float(np.dot(a, point)), max(used) < 0.9, (d, w, s)))
    surface = Surface(lambda X: X @ a)
    if not found:
        with pytest.raises(BudgetError, match="the nearest is depth"):
            maximize(surface, lattice, budget)
        return
    full = [entry for entry in found if not entry[1]] or found
    assert maximize(surface, lattice, budget, floor=0.9).index == min(full)[2]


@pytest.mark.parametrize("seed", range(10))
def test_ties_are_networks_as_good_as_the_best_in_some_refits(seed):
    rng = np.random.default_rng(seed)
    lattice = timed(rng, random_lattice(rng))
    refits = Refits(lambda X: 0.9 + 0.05 * X.sum(axis=1), 0.05 * rng.standard_normal((50, 3)))
    surface = Surface(refits.function)
    choice = maximize(surface, lattice, 1.0, floor=0, refits=refits)
    X = lattice.points()
    within = np.flatnonzero(lattice.macs.ravel() <= 1000)
    values = refits.predict(X[within])
    best = int(np.flatnonzero(within == np.ravel_multi_index(choice.index, lattice.shape))[0])
    share = np.mean(values >= values[:, [best]], axis=0)
    ties = choice.ties
    assert (ties.refits, ties.examined, ties.networks) == (50, len(within), (share > 0.05).sum())
    found = {(m["depth"], m["width"], m["resolution"]) for m in ties.members}
    assert found == {tuple(point) for point in X[within[share > 0.05]].tolist()}
    optima = X[within[np.argmax(values, axis=1)]]
    for m, axis in enumerate(("depth", "width", "resolution")):
        expected = np.quantile(optima[:, m], [0.05, 0.95])
        np.testing.assert_allclose(ties.optimum_interval[axis], expected)
    np.testing.assert_allclose(ties.accuracy_interval, np.quantile(values[:, best], [0.05, 0.95]))
    flat = within[share > 0.05]
    for prefer, amounts in (
        ("params", np.broadcast_to(lattice.params[:, :, None], lattice.shape)),
        ("latency", lattice.latency_ms),
    ):
        other = maximize(surface, lattice, 1.0, floor=0, refits=refits, prefer=prefer)
        assert amounts[other.index] == amounts.ravel()[flat].min()
        assert other.ties.networks == ties.networks
        assert json.loads(json.dumps(other.to_dict()))["ties"]["level"] == 0.05


def test_a_preference_needs_refits_and_latencies():
    surface = Surface(lambda X: X[:, 0])
    with pytest.raises(ValueError, match="prefer is 'params', which needs refits"):
        maximize(surface, regular_lattice(), 0.5, prefer="params")
    with pytest.raises(ValueError, match="prefer is 'speed' but must be one of none, params"):
        maximize(surface, regular_lattice(), 0.5, prefer="speed")
    refits = Refits(lambda X: X[:, 0], np.zeros((3, 3)))
    with pytest.raises(ValueError, match="the lattice has no latencies"):
        maximize(surface, regular_lattice(), 0.5, prefer="latency", refits=refits)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "a budget limits nothing; give one or more of macs, params, latency, latency_ms"),
        ({"macs": 1.5}, "macs is 1.5 but must be a part .* or a number of MACs of at least 1000"),
        ({"params": 0}, "params is 0 but must be"),
        ({"latency": 2}, "latency is 2 but .* latency_ms takes milliseconds"),
        ({"latency_ms": 0}, "latency_ms is 0 but must be above 0"),
    ],
)
def test_wrong_budgets_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        Budget(**limits)


def test_a_million_networks_are_searched_with_refits():
    depth, width, sides = np.linspace(0.3, 1, 50), np.linspace(0.3, 1, 400), np.linspace(0.3, 1, 50)
    macs = 1e8 * depth[:, None, None] * width[:, None] ** 2 * sides**2
    lattice = Lattice(
        depth, np.tile(width, (50, 1)), sides, macs.astype(int), macs[:, :, 0].astype(int), 10**8
    )
    rng = np.random.default_rng(0)
    X = rng.uniform(0.3, 1, (20, 3))
    y = 0.9 - 0.1 * ((1 - X) ** 2).sum(axis=1) + 0.002 * rng.standard_normal(20)
    predictor = LowRankPolynomialRegressor(2).fit(X, y)
    refits = bootstrap(predictor, X, y, n=200)
    choice = maximize(predictor, lattice, 0.3, floor=0.97, refits=refits)
    assert choice.n_candidates == choice.ties.examined > 5_000
    assert choice.ties.networks >= 1

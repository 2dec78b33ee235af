"""The continuous optimum against closed forms and a scan of the constraint."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from prune3d.optimize import solve_kkt
from prune3d.optimize.kkt import PowerLaw

WIDE = [(0.05, 1)] * 3


class Saturating:
    """F = 1 - a / d - b / w^2 - c / r^2, whose KKT point is known.

    d F_d = a / d, w F_w / 2 = b / w^2 and r F_r / 2 = c / r^2 are equal to the multiplier m, so
    d = a / m, w^2 = b / m, r^2 = c / m and T = d w^2 r^2 gives m = (a b c / T)^(1/3).
    """

    def __init__(self, a: float, b: float, c: float):
        self.costs = np.array([a, b, c])

    def predict(self, X):
        return 1 - X ** np.array([-1.0, -2, -2]) @ self.costs

    def gradient(self, X):
        return np.array([1, 2, 2]) * self.costs * X ** np.array([-2.0, -3, -3])


class Bumps:
    """Two hills in the logarithms of the ratios, the second higher and narrower."""

    centres = np.log([[0.9, 0.6, 0.7], [0.5, 0.8, 0.71]])
    heights, widths = np.array([0.5, 0.6]), np.array([0.3, 0.12])

    def parts(self, X):
        gaps = np.log(X)[:, None, :] - self.centres
        return gaps, self.heights * np.exp(-np.sum(gaps**2, axis=2) / (2 * self.widths**2))

    def predict(self, X):
        return self.parts(X)[1].sum(axis=1)

    def gradient(self, X):
        gaps, values = self.parts(X)
        return np.sum(-(values / self.widths**2)[:, :, None] * gaps, axis=1) / X


def cost(solution) -> float:
    return solution.depth * solution.width**2 * solution.resolution**2


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.5])
def test_interior_optimum_in_closed_form(budget):
    a, b, c = 0.02, 0.03, 0.025
    m = (a * b * c / budget) ** (1 / 3)
    expected = np.array([a / m, (b / m) ** 0.5, (c / m) ** 0.5])
    assert np.all(expected < 1)
    solution = solve_kkt(Saturating(a, b, c), budget, WIDE)
    found = (solution.depth, solution.width, solution.resolution)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert solution.feasible
    assert solution.reason is None
    assert solution.multiplier == pytest.approx(m, rel=1e-6)
    assert solution.value == pytest.approx(1 - 3 * m)
    assert solution.active_bounds == []
    assert list(solution.residuals) == ["depth", "width", "resolution"]
    assert max(map(abs, solution.residuals.values())) < 1e-6
    assert cost(solution) == pytest.approx(budget, rel=1e-9)


def test_an_active_bound_drops_its_equation():
    """With d held at 1: w^2 = b / m and r^2 = c / m, m = (b c / T)^(1/2)."""
    a, b, c, budget = 0.2, 0.03, 0.025, 0.25
    m = (b * c / budget) ** 0.5
    solution = solve_kkt(Saturating(a, b, c), budget, WIDE)
    assert solution.active_bounds == ["depth_max"]
    assert solution.depth == pytest.approx(1)
    assert solution.width == pytest.approx((b / m) ** 0.5, abs=1e-6)
    assert solution.resolution == pytest.approx((c / m) ** 0.5, abs=1e-6)
    assert solution.multiplier == pytest.approx(m, rel=1e-6)
    assert list(solution.residuals) == ["width", "resolution"]


def test_two_active_bounds_leave_one_variable():
    solution = solve_kkt(Saturating(0.001, 1e-6, 1), 0.1, [(0.3, 1), (0.4, 1), (0.2, 1)])
    assert solution.active_bounds == ["width_min", "resolution_max"]
    assert solution.depth == pytest.approx(0.1 / 0.4**2)
    assert solution.residuals["depth"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("budget", "region", "bounds"),
    [
        (1.0, WIDE, ["depth_max", "width_max", "resolution_max"]),
        (0.4**5, [(0.4, 1)] * 3, ["depth_min", "width_min", "resolution_min"]),
    ],
)
def test_a_corner_of_the_box(budget, region, bounds):
    solution = solve_kkt(Saturating(0.02, 0.03, 0.025), budget, region)
    assert solution.active_bounds == bounds
    assert solution.multiplier is None
    assert solution.residuals == {}
    assert cost(solution) == pytest.approx(budget, rel=1e-8)


def test_a_ratio_that_was_not_sampled_is_held():
    solution = solve_kkt(Saturating(0.02, 0.03, 0.03), 0.16, [(1, 1), (0.3, 1), (0.3, 1)])
    assert solution.active_bounds == ["depth_min", "depth_max"]
    # Width and resolution enter alike: w = r = T^(1/4).
    assert solution.width == pytest.approx(0.16**0.25, abs=1e-6)
    assert solution.resolution == pytest.approx(0.16**0.25, abs=1e-6)


@pytest.mark.parametrize("budget", [0.01, 0.9])
def test_no_point_of_the_region_has_the_cost(budget):
    solution = solve_kkt(Saturating(0.02, 0.03, 0.025), budget, [(0.5, 0.9)] * 3)
    assert not solution.feasible
    assert solution.reason == (
        f"no point of the region has the cost {budget:g}: depth x width^2 x resolution^2 runs from "
        "0.03125 to 0.5905"
    )
    assert solution.value is solution.depth is solution.multiplier is None
    assert json.loads(json.dumps(solution.to_dict()))["feasible"] is False


@pytest.mark.parametrize("budget", [0.1, 0.16, 0.3])
def test_the_higher_of_two_hills_is_found(budget):
    low, high = 0.3, 1.0
    d, w = np.meshgrid(np.linspace(low, high, 300), np.linspace(low, high, 300))
    r = np.sqrt(budget / (d * w**2))
    keep = (r >= low) & (r <= high)
    scan = Bumps().predict(np.column_stack([d[keep], w[keep], r[keep]])).max()
    solution = solve_kkt(Bumps(), budget, [(low, high)] * 3)
    assert solution.value >= scan - 1e-9
    assert cost(solution) == pytest.approx(budget, rel=1e-9)


def test_solutions_are_the_same_from_run_to_run_and_plain_json():
    one, other = (solve_kkt(Bumps(), 0.2, WIDE).to_dict() for _ in range(2))
    assert one == other
    assert json.loads(json.dumps(one)) == one


@pytest.mark.parametrize(
    ("budget", "region", "message"),
    [
        (0, WIDE, "the budget is 0 of the dense cost"),
        (1.1, WIDE, "the budget is 1.1"),
        (0.5, [(0, 1)] * 3, "region must be three ranges 0 < low <= high"),
        (0.5, [(1, 0.5)] * 3, "region must be three ranges"),
        (0.5, [(0.5, 1)] * 2, "region must be three ranges"),
    ],
)
def test_wrong_arguments_are_refused(budget, region, message):
    with pytest.raises(ValueError, match=message):
        solve_kkt(Saturating(1, 1, 1), budget, region)


def test_of_two_budgets_the_binding_one_has_a_multiplier():
    """A budget of parameters that is not reached leaves the closed form of the other."""
    a, b, c, budget = 0.02, 0.03, 0.025, 0.2
    m = (a * b * c / budget) ** (1 / 3)
    laws = [PowerLaw("macs", (1, 2, 2), budget), PowerLaw("params", (1, 2, 0), 0.9)]
    solution = solve_kkt(Saturating(a, b, c), laws, WIDE)
    assert solution.active_budgets == ["macs"]
    assert solution.multipliers["macs"] == pytest.approx(m, rel=1e-4)
    found = (solution.depth, solution.width, solution.resolution)
    np.testing.assert_allclose(found, [a / m, (b / m) ** 0.5, (c / m) ** 0.5], atol=1e-4)
    assert max(map(abs, solution.residuals.values())) < 1e-5


def test_two_active_budgets_in_closed_form():
    """D w^2 = P and d w^2 r^2 = T give r^2 = T / P; on d w^2 = P the best has a / d = b / w^2."""
    a, b, c, budget, part = 0.1, 0.1, 0.01, 0.1, 0.15
    laws = [PowerLaw("macs", (1, 2, 2), budget), PowerLaw("params", (1, 2, 0), part)]
    solution = solve_kkt(Saturating(a, b, c), laws, WIDE)
    assert solution.active_budgets == ["macs", "params"]
    assert solution.resolution == pytest.approx((budget / part) ** 0.5, abs=1e-6)
    assert solution.depth == pytest.approx(part**0.5, abs=1e-4)
    assert solution.width**2 == pytest.approx(part**0.5, abs=1e-4)
    # r F_r = 2 mu_macs and d F_d = mu_macs + mu_params.
    macs = c / (budget / part)
    assert solution.multipliers["macs"] == pytest.approx(macs, rel=1e-3)
    assert solution.multipliers["params"] == pytest.approx(a / part**0.5 - macs, abs=2e-3)


@pytest.mark.parametrize("seed", range(6))
def test_several_budgets_are_no_worse_than_a_scan(seed):
    rng = np.random.default_rng(seed)
    costs = rng.uniform(0.001, 0.05, 3)
    laws = [
        PowerLaw("macs", (1, 2, 2), rng.uniform(0.1, 0.6)),
        PowerLaw("params", (1, 2, 0), rng.uniform(0.1, 0.6)),
        PowerLaw("latency_ms", tuple(rng.uniform(0.2, 1.5, 3)), rng.uniform(0.3, 0.8)),
    ]
    X = np.array(list(itertools.product(np.linspace(0.05, 1, 60), repeat=3)))
    for law in laws:
        X = X[np.prod(X ** np.array(law.exponents), axis=1) <= law.budget]
    surface = Saturating(*costs)
    solution = solve_kkt(surface, laws, WIDE)
    assert solution.value >= surface.predict(X).max() - 1e-9
    point = np.array([solution.depth, solution.width, solution.resolution])
    for law in laws:
        assert np.prod(point ** np.array(law.exponents)) <= law.budget * (1 + 1e-6)
    assert max(map(abs, solution.residuals.values()), default=0) < 1e-4


def test_several_budgets_that_no_point_meets():
    laws = [PowerLaw("macs", (1, 2, 2), 0.5), PowerLaw("params", (1, 2, 0), 0.01)]
    solution = solve_kkt(Saturating(0.02, 0.03, 0.02), laws, [(0.5, 1)] * 3)
    assert not solution.feasible
    assert "no point of the region has the cost 0.01: the cost in params runs" in solution.reason

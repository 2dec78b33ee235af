"""The predicted optimum over budgets, and its figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from prune3d.costs.lattice import Lattice
from prune3d.optimize.policies import OptimumOptions
from prune3d.optimize.series import BUDGETS, OPTIMA, budgets_of, optima_over_budgets
from prune3d.predictor import LowRankPolynomialRegressor, bootstrap
from prune3d.report.budget_figures import draw_pareto
from prune3d.report.figures import Style
from prune3d.report.policy_figures import look
from prune3d.sampling.table import Samples

FLOOR = 0.97


def lattice() -> Lattice:
    """Return networks of 6 depths, 9 widths and 5 sides that cost about d w^2 r^2."""
    depth, width, sides = np.linspace(1, 0.2, 6), np.linspace(1, 0.3, 9), np.linspace(1, 0.4, 5)
    macs = 1e6 * depth[:, None, None] * width[:, None] ** 2 * sides**2
    return Lattice(
        depth=depth,
        width=np.tile(width, (6, 1)),
        resolution=sides,
        macs=macs.round().astype(int),
        params=(1e3 * depth[:, None] * width**2).round().astype(int),
        dense_macs=10**6,
    )


def samples() -> Samples:
    """Return noisy samples on the axes down to 0.4."""
    rng = np.random.default_rng(3)
    ratios = np.ones((10, 3))
    for axis in range(3):
        ratios[1 + 3 * axis : 4 + 3 * axis, axis] = (0.8, 0.6, 0.4)
    loss = np.array([0.1, 0.2, 0.15]) @ (1 - ratios.T) ** 2
    accuracy = 0.9 - loss + rng.normal(0, 0.004, len(ratios))
    return Samples(tuple(map(str, range(10))), ratios, accuracy, np.ones(10))


def rows_of(options: OptimumOptions | None = None) -> list[dict[str, Any]]:
    own = samples()
    fitted = LowRankPolynomialRegressor(2).fit(own.ratios, own.accuracy)
    refits = bootstrap(fitted, own.ratios, own.accuracy, n=60, random_state=0)
    return optima_over_budgets(fitted, own, lattice(), options or OptimumOptions(), refits)


def test_budgets_reach_from_the_cheapest_sampled_network_to_the_dense_one() -> None:
    networks = lattice()
    series = budgets_of(networks, samples().region())
    # In this region: depth 0.52, width 0.475 and side 0.4 are the least.
    cheapest = min(
        int(networks.macs[i, j, k])
        for i in range(6)
        for j in range(9)
        for k in range(5)
        if min(networks.depth[i], networks.width[i, j], networks.resolution[k]) >= 0.4 - 1e-9
    )
    assert series[0] == cheapest / 1e6 and series[-1] == 1 and len(series) == BUDGETS
    steps = np.diff(np.log(series))
    assert np.allclose(steps, steps[0], atol=1e-9) and steps[0] > 0


def test_where_only_the_dense_network_was_sampled_there_is_one_budget() -> None:
    assert budgets_of(lattice(), np.ones((3, 2))) == [1.0]


@pytest.mark.parametrize("extrapolate", [False, True])
def test_each_optimum_is_the_best_prediction_within_its_budget(extrapolate: bool) -> None:
    networks, own = lattice(), samples()
    fitted = LowRankPolynomialRegressor(2).fit(own.ratios, own.accuracy)
    points, macs = networks.points(), networks.macs.ravel() / networks.dense_macs
    predicted = fitted.predict(points)
    # All samples have ratios of at least 0.4, the lattice goes further.
    sampled = np.full(len(points), True) if extrapolate else (points >= 0.4 - 1e-9).all(1)
    assert sampled.sum() < len(points) or extrapolate
    for row in rows_of(OptimumOptions(extrapolate=extrapolate)):
        within = sampled & (macs <= row["budget_macs"] * (1 + 1e-12))
        full = within & (macs >= FLOOR * row["budget_macs"])
        best = predicted[full if full.any() else within].max()
        assert row["predicted_accuracy"] == pytest.approx(best, abs=1e-12)
        at = fitted.predict(np.array([[row["depth"], row["width"], row["resolution"]]]))
        assert float(at[0]) == pytest.approx(best, abs=1e-12)
        for axis in ("depth", "width", "resolution"):
            assert row[f"{axis}_low"] <= row[axis] <= row[f"{axis}_high"]
        assert row["tied"] >= 1 and row["accuracy_low"] <= row["accuracy_high"]


def test_the_last_optimum_is_the_dense_network_and_the_table_keeps_all(tmp_path: Any) -> None:
    rows = [{"experiment": "a", "seed": 0, **row} for row in rows_of()]
    last = rows[-1]
    assert (last["depth"], last["width"], last["resolution"], last["macs_ratio"]) == (1, 1, 1, 1)
    OPTIMA.write(tmp_path / "optima.csv", rows)
    assert OPTIMA.read(tmp_path / "optima.csv") == rows


def final(policy: str, macs_ratio: float, top1: float) -> dict[str, Any]:
    return {"policy": policy, "macs_ratio": macs_ratio, "selection_top1": top1}


def test_the_figure_has_optimum_and_band_of_every_seed_and_all_finals() -> None:
    rows = [{"experiment": "a", "seed": seed, **row} for seed in (0, 1) for row in rows_of()]
    finals = [final("dwr", 0.25, 0.8), final("depth", 0.24, 0.7), final("width", 0.25, 0.75)]
    panels = draw_pareto(rows, finals, Style((12.0, 3.2), 60)).axes
    assert [panel.get_title() for panel in panels] == ["depth", "width", "resolution", "accuracy"]
    for name, panel in zip(("depth", "width", "resolution"), panels, strict=False):
        assert len(panel.lines) == len(panel.collections) == 2
        assert list(panel.lines[0].get_ydata()) == [row[name] for row in rows[:BUDGETS]]
    lines = {line.get_label(): line for line in panels[3].lines}
    assert list(lines["dwr, measured"].get_ydata()) == [80.0]
    assert lines["dwr, measured"].get_color() == look("dwr")["color"]
    assert list(lines["other policies, measured"].get_xdata()) == [24.0, 25.0]
    assert "dwr, measured" not in {
        line.get_label() for line in draw_pareto(rows, [], Style((12.0, 3.2), 60)).axes[3].lines
    }

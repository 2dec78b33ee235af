"""Ablations: fits by hand, and what the recorded grid of real samples says about designs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from prune3d.errors import UserError
from prune3d.predictor import LowRankPolynomialRegressor, PolynomialRegressor, leave_one_out
from prune3d.report.ablations import readable, scratch_readable
from prune3d.report.figures import Style, draw_ablation, draw_scratch
from prune3d.report.predictor_ablation import (
    COUNTS,
    Choices,
    ablate,
    compare_scratch,
    scratch_rows,
    summarize,
)
from prune3d.sampling.table import Samples, read_holdout, read_samples

DATA = Path(__file__).resolve().parents[2] / "docs/data"
CHOICES = Choices("low_rank", 3, 1, 1e-2, [0.25], 6)


@pytest.fixture(scope="module")
def grid() -> Samples:
    """Return the recorded 64 samples."""
    return read_samples(DATA / "digits_grid.csv")


@pytest.fixture(scope="module")
def held(grid: Samples) -> Samples:
    """Return the recorded held-out samples."""
    return read_holdout(DATA / "digits_grid_holdout.csv", grid)


def rmse(true: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((true - predicted) ** 2)))


@pytest.mark.slow
def test_degrees_and_ranks_are_fits_to_all_samples(grid: Samples, held: Samples) -> None:
    few = slice(0, 64, 3)
    grid = Samples(grid.names[few], grid.ratios[few], grid.accuracy[few], grid.cost_macs[few])
    X, y = grid.ratios, grid.accuracy
    rows = {row["setting"]: row for row in ablate("rank", grid, held, 0, CHOICES)}
    assert list(rows) == ["1", "2", "3", "full"]
    assert [row["coefficients"] for row in rows.values()] == [12, 24, 36, 64]
    one, full = LowRankPolynomialRegressor(), PolynomialRegressor()
    assert rows["1"]["rest_rmse"] == pytest.approx(rmse(y, leave_one_out(one, X, y)))
    expected = rmse(held.accuracy, full.fit(X, y).predict(held.ratios))
    assert rows["full"]["holdout_rmse"] == pytest.approx(expected)
    degrees = {row["setting"]: row for row in ablate("degree", grid, held, 0, CHOICES)}
    assert list(degrees) == ["1", "2", "3", "4"]
    assert degrees["3"]["rest_rmse"] == pytest.approx(rows["1"]["rest_rmse"])


def test_sixteen_chosen_samples_predict_as_well_as_the_whole_grid(
    grid: Samples, held: Samples
) -> None:
    """On real samples of a ResNet-20: no worse on the rest or held out, at a sixth of the cost."""
    rows = ablate("design", grid, held, 0, CHOICES)
    by = {(row["setting"], row["samples"]): row for row in rows}
    whole, axes, best = by["grid", 64], by["axes", 10], by["optimal d", 16]
    assert best["rest_rmse"] <= whole["rest_rmse"]
    assert best["holdout_rmse"] <= whole["holdout_rmse"]
    assert best["cost_macs"] < whole["cost_macs"] / 5
    # Most sizes are better than the axes, and cheaper.
    chosen = [by["optimal d", count + 1] for count in COUNTS]
    assert all(row["rest_rmse"] < 0.7 * axes["rest_rmse"] for row in chosen)
    assert all(row["cost_macs"] < 0.5 * axes["cost_macs"] for row in chosen)
    assert whole["cost_macs"] == grid.cost_macs[1:].sum()


def test_ablations_keep_the_shape_of_the_predictor() -> None:
    plain, shaped = CHOICES, replace(CHOICES, shape="increasing")
    assert plain.fresh(degree=2).shape == "none"
    assert shaped.fresh(degree=2).shape == "increasing"
    assert shaped.fresh(kind="full").shape == "increasing"


def test_ablations_keep_the_loss_of_the_predictor() -> None:
    robust = replace(CHOICES, loss="robust")
    assert {robust.fresh(degree=2).loss, robust.fresh(kind="full").loss} == {"robust"}
    assert CHOICES.fresh(degree=2).loss == "squared"


@pytest.mark.parametrize("what", ["degree", "samples"])
def test_a_wreck_is_neither_fitted_nor_judges_anybody(
    grid: Samples, held: Samples, what: str
) -> None:
    part = grid.without(set(grid.names) - set(grid.names[::5]))
    wreck = part.names[3]
    spoiled = replace(part, accuracy=np.where(np.array(part.names) == wreck, 0.05, part.accuracy))
    rows = ablate(what, spoiled, held, 0, CHOICES, [wreck])
    clean = ablate(what, part.without([wreck]), held, 0, CHOICES)
    told = [{k: v for k, v in row.items() if k != "cost_macs"} for row in rows]
    assert told == [{k: v for k, v in row.items() if k != "cost_macs"} for row in clean]
    # All samples were paid for, the wreck with them.
    assert rows[-1]["cost_macs"] == part.cost_macs[1:].sum()


def test_designs_are_compared_without_what_the_predictor_leaves_out(
    grid: Samples, held: Samples
) -> None:
    """By fits by hand to the axes, of which one sample is a wreck."""
    alone = (grid.ratios < 1).sum(axis=1) <= 1
    place = int(np.flatnonzero(alone)[2])
    wreck = np.arange(len(grid.names)) == place
    spoiled = replace(grid, accuracy=np.where(wreck, 0.05, grid.accuracy))
    rows = ablate("design", spoiled, held, 0, CHOICES, [grid.names[place]])
    by = {(row["setting"], row["samples"]): row for row in rows}
    assert ("grid", 63) in by
    fitted = LowRankPolynomialRegressor()
    fitted.fit(grid.ratios[alone & ~wreck], grid.accuracy[alone & ~wreck])
    expected = rmse(grid.accuracy[~alone], fitted.predict(grid.ratios[~alone]))
    assert by["axes", 9]["rest_rmse"] == pytest.approx(expected)
    assert by["axes", 9]["cost_macs"] == grid.cost_macs[alone][1:].sum()


def test_more_random_samples_are_better(grid: Samples, held: Samples) -> None:
    summary = summarize(ablate("samples", grid, held, 0, CHOICES))
    full = [row for row in summary if row["setting"] == "full"]
    low = [row for row in summary if row["setting"] == "low_rank"]
    assert len(draw_ablation(summary, Style((6, 3), 60)).axes) == 2
    assert readable(summary).count("\n| low_rank |") == readable(summary).count("\n| full |") == 6
    assert [row["coefficients"] for row in (*low, *full)] == [12] * 6 + [64] * 6
    check_sizes(low)
    check_sizes(full)


def check_sizes(summary: list[dict]) -> None:
    assert [row["samples"] for row in summary] == [6, 10, 15, 25, 40, 64]
    assert [row["fits"] for row in summary] == [20] * 5 + [1]
    errors = [row["rest_rmse_mean"] for row in summary]
    assert errors[0] > errors[2] > errors[4]
    costs = [row["cost_macs"] for row in summary]
    assert costs == sorted(costs)


def test_an_ablation_of_one_size_is_drawn_by_setting(grid: Samples, held: Samples) -> None:
    summary = summarize(ablate("degree", grid, held, 0, CHOICES))
    (panel,) = draw_ablation(summary, Style((4, 3), 60)).axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2", "3", "4"]
    assert panel.get_ylim()[0] == 0


def test_designs_need_a_whole_grid(grid: Samples, held: Samples) -> None:
    part = Samples(grid.names[:-1], grid.ratios[:-1], grid.accuracy[:-1], grid.cost_macs[:-1])
    with pytest.raises(UserError, match="only be compared on the samples of a whole grid"):
        ablate("design", part, held, 0, CHOICES)


def test_degrees_to_be_chosen_are_taken_at_their_default() -> None:
    choices = Choices("low_rank", "cv", "cv", 1e-2, [], 5)  # type: ignore[arg-type]
    assert (choices.degree, choices.rank) == (3, 1)


def test_scratch_is_compared_by_rank_and_bias() -> None:
    rng = np.random.default_rng(0)
    scratch = rng.uniform(0.8, 1, 12)
    pruned = scratch + 0.01 + 0.01 * rng.standard_normal(12)

    def metrics(top1: float, cost: int) -> dict:
        ratios = {"depth": 1.0, "width": 0.5, "resolution": 1.0}
        return {**ratios, "selection": {"top1": top1}, "cost_macs": cost}

    rows = scratch_rows(
        [0, 1] * 6,
        [metrics(a, 10) for a in pruned],
        [metrics(a, 30) for a in scratch],
        [(1.0, 2.5)] * 12,
    )
    found = compare_scratch(rows)
    assert found["spearman"] == pytest.approx(stats.spearmanr(pruned, scratch).statistic)
    assert found["bias"] == pytest.approx(np.mean(pruned - scratch))
    assert (found["pruned_cost_macs"], found["scratch_cost_macs"]) == (120, 360)
    assert (found["pruned_seconds"], found["scratch_seconds"]) == (12, 30)
    text = scratch_readable(rows, found)
    assert text.count("\n| 0 | 1.00 | 0.50 | 1.00 |") == text.count("\n| 1 | 1.00 |") == 6
    assert "12 networks" in text and "33 % of the cost" in text
    (panel,) = draw_scratch(rows, Style((4, 4), 60)).axes
    assert panel.lines[0].get_xdata() == pytest.approx(100 * scratch)

"""Robust fits: outliers among clean samples are found, clean samples are kept."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from prune3d.predictor import (
    AdditivePolynomialRegressor,
    LowRankPolynomialRegressor,
    PolynomialRegressor,
    bootstrap,
    choose_order,
    leave_one_out,
)
from prune3d.predictor.outliers import inliers
from prune3d.predictor.ridge import objectives

LEVELS = [(0.78, 0.56, 0.44, 0.33), (0.8, 0.6, 0.45, 0.3), (0.875, 0.75, 0.625, 0.5)]
AXES = np.vstack(
    [np.ones(3)] + [np.where(np.arange(3) == m, x, 1) for m in range(3) for x in LEVELS[m]]
)
GRID = np.array(list(itertools.product((1, 0.8, 0.6, 0.4), repeat=3)))
BUDGET = np.array(
    [
        (d, np.sqrt(0.25 / d) / r, r)
        for d in np.linspace(0.34, 1, 12)
        for r in np.linspace(0.5, 1, 17)
        if 0.3 <= np.sqrt(0.25 / d) / r <= 1
    ]
)
ESTIMATORS = [
    LowRankPolynomialRegressor(n_starts=1, loss="robust"),
    LowRankPolynomialRegressor(2, alpha="loo", n_starts=1, loss="robust"),
    PolynomialRegressor(2, loss="robust"),
    PolynomialRegressor(2, shape="diminishing", loss="robust"),
    AdditivePolynomialRegressor(loss="robust"),
]


def truth(X: np.ndarray, seed: int) -> np.ndarray:
    """Return an accuracy that saturates along each ratio, with some interaction."""
    rng = np.random.default_rng(seed)
    loss, rate, joint = rng.uniform(0.02, 0.2, 3), rng.uniform(1, 5, 3), rng.uniform(0, 0.1)
    share = (1 - np.exp(-rate * X)) / (1 - np.exp(-rate))
    return 0.97 - (1 - share) @ loss - joint * np.prod(1 - X, axis=1)


def labels(X: np.ndarray, seed: int, noise: float = 0.003) -> np.ndarray:
    """Return labels with noise."""
    return truth(X, seed) + noise * np.random.default_rng(100 + seed).standard_normal(len(X))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("points", [AXES, GRID], ids=["axes", "grid"])
def test_clean_samples_are_all_used(estimator: Any, points: np.ndarray) -> None:
    for seed, noise in ((0, 0.0), (1, 0.006)):
        y = labels(points, seed, noise)
        robust = clone(estimator).fit(points, y)
        assert robust.inliers_.all()
        plain = clone(estimator).set_params(loss="squared").fit(points, y)
        np.testing.assert_array_equal(robust.predict(GRID), plain.predict(GRID))


@pytest.mark.parametrize("estimator", [ESTIMATORS[0], ESTIMATORS[2], ESTIMATORS[4]])
def test_one_outlier_anywhere_moves_neither_the_fit_nor_the_optimum(estimator: Any) -> None:
    y = labels(AXES, 0)
    for i in range(len(y)):
        spoilt = np.where(np.arange(len(y)) == i, 0.05, y)
        found = clone(estimator).fit(AXES, spoilt)
        assert np.flatnonzero(~found.inliers_).tolist() == [i]
        rest = np.arange(len(y)) != i
        without = clone(estimator).set_params(loss="squared").fit(AXES[rest], y[rest])
        np.testing.assert_array_equal(found.predict(BUDGET), without.predict(BUDGET))
        # What the outlier does to a fit of all, and what it does to the choice.
        spoilt_fit = clone(estimator).set_params(loss="squared").fit(AXES, spoilt)
        gaps = [np.abs(m.predict(AXES) - truth(AXES, 0))[rest].max() for m in (found, spoilt_fit)]
        assert 3 * gaps[0] < gaps[1]
        values = truth(BUDGET, 0)
        assert values.max() - values[np.argmax(found.predict(BUDGET))] < 0.012


def test_two_outliers_do_not_hide_each_other() -> None:
    y = labels(AXES, 1)
    # Two neighbours at the end of an axis would pass for its shape.
    for pair in [(1, 8), (4, 8), (2, 7), (0, 12)]:
        spoilt = y.copy()
        spoilt[list(pair)] -= 0.5
        fitted = LowRankPolynomialRegressor(n_starts=1, loss="robust").fit(AXES, spoilt)
        assert np.flatnonzero(~fitted.inliers_).tolist() == sorted(pair)


def test_labels_that_are_too_good_are_outliers_too() -> None:
    y = 0.5 * labels(AXES, 2)
    y[6] += 0.4
    fitted = PolynomialRegressor(2, loss="robust").fit(AXES, y)
    assert np.flatnonzero(~fitted.inliers_).tolist() == [6]


@pytest.mark.parametrize("estimator", ESTIMATORS[:3])
def test_a_weight_of_two_is_the_sample_twice_and_of_zero_none(estimator: Any) -> None:
    y = labels(AXES, 3)
    y[8] = 0.3
    weights = np.array([1, 2, 1, 0, 1, 1, 3, 1, 2, 1, 1, 1, 1])
    weighted = clone(estimator).fit(AXES, y, sample_weight=weights)
    repeated = clone(estimator).fit(np.repeat(AXES, weights, axis=0), np.repeat(y, weights))
    assert np.flatnonzero(~weighted.inliers_).tolist() == [7]  # the one of weight 0 is not counted
    assert (~repeated.inliers_).sum() == 2
    np.testing.assert_allclose(weighted.predict(GRID), repeated.predict(GRID), atol=1e-6)


def test_the_unit_of_the_labels_does_not_matter() -> None:
    y = labels(AXES, 4)
    y[12] = 0.4
    for estimator in ESTIMATORS:
        found = [clone(estimator).fit(AXES, unit * y).inliers_ for unit in (1, 100)]
        np.testing.assert_array_equal(*found)


def test_few_or_constant_samples_are_all_used() -> None:
    for X, y in [(AXES[:5], labels(AXES[:5], 0)), (AXES, np.full(13, 0.9)), (AXES, np.zeros(13))]:
        for estimator in ESTIMATORS:
            assert clone(estimator).fit(X, y).inliers_.all()


def test_objectives_are_those_of_weighted_ridge_regressions() -> None:
    rng = np.random.default_rng(5)
    design, y, charge = rng.normal(size=(12, 4)), rng.normal(size=12), rng.uniform(1, 9, 4)
    weights = rng.uniform(0.5, 2, (3, 12)) * (rng.uniform(size=(3, 12)) < 0.8)
    scaled = design / np.sqrt(charge)
    for own, found in zip(weights, objectives(design, y, charge, 0.3, weights), strict=True):
        ridge = Ridge(0.3).fit(scaled, y, sample_weight=own)
        gap = y - ridge.predict(scaled)
        assert found == pytest.approx(own @ gap**2 + 0.3 * ridge.coef_ @ ridge.coef_)


def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    """With labels drawn from the ridge's own model the test is exact; here its level is 5 %."""
    import prune3d.predictor.outliers as module

    rng = np.random.default_rng(6)
    design, charge = rng.normal(size=(14, 3)), np.ones(3)
    weights, alarms, runs = np.ones(14), 0, 1500
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SIGNIFICANCE", 0.05)
        patch.setattr(module, "MOST", 1)
        for _ in range(runs):
            y = 1 + design @ rng.normal(size=3) + rng.normal(size=14)
            kept = inliers(lambda w, y=y: objectives(design, y, charge, 1.0, w), y, weights)
            alarms += not kept.all()
    # The sum over the samples bounds the chance of the largest from above, closely.
    assert 0.03 < alarms / runs < 0.06


@pytest.mark.parametrize("kind, points", [("low_rank", AXES), ("full", GRID)], ids=["axes", "grid"])
def test_orders_are_judged_without_outliers(kind: str, points: np.ndarray) -> None:
    """The same as if the wrecks had never been sampled, wherever they are."""
    y = labels(points, 7)
    for wrecks in ([3], [8], [2, 11]):
        spoilt = y.copy()
        spoilt[wrecks] = 0.05
        rest = np.delete(np.arange(len(y)), wrecks)
        found = choose_order(kind, points, spoilt, degrees=(1, 2), ranks=(1,), loss="robust")
        assert found == choose_order(kind, points[rest], y[rest], degrees=(1, 2), ranks=(1,))
        assert found[0].rmse < 0.05


def test_bootstrap_and_leaving_one_out_leave_outliers_out() -> None:
    y = labels(AXES, 7)
    spoilt = np.where(np.arange(13) == 8, 0.05, y)
    fitted = LowRankPolynomialRegressor(2, n_starts=1, loss="robust").fit(AXES, spoilt)
    rest = np.arange(13) != 8
    plain = LowRankPolynomialRegressor(2, n_starts=1).fit(AXES[rest], y[rest])
    np.testing.assert_array_equal(
        bootstrap(fitted, AXES, spoilt, n=20).predict(BUDGET),
        bootstrap(plain, AXES[rest], y[rest], n=20).predict(BUDGET),
    )
    held = leave_one_out(fitted, AXES, spoilt)
    assert np.abs(held - y)[rest].max() < 0.05

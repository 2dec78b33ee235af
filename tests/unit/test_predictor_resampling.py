"""The bootstrap against refits one by one, known variances, and the coverage it promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.base import clone

from prune3d.predictor import LowRankPolynomialRegressor, PolynomialRegressor, bootstrap
from prune3d.predictor.resampling import leverages

FULL, ONE = PolynomialRegressor(2), LowRankPolynomialRegressor()
TWO = LowRankPolynomialRegressor(2, 2, n_starts=2, tol=1e-11)


def samples(noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.uniform(0.4, 1, (40, 3))
    return X, np.prod(1.1 - 0.3 * (1.1 - X) ** 2, axis=1) + noise * rng.standard_normal(40)


@pytest.mark.parametrize("estimator", [FULL, ONE, TWO])
def test_leverage_is_the_derivative_of_the_prediction_by_the_label(estimator):
    # With a large misfit the curvature of the product would count as well.
    X, y = samples(noise=1e-3)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(y))
    fitted = clone(estimator).fit(X, y, sample_weight=weights)
    found = leverages(fitted, X, weights)
    for i in range(0, len(y), 16):
        moved = [
            clone(estimator)
            .fit(X, y + sign * 1e-4 * (np.arange(len(y)) == i), sample_weight=weights)
            .predict(X[i : i + 1])[0]
            for sign in (1, -1)
        ]
        assert found[i] == pytest.approx((moved[0] - moved[1]) / 2e-4, rel=0.1, abs=0.01)


@pytest.mark.parametrize("estimator", [FULL, ONE])
@pytest.mark.parametrize("weights", [np.ones(40), 0.5 + np.arange(40) % 3])
def test_the_batch_equals_fits_one_by_one(estimator, weights):
    X, y = samples()
    fitted = clone(estimator).fit(X, y, sample_weight=weights)
    ensemble = bootstrap(fitted, X, y, sample_weight=weights, n=6)
    # The documented recipe, with the same draws in the same order.
    rng = np.random.default_rng(0)
    loose = clone(estimator).set_params(alpha=1e-3).fit(X, y, sample_weight=weights)
    gap, leverage = (y - loose.predict(X)) * np.sqrt(weights), leverages(loose, X, weights)
    sizes = np.sqrt(gap @ gap / rng.chisquare(40 - leverage.sum(), 6))
    scaled = gap / np.sqrt(np.maximum(1 - leverage, 0.05))
    scaled /= np.sqrt(np.mean(scaled**2))
    noise = rng.choice(scaled, (6, 40)) * rng.choice([-1.0, 1.0], (6, 40))
    labels = loose.predict(X) + sizes[:, None] * noise / np.sqrt(weights)
    for own, predicted in zip(labels, ensemble.predict(X), strict=True):
        alone = clone(loose).fit(X, own, sample_weight=weights)
        np.testing.assert_allclose(predicted, alone.predict(X), atol=2e-5)


@pytest.mark.parametrize("shape", ["none", "diminishing"])
def test_refits_are_the_same_from_run_to_run(shape):
    X, y = samples()
    fitted = LowRankPolynomialRegressor(shape=shape).fit(X, y)
    one, other = (bootstrap(fitted, X, y, n=3).coefficients for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert len(bootstrap(fitted, X, y, n=3)) == 3


def test_without_ridge_the_spread_is_that_of_least_squares():
    """The standard error of a linear fit is known; the drawn size makes it that of Student's t."""
    rng = np.random.default_rng(2)
    X = rng.uniform(0.4, 1, (60, 3))
    rows = np.einsum("ni,nj,nk->nijk", *[np.column_stack([np.ones(60), x]) for x in X.T])
    rows = rows.reshape(60, -1)
    hat = rows @ np.linalg.pinv(rows)
    exact = 0.01 * np.sqrt(np.diag(hat))
    variances = []
    for _ in range(40):
        y = rows @ rng.standard_normal(8) + 0.01 * rng.standard_normal(60)
        fitted = PolynomialRegressor(1, alpha=0).fit(X, y)
        variances.append(bootstrap(fitted, X, y, n=200).predict(X).var(axis=0))
    student = np.sqrt(52 / 50)  # 60 samples less 8 coefficients
    np.testing.assert_allclose(np.sqrt(np.mean(variances, axis=0)), exact * student, rtol=0.1)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    X = np.ones((13, 3))
    for axis in range(3):
        X[1 + 4 * axis : 5 + 4 * axis, axis] = (0.85, 0.7, 0.55, 0.4)
    Z = np.array(list(itertools.product([0.5, 0.8], repeat=3)))

    def truth(P):
        return 0.95 * np.prod(1.04 - 0.2 * (1.1 - P) ** 2, axis=1)

    hits = []
    for _ in range(80):
        y = truth(X) + 0.004 * rng.standard_normal(13)
        fitted = LowRankPolynomialRegressor(2, n_starts=1).fit(X, y)
        low, high = np.quantile(bootstrap(fitted, X, y, n=200).predict(Z), [0.05, 0.95], axis=0)
        hits.append((low <= truth(Z)) & (truth(Z) <= high))
    assert 0.82 < np.mean(hits) < 0.95

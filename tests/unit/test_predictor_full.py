"""The full polynomial against known coefficients, numpy and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import eval_legendre
from sklearn.linear_model import Ridge

from designs import LOW, axes, grid, surface
from prune3d.predictor import PolynomialRegressor
from prune3d.predictor.parameters import ALPHA_GRID


def monomials(X: np.ndarray, degree: int) -> np.ndarray:
    """Return d^i w^j r^k, one column per (i, j, k)."""
    powers = itertools.product(range(degree + 1), repeat=3)
    return np.column_stack([np.prod(X ** np.array(p), axis=1) for p in powers])


def ridge_features(X: np.ndarray, degree: int, low: np.ndarray) -> np.ndarray:
    """Return the documented features, each divided by the root of its charge; no constant."""
    t = 2 * (X - low) / (1 - low) - 1
    columns = []
    for power in list(itertools.product(range(degree + 1), repeat=3))[1:]:
        values = [np.sqrt(2 * i + 1) * eval_legendre(i, t[:, m]) for m, i in enumerate(power)]
        charge = sum(i * (i + 1) for i in power) ** 3
        columns.append(np.prod(values, axis=0) / np.sqrt(charge))
    return np.column_stack(columns)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_recovers_a_polynomial_of_its_own_degree(degree):
    rng = np.random.default_rng(degree)
    coef = rng.standard_normal((degree + 1,) * 3)
    X = grid(degree + 2)
    y = np.polynomial.polynomial.polyval3d(*X.T, coef)
    fitted = PolynomialRegressor(degree, alpha=0).fit(X, y)
    # Translating to monomials loses about one digit and a half per degree.
    np.testing.assert_allclose(fitted.coef_, coef, atol=1e-12 * 100**degree)
    Z = rng.uniform(LOW, 1, (50, 3))
    expected = np.polynomial.polynomial.polyval3d(*Z.T, coef)
    np.testing.assert_allclose(fitted.predict(Z), expected, atol=1e-10)


def test_without_ridge_it_is_least_squares():
    rng = np.random.default_rng(0)
    X = rng.uniform(LOW, 1, (120, 3))
    y = surface(X) + 0.01 * rng.standard_normal(120)
    weights = rng.uniform(0.5, 2, 120)
    root = np.sqrt(weights)
    solution = np.linalg.lstsq(monomials(X, 2) * root[:, None], y * root, rcond=None)[0]
    fitted = PolynomialRegressor(2, alpha=0).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(fitted.predict(X), monomials(X, 2) @ solution, atol=1e-10)
    np.testing.assert_allclose(fitted.coef_.ravel(), solution, atol=1e-6)


@pytest.mark.parametrize("points", [grid(4), axes(5)], ids=["grid", "axes"])
@pytest.mark.parametrize("alpha", [1e-4, 1e-2, 1.0])
def test_with_ridge_it_is_scikit_learns_ridge_on_the_documented_features(points, alpha):
    rng = np.random.default_rng(1)
    y = surface(points) + 0.01 * rng.standard_normal(len(points))
    weights = rng.uniform(0.5, 2, len(points))
    reference = Ridge(alpha=alpha, solver="svd")
    reference.fit(ridge_features(points, 3, LOW), y, sample_weight=weights)
    Z = rng.uniform(LOW, 1, (50, 3))
    fitted = PolynomialRegressor(3, alpha=alpha).fit(points, y, sample_weight=weights)
    expected = reference.predict(ridge_features(Z, 3, LOW))
    np.testing.assert_allclose(fitted.predict(Z), expected, atol=1e-9)


def test_a_huge_ridge_leaves_the_mean():
    X = grid(3)
    fitted = PolynomialRegressor(2, alpha=1e12).fit(X, surface(X))
    np.testing.assert_allclose(fitted.predict(X), surface(X).mean(), atol=1e-9)


@pytest.mark.parametrize("points", [grid(3), axes(4)], ids=["grid", "axes"])
def test_loo_takes_the_ridge_of_least_leave_one_out_error(points):
    rng = np.random.default_rng(2)
    y = surface(points) + 0.01 * rng.standard_normal(len(points))
    weights = rng.uniform(0.5, 2, len(points))
    features = ridge_features(points, 2, LOW)
    errors = []
    for alpha in ALPHA_GRID:
        misfit = np.empty(len(y))
        for i in range(len(y)):
            rest = np.arange(len(y)) != i
            ridge = Ridge(alpha=alpha, solver="svd")
            ridge.fit(features[rest], y[rest], sample_weight=weights[rest])
            misfit[i] = y[i] - ridge.predict(features[i : i + 1])[0]
        errors.append(weights @ misfit**2)
    chosen = PolynomialRegressor(2, alpha="loo").fit(points, y, sample_weight=weights)
    assert chosen.alpha_ == ALPHA_GRID[np.argmin(errors)]


def test_gradient_is_the_derivative():
    rng = np.random.default_rng(3)
    X = grid(4)
    fitted = PolynomialRegressor(3).fit(X, surface(X))
    Z = rng.uniform(LOW, 1, (20, 3))
    step = 1e-5
    for m in range(3):
        shift = step * np.eye(3)[m]
        numeric = (fitted.predict(Z + shift) - fitted.predict(Z - shift)) / (2 * step)
        np.testing.assert_allclose(fitted.gradient(Z)[:, m], numeric, atol=1e-8)


def test_a_weight_of_two_is_the_sample_twice_and_of_zero_no_sample():
    rng = np.random.default_rng(4)
    X = rng.uniform(LOW, 1, (40, 3))
    y = surface(X)
    counts = rng.integers(0, 3, 40)
    weighted = PolynomialRegressor(2).fit(X, y, sample_weight=counts)
    repeated = PolynomialRegressor(2).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-10)


def test_units_of_the_samples_do_not_matter():
    X = grid(4)
    y = surface(X) + 0.01 * np.random.default_rng(5).standard_normal(len(X))
    fractions = PolynomialRegressor(3, alpha="loo").fit(X, y).predict(X)
    percent = PolynomialRegressor(3, alpha="loo").fit(100 * X, 100 * y).predict(100 * X)
    np.testing.assert_allclose(percent, 100 * fractions, atol=1e-9)


def test_a_narrow_range_is_no_harder():
    """Monomials on [0.97, 1] are collinear to ten digits."""
    X = 0.97 + 0.03 * (grid(5) - LOW) / (1 - LOW)
    y = np.prod((X - 0.98) / 0.02, axis=1) + np.sum(((X - 0.99) / 0.01) ** 4, axis=1)
    fitted = PolynomialRegressor(4, alpha=0).fit(X, y)
    np.testing.assert_allclose(fitted.predict(X), y, atol=1e-10)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"degree": -1}, "degree is -1 but must be an integer of at least 0"),
        ({"degree": 1.5}, "degree is 1.5 but must be an integer"),
        ({"alpha": -1.0}, "alpha is -1.0 but must be a number of at least 0"),
        ({"alpha": "cv"}, "alpha is 'cv' but must be"),
        ({"degree": 60}, "has 226981 coefficients but at most 100000 are allowed"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        PolynomialRegressor(**parameters).fit(grid(2), surface(grid(2)))


def test_loo_needs_two_samples():
    with pytest.raises(ValueError, match="1 sample is too few"):
        PolynomialRegressor(alpha="loo").fit([[1, 1, 1]], [0.9])

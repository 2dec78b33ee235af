"""The rivals, and the polynomials beside independent implementations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorly
from sklearn.linear_model import LinearRegression
from tensorly.regression import CPRegressor

from prune3d.predictor import (
    AdditivePolynomialRegressor,
    LowRankPolynomialRegressor,
    ParetoProcessRegressor,
    PolynomialRegressor,
    choose_order,
    make_rival,
)
from prune3d.predictor.design import RIVALS
from prune3d.predictor.rivals import pareto


def surface(X: np.ndarray) -> np.ndarray:
    """Return an accuracy that saturates along each ratio."""
    return 0.95 - np.exp(-4 * X) @ np.array([0.4, 0.5, 0.3])


def monomials(X: np.ndarray, degree: int) -> np.ndarray:
    """Return the tensors d^i w^j r^k, shape (n, K + 1, K + 1, K + 1)."""
    powers = X[:, :, None] ** np.arange(degree + 1)
    return np.einsum("ni,nj,nk->nijk", *powers.swapaxes(0, 1))


def test_the_full_polynomial_without_ridge_is_numpys_least_squares():
    rng = np.random.default_rng(0)
    X, Z = rng.uniform(0.3, 1, (90, 3)), rng.uniform(0.3, 1, (30, 3))
    y = surface(X) + 0.01 * rng.standard_normal(90)
    rows = monomials(X, 2).reshape(90, -1)
    coef = np.linalg.lstsq(rows, y, rcond=None)[0]
    ours = PolynomialRegressor(2, alpha=0).fit(X, y)
    np.testing.assert_allclose(ours.predict(Z), monomials(Z, 2).reshape(30, -1) @ coef, atol=1e-7)
    np.testing.assert_allclose(ours.coef_.ravel(), coef, rtol=1e-5)


@pytest.mark.parametrize("rank", [1, 2])
def test_the_low_rank_polynomial_is_tensorlys_cp_regression(rank):
    """Both without ridge on the same data: the least misfit, and so the predictions, agree."""
    rng = np.random.default_rng(1)
    factors = rng.uniform(-0.5, 1, (3, rank, 3))
    X = rng.uniform(-1, 1, (80, 3))
    # On [-1, 1] monomials are as good a basis as any.
    y = np.einsum("nijk,qi,qj,qk->n", monomials(X, 2), *factors)
    y += 0.01 * rng.standard_normal(80)
    tensorly.set_backend("numpy")
    ours = LowRankPolynomialRegressor(2, rank, alpha=0, max_iter=5000, tol=1e-13).fit(X, y)
    misfits, predictions = [], []
    for start in range(5):
        theirs = CPRegressor(rank, tol=1e-12, reg_W=0, n_iter_max=2000, random_state=start)
        theirs.fit(monomials(X, 2), y)
        predictions.append(np.asarray(theirs.predict(monomials(X, 2))))
        misfits.append(np.sum((predictions[-1] - y) ** 2))
    misfit = np.sum((ours.predict(X) - y) ** 2)
    assert misfit <= min(misfits) * (1 + 1e-6)
    np.testing.assert_allclose(ours.predict(X), predictions[np.argmin(misfits)], atol=1e-3)


def test_the_additive_polynomial_without_ridge_is_a_linear_model_of_powers():
    rng = np.random.default_rng(2)
    X, Z = rng.uniform(0.3, 1, (40, 3)), rng.uniform(0.3, 1, (10, 3))
    y = surface(X) + 0.01 * rng.standard_normal(40)
    weights = rng.uniform(0.5, 2, 40)
    powers = [np.hstack([A, A**2, A**3]) for A in (X, Z)]
    expected = LinearRegression().fit(powers[0], y, weights).predict(powers[1])
    ours = AdditivePolynomialRegressor(alpha=0).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(ours.predict(Z), expected, atol=1e-8)
    step = 1e-5
    numeric = [
        (ours.predict(Z + step * e) - ours.predict(Z - step * e)) / (2 * step) for e in np.eye(3)
    ]
    np.testing.assert_allclose(ours.gradient(Z), np.transpose(numeric), atol=1e-7)


def test_pareto_samples_are_those_that_none_beats():
    rng = np.random.default_rng(3)
    cost, accuracy = rng.integers(0, 30, 60).astype(float), rng.integers(0, 20, 60) / 20
    found = pareto(cost, accuracy)
    pairs = {(cost[i], accuracy[i]) for i in range(60)}
    front = {
        (c, a)
        for c, a in pairs
        if not any((d <= c and b > a) or (d < c and b >= a) for d, b in pairs)
    }
    assert {(cost[i], accuracy[i]) for i in found} == front
    assert np.all(np.diff(cost[found]) > 0)


def test_the_pareto_process_sees_the_front_alone():
    X = np.array(list(itertools.product([0.4, 0.6, 0.8, 1.0], repeat=3)))
    y = surface(X)
    fitted = ParetoProcessRegressor().fit(X, y)
    assert len(fitted.pareto_) < len(X) / 2
    other = np.where(np.isin(np.arange(64), fitted.pareto_), y, y - 0.01)
    np.testing.assert_allclose(ParetoProcessRegressor().fit(X, other).predict(X), fitted.predict(X))


@pytest.mark.parametrize("kind", RIVALS)
def test_every_rival_learns_a_smooth_surface(kind):
    rng = np.random.default_rng(4)
    X, Z = rng.uniform(0.4, 1, (64, 3)), rng.uniform(0.45, 0.95, (50, 3))
    fitted = make_rival(kind).fit(X, surface(X))
    error = np.sqrt(np.mean((fitted.predict(Z) - surface(Z)) ** 2))
    assert error < 0.6 * np.std(surface(Z))


def test_an_unknown_rival_is_refused():
    with pytest.raises(ValueError, match="the rival is 'forest' but must be one of additive"):
        make_rival("forest")


def test_cross_validation_finds_the_degree_and_rank_that_made_the_labels():
    rng = np.random.default_rng(5)
    X = rng.uniform(-1, 1, (120, 3))
    factors = rng.standard_normal((3, 2, 3))
    y = np.einsum("nijk,qi,qj,qk->n", monomials(X, 2), *factors)
    y += 0.02 * rng.standard_normal(120)
    orders = choose_order("low_rank", X, y, degrees=(1, 2), alpha=1e-6)
    assert (orders[0].degree, orders[0].rank) == (2, 2)
    assert [o.rmse for o in orders] == sorted(o.rmse for o in orders)
    assert orders[0].rmse == pytest.approx(0.02, rel=0.4)


def test_cross_validation_leaves_out_what_the_samples_cannot_determine():
    X = np.ones((10, 3))
    for axis in range(3):
        X[1 + 3 * axis : 4 + 3 * axis, axis] = (0.8, 0.6, 0.4)
    orders = choose_order("low_rank", X, surface(X))
    assert {(o.degree, o.rank) for o in orders} == {(1, 1), (2, 1), (3, 1)}
    with pytest.raises(ValueError, match="no degree and rank can be chosen: the design has 4"):
        choose_order("low_rank", X, surface(X), degrees=(5,))


def test_one_dimension_of_two_levels_does_not_lower_the_degree_of_the_others():
    """Cubic curves along width and resolution, of a network that can lose one block alone."""
    levels = np.linspace(1, 0.3, 8)
    X = np.array(list(itertools.product([1.0, 0.5], levels, levels)))
    bend = 1 - 4 * (X[:, 1:] - 0.4) * (X[:, 1:] - 0.65) * (X[:, 1:] - 0.9)
    y = (0.5 + 0.4 * X[:, 0]) * np.prod(bend, axis=1)
    y += 1e-4 * np.random.default_rng(6).standard_normal(len(y))
    orders = choose_order("low_rank", X, y, ranks=(1,), alpha=1e-6, few=("depth",))
    assert {order.degree for order in orders} == {1, 2, 3, 4}
    assert orders[0].degree == 3
    assert [o.degree for o in choose_order("low_rank", X, y, ranks=(1,))] == [1]


def test_no_degree_is_tried_that_no_dimension_determines():
    X = np.ones((7, 3))
    for axis in range(3):
        X[1 + 2 * axis : 3 + 2 * axis, axis] = (0.7, 0.4)
    few = ("depth", "width", "resolution")
    assert {o.degree for o in choose_order("low_rank", X, surface(X), few=few)} == {1, 2}
    given = choose_order("low_rank", X, surface(X), degrees=(3,), few=few)
    assert {o.degree for o in given} == {3}

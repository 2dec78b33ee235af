"""Shape constraints against a general solver, and on a fine grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from prune3d.predictor import LowRankPolynomialRegressor, PolynomialRegressor
from prune3d.predictor.shape import minimise

ESTIMATORS = [
    PolynomialRegressor(),
    LowRankPolynomialRegressor(),
    LowRankPolynomialRegressor(2, 2, n_starts=2),
]


def noisy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples of a saturating surface whose noise hides its shape."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.3, 1, (40, 3))
    y = 0.95 - np.exp(-4 * X) @ [0.4, 0.5, 0.3] + 0.04 * rng.standard_normal(40)
    return X, y


def steps(predictor, order: int) -> list[np.ndarray]:
    """Return differences of an order along each dimension, on 17 levels over the range."""
    lines = [np.linspace(low, high, 17) for low, high in predictor.domain_]
    values = predictor.predict(np.array(list(itertools.product(*lines)))).reshape(17, 17, 17)
    return [np.diff(values, order, axis) for axis in range(3)]


@pytest.mark.parametrize("seed", range(8))
def test_the_quadratic_program_is_solved_as_by_slsqp(seed):
    rng = np.random.default_rng(seed)
    root, target = rng.standard_normal((12, 6)), rng.standard_normal(6)
    constraints = rng.standard_normal((9, 6))
    matrix = root.T @ root
    found = minimise(matrix, target, constraints)
    other = minimize(
        lambda x: x @ matrix @ x / 2 - target @ x,
        np.zeros(6),
        jac=lambda x: matrix @ x - target,
        constraints=[{"type": "ineq", "fun": lambda x: constraints @ x}],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 300},
    )
    np.testing.assert_allclose(found, other.x, atol=1e-6)
    assert (constraints @ found).min() > -1e-9


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_shaped_fits_have_their_shape_and_cost_some_misfit(estimator):
    X, y = noisy(0)
    free = estimator.set_params(shape="none").fit(X, y)
    misfit = [np.sum((free.predict(X) - y) ** 2)]
    assert min(step.min() for step in steps(free, 1)) < -5e-4
    for shape in ("increasing", "diminishing"):
        shaped = estimator.set_params(shape=shape).fit(X, y)
        # Between the points of the grid a cubic can dip a little.
        assert min(step.min() for step in steps(shaped, 1)) > -3e-3
        if shape == "diminishing":
            assert max(step.max() for step in steps(shaped, 2)) < 1e-3
        misfit.append(np.sum((shaped.predict(X) - y) ** 2))
    assert misfit[0] < misfit[1] <= misfit[2]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_surface_of_the_shape_is_left_alone(estimator):
    rng = np.random.default_rng(1)
    X = rng.uniform(0.3, 1, (60, 3))
    y = np.prod(1.2 - 0.4 * (1.3 - X) ** 2, axis=1)
    free = estimator.set_params(shape="none", alpha=1e-6).fit(X, y)
    shaped = estimator.set_params(shape="diminishing").fit(X, y)
    np.testing.assert_allclose(shaped.predict(X), free.predict(X), atol=1e-3)


def test_the_objective_of_a_shaped_low_rank_fit_never_rises():
    fitted = LowRankPolynomialRegressor(rank=2, shape="increasing", n_starts=2).fit(*noisy(2))
    assert len(fitted.objective_path_) == fitted.n_iter_ > 3
    assert np.all(np.diff(fitted.objective_path_) < 0)


def test_wrong_shapes_are_refused():
    X, y = noisy(3)
    with pytest.raises(ValueError, match="shape is 'convex' but must be one of none, increasing"):
        PolynomialRegressor(shape="convex").fit(X, y)
    with pytest.raises(ValueError, match="at most 4 features but there are 6"):
        LowRankPolynomialRegressor(1, shape="increasing").fit(np.hstack([X, X]), y)

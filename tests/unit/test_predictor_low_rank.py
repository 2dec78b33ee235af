"""The polynomial of low tensor rank against its identities and an independent optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from designs import LOW, axes, grid, surface
from prune3d.predictor import LowRankPolynomialRegressor, leave_one_out
from prune3d.predictor.parameters import ALPHA_GRID


def product(X: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Multiply a cubic of each ratio; curves of shape (3, 4) in monomials."""
    values = [np.polynomial.polynomial.polyval(x, c) for x, c in zip(X.T, curves, strict=True)]
    return np.prod(values, axis=0)


def legendre(X: np.ndarray, low: np.ndarray, degree: int) -> np.ndarray:
    """Return the documented basis, shape (3, n, K + 1)."""
    t = 2 * (X - low) / (1 - low) - 1
    scale = np.sqrt(2 * np.arange(degree + 1) + 1)
    return np.array([np.polynomial.legendre.legvander(c, degree) * scale for c in t.T])


def documented_objective(factors, X, y, weights, alpha):
    """Evaluate the objective from the whole coefficient tensor; factors in Legendre."""
    rank, degree = factors.shape[1], factors.shape[2] - 1
    basis = legendre(X, LOW, degree)
    parts = np.einsum("qi,qj,qk->qijk", *factors)
    tensor = parts.sum(axis=0)
    predicted = np.einsum("ijk,ni,nj,nk->n", tensor, *basis)
    q = (np.arange(degree + 1.0) * np.arange(1, degree + 2)) ** 3
    charge = q[:, None, None] + q[:, None] + q
    ridge = np.sum(charge * tensor**2)
    if rank > 1:
        ridge += 1e-3 * np.sum(parts**2)
    return weights @ (y - predicted) ** 2 + alpha * ridge


def test_axes_alone_determine_a_product():
    rng = np.random.default_rng(0)
    curves = np.column_stack([np.ones(3), rng.uniform(-0.5, 1, (3, 3))])
    fitted = LowRankPolynomialRegressor(alpha=0).fit(axes(5), product(axes(5), curves))
    Z = rng.uniform(LOW, 1, (100, 3))
    np.testing.assert_allclose(fitted.predict(Z), product(Z, curves), rtol=1e-8)


def test_rank_one_obeys_the_identity_through_the_dense_point():
    """F(d,w,r) = F(d,1,1) F(1,w,1) F(1,1,r) / F(1,1,1)^2, whatever the labels."""
    rng = np.random.default_rng(1)
    X = axes(5)
    y = surface(X) + 0.01 * rng.standard_normal(len(X))
    predict = LowRankPolynomialRegressor().fit(X, y).predict
    Z = rng.uniform(LOW, 1, (30, 3))
    along = [predict(np.where(np.eye(3)[m] == 1, Z, 1.0)) for m in range(3)]
    expected = np.prod(along, axis=0) / predict(np.ones((1, 3))) ** 2
    np.testing.assert_allclose(predict(Z), expected, rtol=1e-12)


def test_without_ridge_rank_one_on_axes_is_three_curves_through_one_point():
    """The least-squares optimum is a linear problem there: three cubics that agree at 1."""
    rng = np.random.default_rng(2)
    X = axes(6)
    y = surface(X) + 0.01 * rng.standard_normal(len(X))
    design = np.column_stack([np.ones(len(X))] + [X**p - 1 for p in (1, 2, 3)])
    expected = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    fitted = LowRankPolynomialRegressor(alpha=0).fit(X, y)
    np.testing.assert_allclose(fitted.predict(X), expected, atol=1e-8)


@pytest.mark.parametrize("alpha", [1e-3, 1e-1])
def test_rank_one_on_axes_reaches_the_global_optimum(alpha):
    rng = np.random.default_rng(3)
    X = axes(4)
    y = surface(X) + 0.02 * rng.standard_normal(len(X))
    weights = rng.uniform(0.5, 2, len(X))
    fitted = LowRankPolynomialRegressor(alpha=alpha).fit(X, y, sample_weight=weights)

    def loss(flat: np.ndarray) -> float:
        return documented_objective(flat.reshape(3, 1, 4), X, y, weights, alpha)

    best = np.inf
    for _ in range(6):
        start = np.concatenate([[1, 0, 0, 0]] * 3) + 0.3 * rng.standard_normal(12)
        best = min(best, minimize(loss, start, method="BFGS", options={"gtol": 1e-9}).fun)
    assert fitted.objective_ <= best * (1 + 1e-6)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_objective_is_the_documented_one_and_never_rises(rank):
    rng = np.random.default_rng(4)
    X = grid(4)
    y = surface(X) + 0.01 * rng.standard_normal(len(X))
    weights = rng.uniform(0.5, 2, len(X))
    fitted = LowRankPolynomialRegressor(rank=rank, n_starts=2, max_iter=60)
    fitted.fit(X, y, sample_weight=weights)
    expected = documented_objective(fitted.basis_factors_, X, y, weights, 1e-2)
    assert fitted.objective_ == pytest.approx(expected, rel=1e-9)
    assert fitted.objective_path_[-1] == fitted.objective_
    assert np.all(np.diff(fitted.objective_path_) <= 1e-12)
    assert len(fitted.objective_path_) == fitted.n_iter_ + 1


def test_recovers_rank_two_on_a_grid():
    rng = np.random.default_rng(5)
    first = np.column_stack([np.ones(3), rng.uniform(-0.5, 1, (3, 3))])
    second = rng.uniform(-1, 1, (3, 4))
    X = grid(5)
    y = product(X, first) + product(X, second)
    fitted = LowRankPolynomialRegressor(rank=2, alpha=0, max_iter=3000, tol=1e-12).fit(X, y)
    Z = rng.uniform(LOW, 1, (100, 3))
    expected = product(Z, first) + product(Z, second)
    np.testing.assert_allclose(fitted.predict(Z), expected, atol=1e-4)


def test_components_do_not_grow_and_cancel():
    """A sum d + w + r is a limit of rank two that is reached only by infinite components."""
    X = grid(4)
    fitted = LowRankPolynomialRegressor(rank=2).fit(X, X.sum(axis=1))
    assert np.abs(np.prod(np.linalg.norm(fitted.basis_factors_, axis=2), axis=0)).max() < 100
    assert np.abs(fitted.predict(X) - X.sum(axis=1)).max() < 0.05


def test_ridge_helps_on_few_noisy_samples():
    """On 13 labels with a noise of 0.01 the error elsewhere falls well below that of no ridge."""
    rng = np.random.default_rng(6)
    X, Z = axes(5), rng.uniform(LOW, 1, (500, 3))
    errors = {0: [], 1e-2: [], "loo": []}
    for _ in range(25):
        y = surface(X) + 0.01 * rng.standard_normal(len(X))
        for alpha, values in errors.items():
            fitted = LowRankPolynomialRegressor(alpha=alpha, n_starts=2).fit(X, y)
            values.append(np.sqrt(np.mean((fitted.predict(Z) - surface(Z)) ** 2)))
    means = {alpha: np.mean(values) for alpha, values in errors.items()}
    assert means[1e-2] < 0.9 * means[0]
    assert means["loo"] < 0.9 * means[0]
    assert means[1e-2] < 0.02


def test_a_huge_ridge_leaves_the_mean():
    X = grid(3)
    fitted = LowRankPolynomialRegressor(2, alpha=1e9).fit(X, surface(X))
    np.testing.assert_allclose(fitted.predict(X), surface(X).mean(), atol=1e-6)


def test_loo_takes_the_ridge_of_least_leave_one_out_error():
    rng = np.random.default_rng(7)
    X = grid(3)
    y = surface(X) + 0.01 * rng.standard_normal(len(X))
    weights = rng.uniform(0.5, 2, len(X))
    errors = []
    for alpha in ALPHA_GRID:
        held_out = leave_one_out(
            LowRankPolynomialRegressor(2, alpha=alpha, n_starts=1), X, y, sample_weight=weights
        )
        errors.append(weights @ (y - held_out) ** 2)
    chosen = LowRankPolynomialRegressor(2, alpha="loo").fit(X, y, sample_weight=weights)
    assert chosen.alpha_ == ALPHA_GRID[np.argmin(errors)]


@pytest.mark.parametrize("rank", [1, 2])
def test_factors_give_the_predictions_and_are_normalised(rank):
    X = grid(4)
    fitted = LowRankPolynomialRegressor(rank=rank).fit(X, surface(X))
    parts = [product(X, fitted.factors_[:, q]) for q in range(rank)]
    np.testing.assert_allclose(np.sum(parts, axis=0), fitted.predict(X), atol=1e-9)
    # Root mean square over the box by quadrature.
    nodes, node_weights = np.polynomial.legendre.leggauss(8)
    for m in (1, 2):
        x = LOW[m] + (1 - LOW[m]) * (nodes + 1) / 2
        for curve in fitted.factors_[m]:
            values = np.polynomial.polynomial.polyval(x, curve)
            assert values**2 @ node_weights / 2 == pytest.approx(1)


def test_factors_do_not_depend_on_the_starts():
    X = grid(4)
    one, other = (
        LowRankPolynomialRegressor(random_state=seed, tol=1e-13).fit(X, surface(X)).factors_
        for seed in (0, 1)
    )
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2])
def test_gradient_is_the_derivative(rank):
    rng = np.random.default_rng(8)
    X = grid(4)
    fitted = LowRankPolynomialRegressor(rank=rank).fit(X, surface(X))
    Z = rng.uniform(LOW, 1, (20, 3))
    step = 1e-5
    for m in range(3):
        shift = step * np.eye(3)[m]
        numeric = (fitted.predict(Z + shift) - fitted.predict(Z - shift)) / (2 * step)
        np.testing.assert_allclose(fitted.gradient(Z)[:, m], numeric, atol=1e-8)


def test_a_weight_of_two_is_the_sample_twice_and_of_zero_no_sample():
    rng = np.random.default_rng(9)
    X = rng.uniform(LOW, 1, (40, 3))
    y = surface(X)
    counts = rng.integers(0, 3, 40)
    weighted = LowRankPolynomialRegressor().fit(X, y, sample_weight=counts)
    repeated = LowRankPolynomialRegressor().fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-8)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rank": 0}, "rank is 0 but must be an integer of at least 1"),
        ({"degree": True}, "degree is True but must be an integer"),
        ({"alpha": float("nan")}, "alpha is nan but must be a number"),
        ({"n_starts": 0}, "n_starts is 0 but must be"),
        ({"max_iter": 0}, "max_iter is 0 but must be"),
        ({"tol": -1}, "tol is -1 but must be"),
    ],
)
def test_wrong_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        LowRankPolynomialRegressor(**parameters).fit(grid(2), surface(grid(2)))


def test_all_zero_weights_are_refused():
    with pytest.raises(ValueError, match=r"(?i)sample weights .*zero"):
        LowRankPolynomialRegressor().fit(grid(2), surface(grid(2)), sample_weight=np.zeros(8))

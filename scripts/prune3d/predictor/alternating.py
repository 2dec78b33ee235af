"""Alternating ridge least squares for a polynomial of low tensor rank.

Many problems that differ in start, sample weights or ridge are solved together, as one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune3d.predictor.basis import Array

# Share of the ridge that each rank-one component pays for its own size when there are several.
# Without it two components can grow without bound while their sum stays finite (a tensor of border
# rank 2, for example d + w + r).
COMPONENT_SHARE = 1e-3
# Part of the mean curvature added when a step is solved for. It keeps directions that no sample
# sees in place, and a damped step still never raises the objective.
DAMPING = 1e-11


@dataclass(frozen=True)
class Problem:
    """Data of one batch of S fits that share samples and basis.

    Attributes
    ----------
    basis : ndarray of shape (p, n, K + 1)
        Basis functions at the samples.
    y : ndarray of shape (n,) or (S, n)
        Labels, the same for all fits or each its own.
    weights : ndarray of shape (S, n)
        Sample weights, at least 0.
    alpha : ndarray of shape (S,)
        Ridge, at least 0.
    penalty : ndarray of shape (K + 1,)
        Charge per basis function.
    """

    basis: Array
    y: Array
    weights: Array
    alpha: Array
    penalty: Array

    def only(self, keep: np.ndarray) -> Problem:
        """Return the fits selected by a boolean mask of shape (S,)."""
        y = self.y if self.y.ndim == 1 else self.y[keep]
        return Problem(self.basis, y, self.weights[keep], self.alpha[keep], self.penalty)


@dataclass(frozen=True)
class Solution:
    """Result of `alternate`.

    Attributes
    ----------
    factors : ndarray of shape (S, p, R, K + 1)
        Basis coefficients.
    path : ndarray of shape (S, sweeps + 1)
        Objective at the start and after each sweep; a fit that has converged repeats its last.
    n_iter : ndarray of shape (S,)
        Sweeps done.
    """

    factors: Array
    path: Array
    n_iter: np.ndarray


@dataclass
class State:
    """Factors with what follows from them, renewed one column at a time.

    Attributes
    ----------
    factors : ndarray of shape (S, p, R, K + 1)
    curves : ndarray of shape (S, p, R, n)
        Each factor at the samples.
    size, rough : ndarray of shape (S, p, R, R)
        Inner products of the factors of each column, plain and by charge.
    """

    factors: Array
    curves: Array
    size: Array
    rough: Array

    def only(self, keep: np.ndarray) -> State:
        """Return the fits selected by a boolean mask of shape (S,)."""
        return State(self.factors[keep], self.curves[keep], self.size[keep], self.rough[keep])

    def put(self, problem: Problem, column: int, factors: Array) -> None:
        """Set one column's factors, shape (S, R, K + 1)."""
        turned = factors.swapaxes(1, 2)
        self.factors[:, column] = factors
        self.curves[:, column] = factors @ problem.basis[column].T
        self.size[:, column] = factors @ turned
        self.rough[:, column] = (factors * problem.penalty) @ turned

    def balance(self) -> None:
        """Give all factors of a component the same norm; the polynomial stays as it is."""
        norms = np.sqrt(np.diagonal(self.size, axis1=2, axis2=3))
        scale = _common_scale(norms)
        pairs = scale[..., :, None] * scale[..., None, :]
        self.factors *= scale[..., None]
        self.curves *= scale[..., None]
        self.size *= pairs
        self.rough *= pairs


def state_of(problem: Problem, factors: Array) -> State:
    """Work out the state of factors of shape (S, p, R, K + 1)."""
    turned = factors.swapaxes(2, 3)
    curves = factors @ problem.basis.transpose(0, 2, 1)
    return State(factors, curves, factors @ turned, (factors * problem.penalty) @ turned)


def alternate(problem: Problem, factors: Array, max_iter: int, tol: float) -> Solution:
    """Minimise the objective over one column's factors at a time until it stops falling.

    The objective is sum_n weight_n (y_n - F(x_n))^2 + alpha sum_ijk charge_ijk c_ijk^2 with c the
    coefficients of F and charge_ijk the sum of `penalty` over i, j and k; for rank > 1 also alpha
    `COMPONENT_SHARE` times the squared size of each component. It does not change when scale moves
    from one factor of a component to another, and each step is a minimisation, so it never rises.

    Parameters
    ----------
    problem : Problem
    factors : ndarray of shape (S, p, R, K + 1)
        Where to start.
    max_iter : int
        Largest number of sweeps.
    tol : float
        A fit stops when a sweep lowers its objective by less than this fraction.

    Returns
    -------
    Solution
    """
    factors = factors.copy()
    size = np.sum(problem.weights * problem.y**2, axis=1)
    n_iter = np.zeros(len(factors), dtype=int)
    active = np.arange(len(factors))
    part, state = problem, state_of(problem, balance(factors))
    path = [_objective(part, state)]
    for _ in range(max_iter):
        if not len(active):
            break
        _sweep(part, state)
        value = _objective(part, state)
        fall = path[-1][active] - value
        assert np.all(fall >= -1e-9 * (size[active] + value)), "the objective rose"
        n_iter[active] += 1
        path.append(path[-1].copy())
        path[-1][active] = value
        goes_on = fall > tol * value + 1e-15 * size[active]
        if not goes_on.all():
            factors[active[~goes_on]] = state.factors[~goes_on]
            active = active[goes_on]
            part, state = part.only(goes_on), state.only(goes_on)
    factors[active] = state.factors
    return Solution(factors, np.array(path).T, n_iter)


def objective(problem: Problem, factors: Array) -> Array:
    """Evaluate the objective of `alternate`.

    Parameters
    ----------
    problem : Problem
    factors : ndarray of shape (S, p, R, K + 1)

    Returns
    -------
    ndarray of shape (S,)
    """
    return _objective(problem, state_of(problem, factors))


def evaluate(basis: Array, factors: Array) -> Array:
    """Evaluate the polynomials at the samples of a basis.

    Parameters
    ----------
    basis : ndarray of shape (p, n, K + 1)
    factors : ndarray of shape (S, p, R, K + 1)

    Returns
    -------
    ndarray of shape (S, n)
    """
    return np.sum(np.prod(factors @ basis.transpose(0, 2, 1), axis=1), axis=1)


def balance(factors: Array) -> Array:
    """Give all factors of a component the same norm; the polynomial stays as it is.

    Parameters
    ----------
    factors : ndarray of shape (S, p, R, K + 1)

    Returns
    -------
    ndarray of shape (S, p, R, K + 1)
    """
    return factors * _common_scale(np.linalg.norm(factors, axis=3))[..., None]


def _common_scale(norms: Array) -> Array:
    """Return what brings norms of shape (S, p, R) to their geometric mean over p, or 1."""
    usable = np.all(norms > 0, axis=1, keepdims=True)
    safe = np.where(usable, norms, 1.0)
    return np.exp(np.mean(np.log(safe), axis=1, keepdims=True)) / safe


def _objective(problem: Problem, state: State) -> Array:
    columns, rank = state.curves.shape[1:3]
    misfit = problem.y - _product(state.curves).sum(axis=1)
    energy = sum(_product(state.size, m) * state.rough[:, m] for m in range(columns))
    total = np.sum(energy, axis=(1, 2))
    if rank > 1:
        total = total + COMPONENT_SHARE * np.trace(_product(state.size), axis1=1, axis2=2)
    return np.sum(problem.weights * misfit**2, axis=1) + problem.alpha * total


def _sweep(problem: Problem, state: State) -> None:
    """Minimise over each column's factors once."""
    for column in range(problem.basis.shape[0]):
        matrix, target = normal_equations(problem, state, column)
        old = state.factors[:, column]
        flat = old.reshape(len(old), -1, 1)
        residual = target[..., None] - matrix @ flat
        state.put(problem, column, old + _step(matrix, residual).reshape(old.shape))
    state.balance()


def normal_equations(problem: Problem, state: State, column: int) -> tuple[Array, Array]:
    """Return the matrix (S, R (K + 1), R (K + 1)) and right side of one column's least squares."""
    batch, columns, rank, terms = state.factors.shape
    others = _product(state.curves, column)
    design = others[:, :, None, :] * problem.basis[column].T
    design = design.reshape(batch, rank * terms, -1)
    weighted = design * problem.weights[:, None, :]
    own = _product(state.size, column)
    level = np.zeros_like(own)
    for m in range(columns):
        if m != column:
            level += state.rough[:, m] * _product(state.size, m, column)
    if rank > 1:
        level += COMPONENT_SHARE * own * np.eye(rank)
    # Where i = j the ridge is own[q, q'] penalty[i] + level[q, q'], elsewhere zero.
    blocks = np.zeros((batch, rank, terms, rank, terms))
    for i, charge in enumerate(problem.penalty):
        blocks[:, :, i, :, i] = charge * own + level
    ridge = blocks.reshape(batch, rank * terms, rank * terms)
    matrix = weighted @ design.swapaxes(1, 2) + problem.alpha[:, None, None] * ridge
    y = np.broadcast_to(problem.y, problem.weights.shape)
    return matrix, (weighted @ y[..., None])[..., 0]


def _step(matrix: Array, residual: Array) -> Array:
    """Solve positive semidefinite systems, slightly damped."""
    diagonal = np.arange(matrix.shape[1])
    damped = matrix.copy()
    mean = np.trace(matrix, axis1=1, axis2=2) / len(diagonal)
    damped[:, diagonal, diagonal] += np.where(mean > 0, DAMPING * mean, 1.0)[:, None]
    return np.asarray(np.linalg.solve(damped, residual), dtype=np.float64)


def _product(values: Array, *without: int) -> Array:
    """Multiply (S, p, R, ...) over the columns p, some left out."""
    keep = [m for m in range(values.shape[1]) if m not in without]
    product = np.ones_like(values[:, 0]) if not keep else values[:, keep[0]].copy()
    for m in keep[1:]:
        product *= values[:, m]
    return product

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


@dataclass(frozen=True)
class Problem:
    """Data of one batch of S fits that share samples and basis.

    Attributes
    ----------
    basis : ndarray of shape (p, n, K + 1)
        Basis functions at the samples.
    y : ndarray of shape (n,)
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
        return Problem(self.basis, self.y, self.weights[keep], self.alpha[keep], self.penalty)


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


def alternate(problem: Problem, factors: Array, max_iter: int, tol: float) -> Solution:
    """Minimise the objective over one column's factors at a time until it stops falling.

    The objective is sum_n weight_n (y_n - F(x_n))^2 + alpha sum_ijk charge_ijk c_ijk^2 with c the
    coefficients of F and charge_ijk the sum of `penalty` over i, j and k; for rank > 1 also alpha
    `COMPONENT_SHARE` times the squared size of each component. It does not change when scale moves
    from one factor of a component to another, and each step is an exact minimisation, so it never
    rises.

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
    factors = balance(factors)
    size = problem.weights @ problem.y**2
    path = [objective(problem, factors)]
    n_iter = np.zeros(len(factors), dtype=int)
    active = np.ones(len(factors), dtype=bool)
    for _ in range(max_iter):
        if not active.any():
            break
        factors[active] = _sweep(problem.only(active), factors[active])
        n_iter[active] += 1
        value = path[-1].copy()
        value[active] = objective(problem.only(active), factors[active])
        fall = path[-1] - value
        assert np.all(fall >= -1e-9 * (size + path[-1])), "the objective rose"
        active &= fall > tol * value + 1e-15 * size
        path.append(value)
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
    columns = problem.basis.shape[0]
    misfit = problem.y - evaluate(problem.basis, factors)
    size, rough = _grams(factors, problem.penalty)
    energy = sum(_product(size, {m}) * rough[:, m] for m in range(columns))
    total = np.sum(energy, axis=(1, 2))
    if factors.shape[2] > 1:
        total = total + COMPONENT_SHARE * np.trace(_product(size, set()), axis1=1, axis2=2)
    return np.sum(problem.weights * misfit**2, axis=1) + problem.alpha * total


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
    return np.sum(np.prod(_curves(basis, factors), axis=1), axis=1)


def balance(factors: Array) -> Array:
    """Give all factors of a component the same norm; the polynomial stays as it is.

    Parameters
    ----------
    factors : ndarray of shape (S, p, R, K + 1)

    Returns
    -------
    ndarray of shape (S, p, R, K + 1)
    """
    norms = np.linalg.norm(factors, axis=3, keepdims=True)
    safe = np.where(norms > 0, norms, 1.0)
    common = np.exp(np.mean(np.log(safe), axis=1, keepdims=True))
    return factors * np.where(np.all(norms > 0, axis=1, keepdims=True), common / safe, 1.0)


def _sweep(problem: Problem, factors: Array) -> Array:
    """Minimise over each column's factors once."""
    factors = factors.copy()
    for column in range(problem.basis.shape[0]):
        matrix, target = _normal_equations(problem, factors, column)
        flat = factors[:, column].reshape(len(factors), -1)
        # Solving for the step, not the solution, leaves directions that no sample sees unchanged.
        residual = target - np.einsum("sab,sb->sa", matrix, flat)
        factors[:, column] += _solve(matrix, residual).reshape(factors[:, column].shape)
    return balance(factors)


def _normal_equations(problem: Problem, factors: Array, column: int) -> tuple[Array, Array]:
    """Return the matrix (S, R(K+1), R(K+1)) and right side of one column's least squares."""
    batch, columns, rank, terms = factors.shape
    curves = _curves(problem.basis, factors)
    others = np.prod(np.delete(curves, column, axis=1), axis=1)
    design = others[:, :, None, :] * problem.basis[column].T
    design = design.reshape(batch, rank * terms, -1)
    weighted = design * problem.weights[:, None, :]
    size, rough = _grams(factors, problem.penalty)
    own = _product(size, {column})
    rest = [rough[:, m] * _product(size, {m, column}) for m in range(columns) if m != column]
    level = np.sum(rest, axis=0) if rest else np.zeros_like(own)
    if rank > 1:
        level = level + COMPONENT_SHARE * own * np.eye(rank)
    ridge = own[:, :, None, :, None] * np.diag(problem.penalty)[:, None, :]
    ridge = ridge + level[:, :, None, :, None] * np.eye(terms)[:, None, :]
    ridge = ridge.reshape(batch, rank * terms, rank * terms)
    matrix = weighted @ design.transpose(0, 2, 1) + problem.alpha[:, None, None] * ridge
    return matrix, weighted @ problem.y


def _solve(matrix: Array, target: Array) -> Array:
    """Solve positive semidefinite systems; directions of no curvature get no step."""
    values, vectors = np.linalg.eigh(matrix)
    keep = values > 1e-13 * values[:, -1:]
    inverse = np.where(keep, 1 / np.where(keep, values, 1.0), 0.0)
    along = np.einsum("sab,sa->sb", vectors, target)
    return np.einsum("sab,sb->sa", vectors, inverse * along)


def _curves(basis: Array, factors: Array) -> Array:
    """Evaluate each factor at the samples: (S, p, R, n)."""
    return factors @ basis.transpose(0, 2, 1)


def _grams(factors: Array, penalty: Array) -> tuple[Array, Array]:
    """Return the inner products of the factors of each column, plain and by charge."""
    turned = factors.swapaxes(2, 3)
    return factors @ turned, (factors * penalty) @ turned


def _product(grams: Array, without: set[int]) -> Array:
    """Multiply (S, p, R, R) over the columns, some left out."""
    keep = [m for m in range(grams.shape[1]) if m not in without]
    return np.prod(grams[:, keep], axis=1)

"""Shape constraints: accuracy that does not fall as a dimension grows, with diminishing returns.

The constraints are linear in the coefficients of a full polynomial, and in one column's factors of
a low-rank one. They are imposed on a grid of the sampled range, ends included (ours).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from prune3d.predictor.alternating import Problem, Solution, normal_equations, objective, state_of
from prune3d.predictor.basis import Array, basis_values
from prune3d.predictor.design import SHAPES

LEVELS, OTHER_LEVELS = 9, 5  # of the grid: in the column of a derivative, and in the others
MOST_COLUMNS = 4  # grids grow with their power
ROUNDING = 1e-9  # a curve that should be flat must not bend the others by its rounding


@dataclass(frozen=True)
class Shape:
    """Constraints at the points of a grid.

    Attributes
    ----------
    derivatives : list of ndarray of shape (p, g, K + 1)
        For each constraint the bases whose product, weighted by the coefficients, must not be
        negative: slopes in one column, or curvatures with the sign turned.
    """

    derivatives: list[Array]


def check_shape(shape: str) -> None:
    """Raise ValueError unless `shape` is one of `SHAPES`."""
    if shape not in SHAPES:
        raise ValueError(f"shape is {shape!r} but must be one of {', '.join(SHAPES)}")


def make_shape(shape: str, domain: Array, degree: int) -> Shape:
    """Lay the constraints on a grid of the domain.

    Parameters
    ----------
    shape : {"increasing", "diminishing"}
        Non-decreasing in each column; the second also concave in each.
    domain : ndarray of shape (p, 2)
    degree : int

    Returns
    -------
    Shape

    Raises
    ------
    ValueError
        If there are more than 4 columns.
    """
    columns = len(domain)
    if columns > MOST_COLUMNS:
        raise ValueError(
            f"shape constraints are for at most {MOST_COLUMNS} features but there are {columns}"
        )
    # Slopes must not be negative, curvatures not positive.
    signs = [(1, 1.0), (2, -1.0)] if shape == "diminishing" else [(1, 1.0)]
    derivatives = []
    for (derivative, sign), m in itertools.product(signs, range(columns)):
        levels = [LEVELS if m == column else OTHER_LEVELS for column in range(columns)]
        lines = [np.linspace(a, b, n) for (a, b), n in zip(domain, levels, strict=True)]
        grid = np.array(list(itertools.product(*lines)))
        mixed = basis_values(grid, domain, degree)
        own = sign * basis_values(grid, domain, degree, derivative)[m]
        # The unit of a constraint is free; this one keeps the rows comparable.
        mixed[m] = own / max(float(np.abs(own).max()), 1e-300)
        derivatives.append(mixed)
    return Shape(derivatives)


def minimise(matrix: Array, target: Array, constraints: Array) -> Array:
    """Minimise x^T matrix x / 2 - target^T x subject to constraints x >= 0.

    By Lawson and Hanson's reduction to non-negative least squares ("Solving Least Squares
    Problems", 1974, chapter 23).

    Parameters
    ----------
    matrix : ndarray of shape (m, m)
        Positive semidefinite.
    target : ndarray of shape (m,)
    constraints : ndarray of shape (g, m)

    Returns
    -------
    ndarray of shape (m,)
    """
    # A trace of damping, so that there is a Cholesky factor.
    mean = float(np.trace(matrix)) / len(matrix)
    lower = cholesky(matrix + 1e-10 * max(mean, 1e-300) * np.eye(len(matrix)), lower=True)
    free = solve_triangular(lower, solve_triangular(lower, target, lower=True), lower=True, trans=1)
    size = np.linalg.norm(constraints, axis=1)
    rows = constraints[size > 0] / size[size > 0, None]
    slack = rows @ free
    if np.all(slack >= 0):
        return free
    scaled = solve_triangular(lower, rows.T, lower=True)
    unit = max(-float(slack.min()), 1e-300)
    stacked = np.vstack([scaled, -slack / unit])
    goal = np.zeros(len(stacked))
    goal[-1] = 1.0
    multipliers, _ = nnls(stacked, goal, maxiter=50 * len(rows))
    left = goal - stacked @ multipliers
    if left[-1] <= 0:  # only by rounding: zero always meets the constraints
        return np.zeros_like(free)
    move = -left[:-1] / left[-1] * unit
    return np.asarray(free + solve_triangular(lower, move, lower=True, trans=1))


def alternate_shaped(
    problem: Problem, shape: Shape, factors: Array, max_iter: int, tol: float
) -> Solution:
    """Minimise the objective of `alternate` over shaped factors, for one fit.

    Parameters
    ----------
    problem : Problem
        With S = 1.
    shape : Shape
    factors : ndarray of shape (1, p, R, K + 1)
        Where to start, see `shaped_start`.
    max_iter, tol
        See `alternate`.

    Returns
    -------
    Solution
    """
    state = state_of(problem, factors.copy())
    path = [np.inf]
    best = factors
    for _ in range(max_iter):
        for column in range(problem.basis.shape[0]):
            matrix, target = normal_equations(problem, state, column)
            rows = _rows(shape, state.factors[0], column)
            found = minimise(matrix[0], target[0], rows)
            state.put(problem, column, found.reshape(state.factors[:, column].shape))
        state.balance()
        value = float(objective(problem, state.factors)[0])
        # The constraints leave the last step no wiggle room but that of rounding.
        if not value < path[-1]:
            break
        fall, best = path[-1] - value, state.factors.copy()
        path.append(value)
        if fall <= tol * value:
            break
    return Solution(best, np.array([path[1:]]), np.array([len(path) - 1]))


def shaped_start(factors: Array) -> Array:
    """Turn starts into such that the first step has room: a constant, and rising lines.

    Parameters
    ----------
    factors : ndarray of shape (S, p, R, K + 1)

    Returns
    -------
    ndarray of shape (S, p, R, K + 1)
    """
    start = np.zeros_like(factors)
    start[..., 0] = 1.0
    if factors.shape[3] > 1:
        # The first component is flat; lines up to 1 / sqrt(3) stay positive.
        rise = np.abs(factors[..., 1])
        start[..., 1] = 0.5 * rise / (rise + 1.0)
        start[:, :, 0, 1] = 0.0
    return start


def _rows(shape: Shape, factors: Array, column: int) -> Array:
    """Return the constraints on one column's factors, shape (g, R (K + 1))."""
    rows = []
    size = np.prod(np.delete(np.linalg.norm(factors, axis=2).max(axis=1), column))
    for basis in shape.derivatives:
        curves = np.einsum("mgk,mqk->mgq", basis, factors)
        others = np.prod(np.delete(curves, column, axis=0), axis=0)
        others[np.abs(others) <= ROUNDING * size] = 0.0
        rows.append((others[:, :, None] * basis[column][:, None, :]).reshape(len(others), -1))
    return np.vstack(rows)

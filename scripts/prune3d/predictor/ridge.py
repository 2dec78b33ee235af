"""Ridge regression with a free constant and one charge per column, and its leave-one-out error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune3d.predictor.basis import Array
from prune3d.predictor.parameters import ALPHA_GRID


@dataclass(frozen=True)
class Decomposition:
    """Weighted, centred and scaled design U diag(s) V^T, from which any ridge is solved.

    Attributes
    ----------
    left, singular, right : ndarray
        U of shape (n, k), s of shape (k,), V^T of shape (k, m).
    target : ndarray of shape (n,)
        Centred labels times the square root of the weights.
    weights : ndarray of shape (n,)
    scale : ndarray of shape (m,)
        Square root of the charge of each column.
    column_means : ndarray of shape (m,)
    target_mean : float
    """

    left: Array
    singular: Array
    right: Array
    target: Array
    weights: Array
    scale: Array
    column_means: Array
    target_mean: float


def decompose(design: Array, y: Array, weights: Array, charge: Array) -> Decomposition:
    """Prepare the problem min sum_n weight_n (y_n - c - design_n b)^2 + alpha sum_j charge_j b_j^2.

    Parameters
    ----------
    design : ndarray of shape (n, m)
    y, weights : ndarray of shape (n,)
    charge : ndarray of shape (m,)
        Positive.

    Returns
    -------
    Decomposition
    """
    root = np.sqrt(weights)
    scale = np.sqrt(charge)
    column_means = np.average(design, axis=0, weights=weights)
    target_mean = float(np.average(y, weights=weights))
    scaled = (design - column_means) * root[:, None] / scale
    left, singular, right = np.linalg.svd(scaled, full_matrices=False)
    target = (y - target_mean) * root
    return Decomposition(left, singular, right, target, weights, scale, column_means, target_mean)


def solve(parts: Decomposition, alpha: float) -> tuple[float, Array]:
    """Return the constant and the coefficients for one ridge.

    Where the samples leave coefficients open, the limit alpha -> 0 is the solution of least charge.

    Parameters
    ----------
    parts : Decomposition
    alpha : float
        At least 0.

    Returns
    -------
    constant : float
    coefficients : ndarray of shape (m,)
    """
    s = parts.singular
    floor = np.finfo(float).eps * max(len(parts.target), len(parts.scale)) * s.max(initial=0.0)
    seen = s > floor
    gain = np.zeros_like(s)
    gain[seen] = s[seen] / (s[seen] ** 2 + alpha)
    coefficients = parts.right.T @ (gain * (parts.left.T @ parts.target)) / parts.scale
    return parts.target_mean - float(parts.column_means @ coefficients), coefficients


def objectives(design: Array, y: Array, charge: Array, alpha: float, weights: Array) -> Array:
    """Return the least objectives for several sets of weights.

    Parameters
    ----------
    design, y, charge
        See `decompose`.
    alpha : float
        Positive.
    weights : ndarray of shape (S, n)

    Returns
    -------
    ndarray of shape (S,)
    """
    scaled = design / np.sqrt(charge * alpha)
    kernel = scaled @ scaled.T
    found = np.empty(len(weights))
    for i, own in enumerate(weights):
        used = own > 0
        # The objective is y^T C^-1 y with the constant's part projected out.
        covariance = kernel[np.ix_(used, used)] + np.diag(1 / own[used])
        both = np.linalg.solve(covariance, np.column_stack([y[used], np.ones(used.sum())]))
        level = both[:, 0].sum() / both[:, 1].sum()
        gap = y[used] - level
        found[i] = gap @ (both[:, 0] - level * both[:, 1])
    return found


def leave_one_out_error(parts: Decomposition, alpha: float) -> float:
    """Return the weighted mean squared error of predicting each sample from all others.

    Closed form e_i / (1 - h_ii) with the hat matrix H of the ridge, the free constant included;
    1 - h_ii is summed from its positive parts because h_ii is almost 1 for a small alpha.

    Parameters
    ----------
    parts : Decomposition
    alpha : float
        Positive.

    Returns
    -------
    float
        Infinite if a sample alone decides its own prediction.
    """
    shrink = alpha / (parts.singular**2 + alpha)
    squares = parts.left**2
    outside = 1 - squares.sum(axis=1) - parts.weights / parts.weights.sum()
    slack = outside + squares @ shrink
    projected = parts.left.T @ parts.target
    residual = parts.target - parts.left @ projected + parts.left @ (shrink * projected)
    if np.any(slack <= 1e-12):
        return float("inf")
    return float(np.sum((residual / slack) ** 2) / parts.weights.sum())


def choose_alpha(parts: Decomposition) -> float:
    """Return the ridge of `ALPHA_GRID` with the least leave-one-out error.

    Raises
    ------
    ValueError
        If there is one sample only.
    """
    if len(parts.target) < 2:
        raise ValueError('alpha is "loo" but 1 sample is too few; give a number or 2 samples')
    return float(min(ALPHA_GRID, key=lambda alpha: leave_one_out_error(parts, alpha)))

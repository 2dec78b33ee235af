"""Where the alternating fit starts (ours)."""

from __future__ import annotations

import numpy as np

from prune3d.predictor.basis import Array


def start_factors(
    X: Array,
    basis: Array,
    y: Array,
    weights: Array,
    rank: int,
    n_starts: int,
    rng: np.random.RandomState,
) -> Array:
    """Build the starts: the product form of an additive fit, then random ones.

    On samples that vary one column at a time about a common point, the first start is already the
    least-squares optimum of rank 1, because both models have the same curves on the axes.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    basis : ndarray of shape (p, n, K + 1)
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
    rank : int
    n_starts : int
        At least 1.
    rng : numpy.random.RandomState

    Returns
    -------
    ndarray of shape (n_starts, p, rank, K + 1)
    """
    columns, _, terms = basis.shape
    level = np.sqrt(np.average(y**2, weights=weights)) ** (1 / columns)
    starts = 0.3 * level * rng.standard_normal((n_starts, columns, rank, terms))
    starts[:, :, 0, 0] += level
    starts[0, :, 0] = _product_start(X, basis, y, weights)
    return starts


def _product_start(X: Array, basis: Array, y: Array, weights: Array) -> Array:
    """Turn an additive fit A into A(b) prod_m A(b with x_m) / A(b), b the centre of the design."""
    columns, samples, terms = basis.shape
    varying = basis[:, :, 1:].transpose(1, 0, 2).reshape(samples, -1)
    root = np.sqrt(weights)
    design = np.column_stack([np.ones(samples), varying])
    solution = np.linalg.lstsq(design * root[:, None], y * root, rcond=1e-10)[0]
    curves = solution[1:].reshape(columns, terms - 1)
    centre_values = np.einsum("mk,mk->m", curves, _at_centre(X, basis, weights)[:, 1:])
    at_centre = solution[0] + centre_values.sum()
    size = np.sqrt(np.average(y**2, weights=weights))
    if abs(at_centre) <= 1e-3 * size:
        # A product cannot be anchored where the function vanishes.
        at_centre = size if size > 0 else 1.0
    factors = np.zeros((columns, terms))
    factors[:, 0] = at_centre - centre_values
    factors[:, 1:] = curves
    factors /= at_centre
    factors[0] *= at_centre
    return factors


def _at_centre(X: Array, basis: Array, weights: Array) -> Array:
    """Return the basis (p, K + 1) at each column's level of most weight, the largest if tied."""
    rows = []
    for column, values in zip(basis, X.T, strict=True):
        _, first, level = np.unique(values, return_index=True, return_inverse=True)
        share = np.bincount(level, weights)
        most = np.flatnonzero(share >= share.max() * (1 - 1e-9))[-1]
        rows.append(column[first[most]])
    return np.array(rows)

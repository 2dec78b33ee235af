"""Can pruning several dimensions together win? A test of the premise, before any final network.

In the logarithms of the ratios the cost d w^2 r^2 is a plane. If the error depends on the ratios
through one product of powers only, its contours are planes as well, and the best network of a
budget is a corner: one dimension alone. Joint pruning can win where contours bend towards the
dense network, which is tested for each pair of dimensions (ours).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prune3d.predictor.basis import Array
from prune3d.predictor.design import AXES

LEVEL = 0.9
LEAST_ERROR = 1e-4
SPARE = 2  # samples beyond the coefficients
LEAST_SLACK = 0.05


def bend_test(
    X: ArrayLike, y: ArrayLike, *, n: int = 1000, random_state: int = 0
) -> dict[str, Any]:
    """Measure how the contours of the error bend.

    The logarithm of the error is fitted by a quadratic in the logarithms u of the ratios. For a
    pair of dimensions with slopes g, h and curvatures a, b, c (of the first, of both, of the
    second) at the middle of the sampled range, the curvature along the contour is
    (a h^2 - 2 b g h + c g^2) / (g^2 + h^2). Samples that vary one dimension at a time say nothing
    about b: it is then taken as 0, which is to say that dimensions multiply the error
    independently; held-out samples off the axes measure it.

    Parameters
    ----------
    X : array-like of shape (m, 3)
        Depth, width and resolution ratios in (0, 1].
    y : array-like of shape (m,)
        Accuracies, in [0, 1].
    n : int, default=1000
        Refits to labels with redrawn residuals, for the intervals.
    random_state : int, default=0

    Returns
    -------
    dict
        ``joint``: ``yes`` if the whole interval of a pair is above 0, ``no`` if those of all are
        below, else ``undecided``; ``cross_terms``: ``measured`` or ``taken as 0``; ``pairs``: for
        each, named like ``depth-width``, the ``curvature`` and its ``interval``; the intervals hold
        90 % all together. Without pairs and with ``undecided`` if there are too few samples.
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    logs = np.log(X)
    varied = [m for m in range(X.shape[1]) if np.ptp(logs[:, m]) > 1e-9]
    pairs = list(itertools.combinations(range(len(varied)), 2))
    u = logs[:, varied]
    rows = _quadratic(u, pairs)
    crossed = _determined(rows)
    if not crossed:
        rows = _quadratic(u, [])
    result: dict[str, Any] = {
        "joint": "undecided",
        "cross_terms": "measured" if crossed else "taken as 0",
        "pairs": {},
    }
    if not pairs or not _determined(rows):
        return result
    target = np.log(np.maximum(1 - y, LEAST_ERROR))
    middle = u.min(axis=0) / 2
    coefficients = _refits(rows, target, n, np.random.default_rng(random_state))
    # One of three pairs is above 0 by chance more often than one alone.
    tail = (1 - LEVEL) / 2 / len(pairs)
    for k, (i, j) in enumerate(pairs):
        cross = 1 + 2 * len(varied) + k if crossed else None
        values = _curvature(coefficients, middle, i, j, len(varied), pairs if cross else [], cross)
        low, high = np.quantile(values[1:], [tail, 1 - tail])
        result["pairs"][f"{AXES[varied[i]]}-{AXES[varied[j]]}"] = {
            "curvature": float(values[0]),
            "interval": [float(low), float(high)],
        }
    ends = [pair["interval"] for pair in result["pairs"].values()]
    if any(low > 0 for low, _ in ends):
        result["joint"] = "yes"
    elif all(high < 0 for _, high in ends):
        result["joint"] = "no"
    return result


def _quadratic(u: Array, pairs: list[tuple[int, int]]) -> Array:
    """Return the columns 1, u, u^2 / 2 and the products of pairs."""
    products = [u[:, i] * u[:, j] for i, j in pairs]
    return np.column_stack([np.ones(len(u)), u, u**2 / 2, *products])


def _determined(rows: Array) -> bool:
    count, columns = rows.shape
    return count >= columns + SPARE and np.linalg.matrix_rank(rows) == columns


def _refits(rows: Array, target: Array, n: int, rng: np.random.Generator) -> Array:
    """Return the coefficients of the fit and of n refits, shape (1 + n, columns)."""
    inverse = np.linalg.pinv(rows)
    fitted = rows @ (inverse @ target)
    slack = np.maximum(1 - np.einsum("ij,ji->i", rows, inverse), LEAST_SLACK)
    residual = (target - fitted) / np.sqrt(slack)
    signs = rng.choice([-1.0, 1.0], (n, len(target)))
    redrawn = fitted + signs * rng.choice(residual, (n, len(target)))
    return np.vstack([target, redrawn]) @ inverse.T


def _curvature(
    coefficients: Array,
    middle: Array,
    i: int,
    j: int,
    count: int,
    pairs: list[tuple[int, int]],
    cross: int | None,
) -> Array:
    """Return the curvature along the contour of a pair for each row of coefficients."""
    linear, square = coefficients[:, 1 : 1 + count], coefficients[:, 1 + count : 1 + 2 * count]
    slopes = linear + square * middle
    for k, (a, b) in enumerate(pairs):
        mixed = coefficients[:, 1 + 2 * count + k]
        slopes[:, a] += mixed * middle[b]
        slopes[:, b] += mixed * middle[a]
    g, h = slopes[:, i], slopes[:, j]
    both = 0.0 if cross is None else coefficients[:, cross]
    bent = square[:, i] * h**2 - 2 * both * g * h + square[:, j] * g**2
    return np.asarray(bent / np.maximum(g**2 + h**2, 1e-300))

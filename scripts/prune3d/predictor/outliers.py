"""Which samples a polynomial is better off without: labels that no smooth curve passes near.

A fine-tuning that fails leaves a label tens of points below its neighbours, and the few samples of
a design give each label much leverage: residuals alone hide such a label, since the fit bends to
it. So samples are judged by what the fit gains without them (ours). In the ridge's own model, a
Gaussian process, the least objective is a sum of squares in units of the noise, and the fall of
the objective as one sample is deleted, over the objective that is left per sample, has an F
distribution. The sample of the largest fall is deleted, then the next, and all up to the last
significant deletion are outliers (Rosner, "Percentage points for a generalized ESD many-outlier
procedure", Technometrics 25, 1983), so that two of them cannot hide each other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from prune3d.predictor.basis import Array
from prune3d.predictor.design import LOSSES

# The steepest end of an axis of the recorded designs reaches 4e-4, their wrecks 3e-8 and less.
SIGNIFICANCE = 1e-4
MOST_PART, MOST = 6, 4  # at most every sixth sample, and four
LEAST_ALPHA = 1e-2  # with less ridge the curve could follow an outlier
FEWEST_LEFT = 3
ROUNDING = 1e-20

Objectives = Callable[[Array], Array]


def check_loss(loss: str) -> None:
    """Raise ValueError unless `loss` is one of `LOSSES`."""
    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r} but must be one of {', '.join(LOSSES)}")


def search_alpha(alpha: float | str) -> float:
    """Return the ridge with which outliers are looked for."""
    return LEAST_ALPHA if isinstance(alpha, str) else max(float(alpha), LEAST_ALPHA)


def inliers(objectives: Objectives, y: Array, weights: Array) -> np.ndarray:
    """Tell which samples are no outliers.

    Parameters
    ----------
    objectives : callable
        Maps sample weights of shape (S, n) to the least objectives of S fits, shape (S,).
    y, weights : ndarray of shape (n,)
        Labels and positive weights; no sample twice.

    Returns
    -------
    ndarray of bool of shape (n,)
    """
    keep = np.ones(len(y), dtype=bool)
    noise = ROUNDING * float(weights @ y**2)
    now = float(objectives(weights[None])[0])
    order: list[int] = []
    outliers = 0
    for _ in range(min(len(y) // MOST_PART, MOST)):
        left = np.flatnonzero(keep)
        if len(left) < FEWEST_LEFT + 2 or now <= noise:
            break
        trials = np.tile(weights * keep, (len(left), 1))
        trials[np.arange(len(left)), left] = 0.0
        found = objectives(trials)
        best = int(np.argmin(found))
        without = max(float(found[best]), noise)
        # The constant is free, and one sample more is gone.
        freedom = len(left) - 2
        gain = (now - without) / (without / freedom)
        order.append(int(left[best]))
        keep[left[best]] = False
        if len(left) * stats.f.sf(gain, 1, freedom) < SIGNIFICANCE:
            outliers = len(order)
        now = without
    keep[order[outliers:]] = True
    return keep


def merge_equal(X: Array, y: Array, weights: Array) -> tuple[Array, Array, Array, np.ndarray]:
    """Join samples that are the same, so that a weight of 2 and the sample twice are judged alike.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    y, weights : ndarray of shape (n,)

    Returns
    -------
    X, y, weights : ndarray of shape (m, p), (m,), (m,)
    group : ndarray of int of shape (n,)
        Where each sample went.
    """
    rows, group = np.unique(np.column_stack([X, y]), axis=0, return_inverse=True)
    group = group.reshape(-1)
    return rows[:, :-1], rows[:, -1], np.bincount(group, weights).astype(float), group

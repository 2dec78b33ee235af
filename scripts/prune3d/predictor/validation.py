"""How well a predictor predicts samples that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from prune3d.predictor.basis import Array

FEWEST_FOR_INTERVALS = 5


def prediction_errors(y_true: ArrayLike, y_predicted: ArrayLike) -> dict[str, float | int | None]:
    """Compare predictions with labels.

    Parameters
    ----------
    y_true, y_predicted : array-like of shape (n,)
        Accuracies, fractions.

    Returns
    -------
    dict
        n; mae and rmse in the unit of y; spearman and kendall (tau b) rank correlations in [-1, 1].
        None where undefined: the errors for n = 0, the correlations for n < 2 or a constant array.

    Raises
    ------
    ValueError
        If the arrays are not of one dimension and equal length.
    """
    true, predicted = np.asarray(y_true, dtype=float), np.asarray(y_predicted, dtype=float)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ValueError(
            f"labels and predictions must be arrays of one dimension and equal length, got shapes "
            f"{true.shape} and {predicted.shape}"
        )
    errors: dict[str, float | int | None] = dict.fromkeys(("mae", "rmse", "spearman", "kendall"))
    errors["n"] = len(true)
    if len(true):
        errors["mae"] = float(np.mean(np.abs(predicted - true)))
        errors["rmse"] = float(np.sqrt(np.mean((predicted - true) ** 2)))
    if len(true) > 1 and np.ptp(true) > 0 and np.ptp(predicted) > 0:
        errors["spearman"] = float(stats.spearmanr(true, predicted).statistic)
        errors["kendall"] = float(stats.kendalltau(true, predicted).statistic)
    return errors


def error_intervals(
    y_true: ArrayLike, y_predicted: ArrayLike, *, n: int = 1000, level: float = 0.95
) -> dict[str, list[float] | None]:
    """Say how much the errors of `prediction_errors` owe to the samples that happened to be judged.

    Percentile intervals over samples drawn with replacement, which is done by counting how often
    each is drawn: all draws are a few matrix products.

    Parameters
    ----------
    y_true, y_predicted : array-like of shape (n,)
        Accuracies, fractions.
    n : int, default=1000
        Draws.
    level : float, default=0.95

    Returns
    -------
    dict
        Lower and upper end for mae, rmse, spearman and kendall. None for fewer than 5 samples, of
        which nothing can be drawn that is worth the name, and where the value itself is undefined.
    """
    true, predicted = np.asarray(y_true, dtype=float), np.asarray(y_predicted, dtype=float)
    names = ("mae", "rmse", "spearman", "kendall")
    if len(true) < FEWEST_FOR_INTERVALS:
        return dict.fromkeys(names)
    counts = np.random.default_rng(0).multinomial(len(true), np.full(len(true), 1 / len(true)), n)
    gap = predicted - true
    share = counts / len(true)
    ends = [(1 - level) / 2, (1 + level) / 2]
    values = {
        "mae": share @ np.abs(gap),
        "rmse": np.sqrt(share @ gap**2),
        "spearman": _correlation(_ranks(true, counts), _ranks(predicted, counts), share),
        "kendall": _kendall(true, predicted, counts),
    }
    intervals: dict[str, list[float] | None] = {}
    for name, drawn in values.items():
        known = drawn[np.isfinite(drawn)]
        # A draw of equal labels has no rank correlation.
        usable = len(known) > 0.5 * n
        intervals[name] = [float(end) for end in np.quantile(known, ends)] if usable else None
    return intervals


def _ranks(values: Array, counts: np.ndarray) -> Array:
    """Return each sample's mean rank in every draw, shape (draws, n)."""
    below = values[:, None] < values
    equal = values[:, None] == values
    return np.asarray(counts @ (below + 0.5 * equal))


def _correlation(a: Array, b: Array, share: Array) -> Array:
    a, b = (values - np.sum(share * values, axis=1, keepdims=True) for values in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            np.sum(share * a * b, axis=1)
            / np.sqrt(np.sum(share * a**2, axis=1) * np.sum(share * b**2, axis=1))
        )


def _kendall(true: Array, predicted: Array, counts: np.ndarray) -> Array:
    a, b = (np.sign(values[:, None] - values) for values in (true, predicted))
    agree, own, other = (
        np.einsum("di,ij,dj->d", counts, pairs, counts, optimize=True)
        for pairs in (a * b, a * a, b * b)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(agree / np.sqrt(own * other))


def leave_one_out(
    estimator: Any, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
) -> Array:
    """Predict each sample by an estimator fitted to all others.

    Parameters
    ----------
    estimator : estimator
        Cloned for every fit, never changed; with alpha="loo" each fit chooses its own ridge.
    X : array-like of shape (n, p)
    y : array-like of shape (n,)
    sample_weight : array-like of shape (n,), default=None

    Returns
    -------
    ndarray of shape (n,)
        Held-out predictions.

    Raises
    ------
    ValueError
        If there are fewer than 2 samples.
    """
    if len(np.asarray(y)) < 2:
        raise ValueError(f"leaving one out needs at least 2 samples, got {len(np.asarray(y))}")
    # Late: it takes a third of a second, and few jobs need it.
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    # Nearest neighbours know no weights.
    given = None if sample_weight is None else {"sample_weight": np.asarray(sample_weight, float)}
    held_out: Array = cross_val_predict(
        estimator, np.asarray(X, float), np.asarray(y, float), cv=LeaveOneOut(), params=given
    )
    return held_out

"""How well a predictor predicts samples that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.base import clone

from prune3d.predictor.basis import Array


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
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=float)
    if len(y) < 2:
        raise ValueError(f"leaving one out needs at least 2 samples, got {len(y)}")
    held_out = np.empty(len(y))
    for i in range(len(y)):
        rest = np.arange(len(y)) != i
        fitted = clone(estimator).fit(
            X[rest], y[rest], sample_weight=None if weights is None else weights[rest]
        )
        held_out[i] = fitted.predict(X[i : i + 1])[0]
    return held_out

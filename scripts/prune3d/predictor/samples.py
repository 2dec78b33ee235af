"""What both predictors do to samples and weights before a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight, validate_data

from prune3d.predictor.basis import Array


def fit_samples(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Array, Array, Array]:
    """Validate the samples of a fit and drop those of weight zero.

    Parameters
    ----------
    estimator : estimator
        Receives `n_features_in_`.
    X : array-like of shape (n, p)
    y : array-like of shape (n,)
    sample_weight : array-like of shape (n,) or None

    Returns
    -------
    X, y, sample_weight : ndarray of shape (n', p), (n',), (n',)

    Raises
    ------
    ValueError
        If the arrays do not fit together or are not finite, a weight is negative, or all are zero.
    """
    X, y = validate_data(estimator, X, y, dtype=np.float64, y_numeric=True)
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    used = weights > 0
    if not used.any():
        raise ValueError("all sample weights are zero but at least one must be positive")
    # A weight of zero must be the same as no sample, also for the range of the data.
    return X[used], np.asarray(y, dtype=np.float64)[used], weights[used]


def predict_samples(estimator: Any, X: Any) -> Array:
    """Validate the samples of a prediction against the columns seen in fit.

    Parameters
    ----------
    estimator : estimator
    X : array-like of shape (n, p)

    Returns
    -------
    ndarray of shape (n, p)

    Raises
    ------
    ValueError
        If the number of columns differs from that of the fit or a value is not finite.
    """
    checked: Array = validate_data(estimator, X, dtype=np.float64, reset=False)
    return checked

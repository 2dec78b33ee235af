"""The degree and rank of the predictor by cross-validation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prune3d.predictor.design import check_design, unknowns
from prune3d.predictor.low_rank import LowRankPolynomialRegressor
from prune3d.predictor.serialize import make_predictor

DEGREES = (1, 2, 3, 4)
RANKS = (1, 2, 3)
FOLDS = 10


@dataclass(frozen=True)
class Order:
    """One degree and rank that was tried.

    Attributes
    ----------
    degree, rank : int
    coefficients : int
        Of the polynomial.
    rmse : float
        Root mean square error of the cross-validated predictions, a fraction.
    """

    degree: int
    rank: int
    coefficients: int
    rmse: float


def choose_order(
    kind: str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    degrees: tuple[int, ...] = DEGREES,
    ranks: tuple[int, ...] = RANKS,
    alpha: float | str = 1e-2,
    shape: str = "none",
    loss: str = "squared",
    few: Collection[str] = (),
    folds: int = FOLDS,
) -> list[Order]:
    """Cross-validate every degree and rank that the samples determine.

    With the robust loss outliers are looked for once, among all samples by the polynomial of the
    most coefficients, to which the fewest labels are none of a smooth curve; they are neither
    fitted nor judge any order, so that all are judged on the same samples (ours).

    Parameters
    ----------
    kind : {"full", "low_rank"}
    X : array-like of shape (n, p)
    y : array-like of shape (n,)
    degrees, ranks : tuple of int
        What is tried; a full polynomial has no rank.
    alpha, shape, loss
        See `LowRankPolynomialRegressor`.
    few : collection of str
        Dimensions of which the network has no more levels, see `check_design`.
    folds : int
        At most; with no more samples than these, each is left out alone. Which sample is in which
        fold is the same each time.

    Returns
    -------
    list of Order
        The best first: the least error, of equal ones the fewest coefficients.

    Raises
    ------
    ValueError
        If the samples determine none of them.
    """
    points, labels = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    columns = points.shape[1]
    if loss == "robust":
        tried = determined(kind, points, degrees, ranks, few)
        degree, rank = max(tried, key=lambda order: unknowns(kind, order[0], order[1], columns))
        most = make_predictor(kind, degree, rank, alpha, shape, loss).fit(points, labels)
        points, labels = points[most.inliers_], labels[most.inliers_]
    fold = np.random.default_rng(0).permutation(np.arange(len(labels)) % min(folds, len(labels)))
    orders = []
    for degree, rank in determined(kind, points, degrees, ranks, few):
        estimator = make_predictor(kind, degree, rank, alpha, shape)
        errors = cross_predict(estimator, points, labels, fold) - labels
        rmse = float(np.sqrt(np.mean(errors**2)))
        orders.append(Order(degree, rank, unknowns(kind, degree, rank, columns), rmse))
    return sorted(orders, key=lambda order: (order.rmse, order.coefficients))


def determined(
    kind: str,
    X: np.ndarray,
    degrees: Sequence[int],
    ranks: Sequence[int],
    few: Collection[str] = (),
) -> list[tuple[int, int]]:
    """Return the degrees and ranks that samples determine, see `check_design`.

    Of several degrees none is above what the dimension of the most levels determines: of that the
    samples would tell nothing.

    Raises
    ------
    ValueError
        If they determine none.
    """
    most = max(len(np.unique(column.round(9))) for column in X.T) - 1
    found, refused = [], ""
    for degree in [d for d in degrees if d <= most] or degrees[:1]:
        for rank in ranks if kind == "low_rank" else ranks[:1]:
            try:
                check_design(X, kind, degree, rank, few)
            except ValueError as error:
                refused = refused or str(error)
            else:
                found.append((degree, rank))
    if not found:
        raise ValueError(f"no degree and rank can be chosen: {refused}")
    return found


def cross_predict(estimator: Any, X: np.ndarray, y: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Predict each sample by a fit to the other folds.

    Parameters
    ----------
    estimator : PolynomialRegressor or LowRankPolynomialRegressor
        Its starts and sweeps are changed.
    X : ndarray of shape (n, p)
    y : ndarray of shape (n,)
    fold : ndarray of int of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
    """
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    if isinstance(estimator, LowRankPolynomialRegressor):
        # To rank the orders, a rough minimum is enough.
        estimator.set_params(n_starts=2, max_iter=100, tol=1e-6)
    return np.asarray(cross_val_predict(estimator, X, y, cv=PredefinedSplit(fold)))

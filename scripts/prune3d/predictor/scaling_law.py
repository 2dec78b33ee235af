"""A rival of the predictor: error as a function of one product of powers of the ratios."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import least_squares
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from prune3d.predictor.basis import Array
from prune3d.predictor.samples import fit_samples, predict_samples

LEAST_RATIO = 1e-3  # what is smaller, or no ratio at all, is raised to this
# Bounds of: log error at no pruning, part of the way up to 1, log p, log gamma, log exponents.
LOW, HIGH = (-14.0, 0.0, -7.0, -3.0, -4.0), (-1e-3, 1.0, 3.0, 2.5, 4.0)
STARTS = [(p, gamma) for p in (0.05, 0.4) for gamma in (0.5, 2.0)]
PROMISING = 2  # starts that are followed
EVALUATIONS = 100


class ScalingLawRegressor(RegressorMixin, BaseEstimator):
    """The scaling law of pruned networks, with six constants for three ratios.

    Rosenfeld, Frankle, Carbin and Shavit, "On the Predictability of Pruning Across Scales" (ICML
    2021, arXiv 2006.10621): with the invariant m = d w^b r^c the error is::

        e(m) = e_np |(m - i p (e_up / e_np)^(1 / gamma)) / (m - i p)|^gamma,

    a plateau e_np of networks that pruning does not hurt, a power law of the slope -gamma, and a
    plateau e_up where nothing is left. Theirs is in depth, width and the density of weights; the
    resolution in its place is ours, as is the fit by least squares of the error itself, from
    several starts, with e_np fitted. All networks of one m are the same to it: under a cost
    d w^2 r^2 its optimum is a corner.

    Attributes
    ----------
    error_unpruned_, error_pruned_ : float
        e_np and e_up.
    transition_, slope_ : float
        p and gamma.
    exponents_ : ndarray of shape (q,)
        Of each column in m; 1 in the first that varies, and in those that do not.
    n_features_in_ : int
        q; 3 in the workflow.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ScalingLawRegressor:
        """Fit the constants.

        Parameters
        ----------
        X : array-like of shape (n, q)
            Depth, width and resolution ratios in (0, 1].
        y : array-like of shape (n,)
            Accuracy, a fraction in [0, 1].
        sample_weight : array-like of shape (n,), default=None
            At least 0.

        Returns
        -------
        ScalingLawRegressor
            Itself.

        Raises
        ------
        ValueError
            If an array is not as above.
        """
        X, y, weights = fit_samples(self, X, y, sample_weight)
        logs = _logs(X)
        varied = np.flatnonzero(np.ptp(logs, axis=0) > 0)
        free = varied[1:]
        root = np.sqrt(weights / weights.max())

        def misfit(constants: Array) -> Array:
            return root * (np.exp(_log_error(logs, constants, free)) - (1 - y))

        low = np.array([*LOW[:4], *[LOW[4]] * len(free)])
        high = np.array([*HIGH[:4], *[HIGH[4]] * len(free)])
        least = np.log(np.clip(np.min(1 - y), 1e-5, 0.9))
        starts = [
            np.array([least, 0.9, np.log(p), np.log(gamma), *np.zeros(len(free))])
            for p, gamma in STARTS
        ]
        starts.sort(key=lambda start: float(np.sum(misfit(start) ** 2)))
        found = [
            least_squares(misfit, start, bounds=(low, high), max_nfev=EVALUATIONS)
            for start in starts[:PROMISING]
        ]
        best = min(found, key=lambda end: float(end.cost)).x
        self.error_unpruned_ = float(np.exp(best[0]))
        self.error_pruned_ = float(np.exp((1 - best[1]) * best[0]))
        self.transition_, self.slope_ = map(float, np.exp(best[2:4]))
        self.exponents_ = np.ones(X.shape[1])
        self.exponents_[free] = np.exp(best[4:])
        self._constants, self._free = best, free
        return self

    def predict(self, X: Any) -> Array:
        """Predict the accuracy.

        Parameters
        ----------
        X : array-like of shape (n, q)

        Returns
        -------
        ndarray of shape (n,)
        """
        check_is_fitted(self, "exponents_")
        logs = _logs(predict_samples(self, X))
        return np.asarray(1 - np.exp(_log_error(logs, self._constants, self._free)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # It fits errors of networks, between 0 and 1, and nothing else.
        tags.regressor_tags.poor_score = True
        return tags


def _logs(X: Array) -> Array:
    return np.log(np.maximum(X, LEAST_RATIO))


def _log_error(logs: Array, constants: Array, free: np.ndarray) -> Array:
    """Return the logarithm of the error, all in logarithms so that nothing overflows."""
    unpruned, way, transition, log_slope = constants[:4]
    exponents = np.ones(logs.shape[1])
    exponents[free] = np.exp(constants[4:])
    slope = np.exp(log_slope)
    rise = -way * unpruned  # log e_up - log e_np
    m = 2 * logs @ exponents
    top = np.logaddexp(m, 2 * transition + 2 * rise / slope)
    return np.asarray(unpruned + 0.5 * slope * (top - np.logaddexp(m, 2 * transition)))

"""The accuracy after a long fine-tuning, from the predictor of short ones and a few long ones.

Kennedy and O'Hagan, "Predicting the output from a complex computer code when fast approximations
are available" (Biometrika 87, 2000) tie two fidelities by f_long = rho f_short + delta, where delta
is a Gaussian process. All is shrunk to rho = 1 and delta = 0, so that without long labels the short
ones stand as they are::

    f_long(x) = f_short(x) + (rho - 1) (f_short(x) - f_short(1)) + level + delta(x) + noise,
    cov(delta(x), delta(y)) = DELTA^2 |1 - x| |1 - y| exp(-|log x - log y|^2 / (2 LENGTH^2)).

The kernel is ours. What a network pruned far along one dimension gained thus tells of others near
it and little of the rest: there the polynomial of the short labels fits worst. The variance of the
noise has a conjugate prior, so that predictions are Student's t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from prune3d.predictor.basis import Array

# Before any long label: their noise, and how many labels' worth of evidence that is.
NOISE, EVIDENCE = 0.01, 4
# Standard deviations before any long label: of rho - 1, of the level, and of delta where one
# dimension is pruned away altogether; and how far delta reaches, in logarithms of ratios.
RHO, LEVEL, DELTA, LENGTH = 0.3, 0.01, 0.03, 0.5
# A long label further from the median of all is a fine-tuning that failed: robust standard
# deviations, and at least so much accuracy. Fewer labels cannot tell.
FAR, AT_LEAST, FEWEST = 5.0, 0.05, 4


@dataclass(frozen=True)
class TwoFidelities:
    """Predicts long labels; see `tie_fidelities`.

    Attributes
    ----------
    short
        Predictor of short labels, with ``predict``.
    X : ndarray of shape (n, p)
        Networks with a long label.
    used : ndarray of bool of shape (n,)
        Which of them are none that failed; only these count.
    weights : ndarray of shape (m,)
        Of the covariances with the m used networks, in a prediction.
    inverse : ndarray of shape (m, m)
        Of the covariance of their labels, in units of the noise's variance.
    noise : float
        Standard deviation.
    freedom : float
        Degrees of freedom of Student's t.
    """

    short: Any
    X: Array
    used: np.ndarray
    weights: Array
    inverse: Array
    noise: float
    freedom: float

    def predict(self, X: ArrayLike) -> Array:
        """Predict the accuracy after a long fine-tuning.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        ndarray of shape (n,)
        """
        X = np.asarray(X, dtype=float)
        return np.asarray(self.short.predict(X) + self._shared(X) @ self.weights)

    def interval(self, X: ArrayLike, level: float = 0.9) -> Array:
        """Return intervals for the measured accuracy, the noise of one network with it.

        Parameters
        ----------
        X : array-like of shape (n, p)
        level : float, default=0.9

        Returns
        -------
        ndarray of shape (n, 2)
        """
        X = np.asarray(X, dtype=float)
        shared = self._shared(X)
        known = np.einsum("na,ab,nb->n", shared, self.inverse, shared)
        spread = self.noise * np.sqrt(1 + np.diag(_covariance(self.short, X, X)) - known)
        half = stats.t.ppf((1 + level) / 2, self.freedom) * spread
        predicted = self.predict(X)
        return np.column_stack([predicted - half, predicted + half])

    def _shared(self, X: Array) -> Array:
        return _covariance(self.short, X, self.X[self.used])


def tie_fidelities(short: Any, X: ArrayLike, y: ArrayLike) -> TwoFidelities:
    """Learn how long labels differ from short ones.

    Parameters
    ----------
    short
        Fitted predictor of short labels, with ``predict``.
    X : array-like of shape (n, p)
        Ratios of the networks with a long label; n may be 0.
    y : array-like of shape (n,)
        Their accuracies on the selection images, in [0, 1].

    Returns
    -------
    TwoFidelities
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    gap = y - short.predict(X) if len(y) else y
    used = _succeeded(gap)
    gap = gap[used]
    marginal = np.eye(len(gap)) + _covariance(short, X[used], X[used])
    inverse = np.asarray(np.linalg.inv(marginal), dtype=np.float64)
    freedom = EVIDENCE + len(gap)
    variance = (EVIDENCE * NOISE**2 + gap @ inverse @ gap) / freedom
    return TwoFidelities(short, X, used, inverse @ gap, inverse, float(np.sqrt(variance)), freedom)


def _succeeded(gap: Array) -> np.ndarray:
    """Tell which networks are not far from the median of all."""
    if len(gap) < FEWEST:
        return np.ones(len(gap), dtype=bool)
    apart = np.abs(gap - np.median(gap))
    robust = 1.4826 * np.median(apart)  # the standard deviation, where all are normal
    return np.asarray(apart <= max(FAR * robust, AT_LEAST))


def _covariance(short: Any, X: Array, Y: Array) -> Array:
    """Return the covariance of f_long - f_short, in units of the noise's variance."""
    if not len(X) or not len(Y):
        return np.zeros((len(X), len(Y)))
    dense = float(short.predict(np.ones((1, X.shape[1])))[0])
    lost = [short.predict(part) - dense for part in (X, Y)]
    far = [np.linalg.norm(1 - part, axis=1) for part in (X, Y)]
    apart = ((np.log(X)[:, None] - np.log(Y)) ** 2).sum(axis=2)
    delta = DELTA**2 * np.exp(-apart / (2 * LENGTH**2)) * np.outer(*far)
    return np.asarray((RHO**2 * np.outer(*lost) + LEVEL**2 + delta) / NOISE**2)

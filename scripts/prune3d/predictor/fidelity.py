"""The accuracy after a long fine-tuning, from the predictor of short ones and a few long ones.

Kennedy and O'Hagan, "Predicting the output from a complex computer code when fast approximations
are available" (Biometrika 87, 2000) tie two fidelities by f_long = rho f_short + delta. With a
handful of long labels delta is linear in what is pruned (ours), and all is shrunk to rho = 1 and
delta = 0, so that without long labels the short ones stand as they are:

    f_long(x) = f_short(x) + (rho - 1) (f_short(x) - f_short(1)) + delta_0 + delta (1 - x) + noise.

Coefficients and the noise's variance have conjugate priors, so that predictions are Student's t.
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
# Standard deviations before any long label, in accuracies: rho - 1, delta_0, and delta, the loss
# for a dimension pruned away altogether.
RHO, LEVEL, DELTA = 0.3, 0.01, 0.05


@dataclass(frozen=True)
class TwoFidelities:
    """Predicts long labels; see `tie_fidelities`.

    Attributes
    ----------
    short
        Predictor of short labels, with ``predict``.
    mean : ndarray of shape (2 + p,)
        rho - 1, delta_0 and delta.
    covariance : ndarray of shape (2 + p, 2 + p)
        Of the coefficients, in units of the noise's variance.
    noise : float
        Standard deviation.
    freedom : float
        Degrees of freedom of Student's t.
    """

    short: Any
    mean: Array
    covariance: Array
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
        return np.asarray(self.short.predict(X) + _terms(self.short, X) @ self.mean)

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
        terms = _terms(self.short, X)
        spread = self.noise * np.sqrt(1 + np.einsum("na,ab,nb->n", terms, self.covariance, terms))
        half = stats.t.ppf((1 + level) / 2, self.freedom) * spread
        predicted = self.predict(X)
        return np.column_stack([predicted - half, predicted + half])


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
    p = X.shape[1]
    prior = (np.array([RHO, LEVEL, *[DELTA] * p]) / NOISE) ** 2
    if len(y) == 0:
        return TwoFidelities(short, np.zeros(2 + p), np.diag(prior), NOISE, EVIDENCE)
    terms = _terms(short, X)
    gap = y - short.predict(X)
    marginal = np.eye(len(y)) + terms * prior @ terms.T
    gain = np.linalg.solve(marginal, terms * prior).T
    freedom = EVIDENCE + len(y)
    variance = (EVIDENCE * NOISE**2 + gap @ np.linalg.solve(marginal, gap)) / freedom
    covariance = np.diag(prior) - gain @ (terms * prior)
    return TwoFidelities(short, gain @ gap, covariance, float(np.sqrt(variance)), freedom)


def _terms(short: Any, X: Array) -> Array:
    dense = float(short.predict(np.ones((1, X.shape[1])))[0])
    return np.column_stack([short.predict(X) - dense, np.ones(len(X)), 1 - X])

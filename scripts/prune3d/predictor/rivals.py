"""Rival predictors for the comparison, from scikit-learn where it has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, WhiteKernel
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.validation import check_is_fitted

from prune3d.predictor.additive import AdditivePolynomialRegressor
from prune3d.predictor.basis import Array
from prune3d.predictor.design import RIVALS
from prune3d.predictor.samples import fit_samples, predict_samples
from prune3d.predictor.scaling_law import ScalingLawRegressor

# d w^2 r^2 [paper]; another number of features counts each once.
COST_EXPONENTS = np.array([1.0, 2.0, 2.0])
NEIGHBOURS = 3


def make_rival(kind: str, degree: int = 3, alpha: float | str = 1e-2, samples: int = 64) -> Any:
    """Return an unfitted rival of the polynomial predictors.

    Parameters
    ----------
    kind : {"additive", "gaussian_process", "neighbours", "boosting", "pareto_process",
           "scaling_law"}
    degree, alpha
        Of the additive polynomial.
    samples : int
        How many it will be fitted to; there cannot be more neighbours.

    Returns
    -------
    estimator

    Raises
    ------
    ValueError
        If `kind` is none of them.
    """
    if kind == "additive":
        return AdditivePolynomialRegressor(degree=degree, alpha=alpha)
    if kind == "gaussian_process":
        return GaussianProcessRegressor(_kernel(3), normalize_y=True, random_state=0)
    if kind == "neighbours":
        return KNeighborsRegressor(max(1, min(NEIGHBOURS, samples - 1)), weights="distance")
    if kind == "boosting":
        return GradientBoostingRegressor(max_depth=2, random_state=0)
    if kind == "pareto_process":
        return ParetoProcessRegressor()
    if kind == "scaling_law":
        return ScalingLawRegressor()
    raise ValueError(f"the rival is {kind!r} but must be one of {', '.join(RIVALS)}")


class ParetoProcessRegressor(RegressorMixin, BaseEstimator):
    """Gaussian process fitted to the Pareto samples only, after TinyNets.

    Han et al., "Model Rubik's Cube: Twisting Resolution, Depth and Width for TinyNets" (NeurIPS
    2020, arXiv 2010.14819) keep the networks that no other beats in both cost and accuracy, and
    regress their ratios on the cost by Gaussian processes, see `pareto_ratios`. This one regresses
    accuracy on the ratios of the same networks, so that it can be compared with the other
    predictors (ours).

    Attributes
    ----------
    pareto_ : ndarray of int
        Indices of the Pareto samples, by rising cost.
    n_features_in_ : int
        3 in the workflow.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ParetoProcessRegressor:
        """Fit the process.

        Parameters
        ----------
        X : array-like of shape (n, p)
            Depth, width and resolution ratios in (0, 1].
        y : array-like of shape (n,)
            Accuracy, a fraction in [0, 1].
        sample_weight : array-like of shape (n,), default=None
            At least 0; more weight is less noise.

        Returns
        -------
        ParetoProcessRegressor
            Itself.

        Raises
        ------
        ValueError
            If an array is not as above.
        """
        X, y, weights = fit_samples(self, X, y, sample_weight)
        self.pareto_ = pareto(self._cost(X), y)
        noise = 1e-10 / (weights[self.pareto_] / weights.max())
        self.accuracy_ = GaussianProcessRegressor(
            _kernel(X.shape[1]), alpha=noise, normalize_y=True, random_state=0
        ).fit(X[self.pareto_], y[self.pareto_])
        return self

    def predict(self, X: Any) -> Array:
        """Predict the accuracy.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        ndarray of shape (n,)
        """
        check_is_fitted(self)
        return np.asarray(self.accuracy_.predict(predict_samples(self, X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # It leaves out most samples by design.
        tags.regressor_tags.poor_score = True
        return tags

    def _cost(self, X: Array) -> Array:
        exponents = COST_EXPONENTS if X.shape[1] == 3 else np.ones(X.shape[1])
        # Ratios are positive; whatever else is given is ranked by its sum.
        return np.asarray(np.log(X) @ exponents if np.all(X > 0) else X @ exponents)


def pareto_ratios(X: Array, accuracy: Array, cost: Array, budget: float) -> Array:
    """Return the ratios that the networks which none beats suggest for a cost, as TinyNets do.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Ratios in (0, 1].
    accuracy : ndarray of shape (n,)
    cost : ndarray of shape (n,)
        Measured, positive.
    budget : float
        In the unit of the cost, positive.

    Returns
    -------
    ndarray of shape (p,)
        Clipped to (0, 1].
    """
    chosen = pareto(cost, accuracy)
    process = GaussianProcessRegressor(_kernel(1), alpha=1e-10, normalize_y=True, random_state=0)
    process.fit(np.log(cost[chosen, None]), X[chosen])
    return np.asarray(np.clip(process.predict(np.log([[budget]]))[0], 1e-3, 1.0))


def pareto(cost: Array, accuracy: Array) -> np.ndarray:
    """Return the samples that none beats in both cost and accuracy.

    Parameters
    ----------
    cost, accuracy : ndarray of shape (n,)

    Returns
    -------
    ndarray of int
        Indices by rising cost and accuracy.
    """
    order = np.lexsort((-accuracy, cost))
    best = np.maximum.accumulate(accuracy[order])
    rises = np.concatenate([[True], best[1:] > best[:-1]])
    return np.asarray(order[rises])


def _kernel(features: int) -> Kernel:
    """Return a smooth kernel with a length for each feature, and noise."""
    lengths = RBF(np.ones(features), length_scale_bounds=(0.05, 20.0))
    return ConstantKernel(1.0, (1e-2, 1e2)) * lengths + WhiteKernel(1e-2, (1e-6, 1.0))

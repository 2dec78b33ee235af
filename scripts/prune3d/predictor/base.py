"""What the polynomial predictors have in common: scikit-learn's face of a fit in Legendre bases."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from prune3d.predictor.basis import Array, basis_values, data_domain
from prune3d.predictor.outliers import Objectives, check_loss, inliers, merge_equal
from prune3d.predictor.samples import fit_samples, predict_samples


class PolynomialEstimator(RegressorMixin, BaseEstimator, ABC):
    """A regressor that is, in each column, a polynomial of the degree `degree`."""

    degree: int
    loss: str
    domain_: Array
    inliers_: np.ndarray

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the polynomial.

        Parameters
        ----------
        X : array-like of shape (n, p)
            Depth, width and resolution ratios in (0, 1].
        y : array-like of shape (n,)
            Accuracy, a fraction in [0, 1].
        sample_weight : array-like of shape (n,), default=None
            At least 0; a weight of 2 is the same as the sample twice.

        Returns
        -------
        Self
            Itself.

        Raises
        ------
        ValueError
            If a parameter or an array is not as above, or a full polynomial has more than 100,000
            coefficients.
        """
        self._check_parameters()
        check_loss(self.loss)
        X, y, weights = fit_samples(self, X, y, sample_weight)
        self.inliers_ = np.ones(len(y), dtype=bool)
        if self.loss == "robust":
            self.inliers_ = self._find_inliers(X, y, weights)
        kept = self.inliers_
        self._fit(X[kept], y[kept], weights[kept])
        return self

    def _find_inliers(self, X: Array, y: Array, weights: Array) -> np.ndarray:
        distinct, labels, sums, group = merge_equal(X, y, weights)
        basis = basis_values(distinct, data_domain(distinct), self.degree)
        kept = inliers(self._objectives(distinct, basis, labels, sums), labels, sums)
        return np.asarray(kept[group])

    def predict(self, X: Any) -> Array:
        """Predict the accuracy.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        ndarray of shape (n,)
            Fractions; a polynomial may leave [0, 1].
        """
        check_is_fitted(self)
        X = predict_samples(self, X)
        return self._evaluate(basis_values(X, self.domain_, self.degree))

    def gradient(self, X: Any) -> Array:
        """Differentiate the prediction.

        Parameters
        ----------
        X : array-like of shape (n, p)

        Returns
        -------
        ndarray of shape (n, p)
            Accuracy per unit of each ratio.
        """
        check_is_fitted(self)
        X = predict_samples(self, X)
        values = basis_values(X, self.domain_, self.degree)
        slopes = basis_values(X, self.domain_, self.degree, derivative=1)
        result = np.empty_like(X)
        # The polynomials are linear in the basis of each column.
        for m in range(X.shape[1]):
            mixed = values.copy()
            mixed[m] = slopes[m]
            result[:, m] = self._evaluate(mixed)
        return result

    @abstractmethod
    def _check_parameters(self) -> None:
        """Raise ValueError where a parameter is not allowed."""

    @abstractmethod
    def _fit(self, X: Array, y: Array, weights: Array) -> None:
        """Set the attributes of a fit, `domain_` with them."""

    @abstractmethod
    def _objectives(self, X: Array, basis: Array, y: Array, weights: Array) -> Objectives:
        """Return what maps weights of shape (S, n) to the least objectives of S fits."""

    @abstractmethod
    def _evaluate(self, basis: Array) -> Array:
        """Return the value at points, of which it gets what `basis_values` returns."""

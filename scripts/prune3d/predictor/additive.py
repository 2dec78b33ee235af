"""A rival of the predictor: a sum of one polynomial for each dimension, without products."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from prune3d.predictor.base import PolynomialEstimator
from prune3d.predictor.basis import Array, basis_values, data_domain, eigenvalues
from prune3d.predictor.outliers import Objectives, search_alpha
from prune3d.predictor.parameters import check_alpha, check_integer
from prune3d.predictor.ridge import choose_alpha, decompose, objectives, solve
from prune3d.predictor.samples import predict_samples


class AdditivePolynomialRegressor(PolynomialEstimator):
    """Sum c + f(d) + g(w) + h(r) of polynomials of degree K, fitted by ridge (ours).

    A linear model with p K + 1 unknowns, the same as the rank-one product has free. The ridge is
    that of `PolynomialRegressor` without the products.

    Parameters
    ----------
    degree : int, default=3
        K, at least 0.
    alpha : float or "loo", default=1e-2
    loss : {"squared", "robust"}, default="squared"
        See `PolynomialRegressor`.

    Attributes
    ----------
    constant_ : float
    basis_coef_ : ndarray of shape (p, K)
        Coefficients of the Legendre polynomials of degree 1 to K on the range of the data.
    domain_ : ndarray of shape (p, 2)
        Range of the data per column.
    alpha_ : float
        The ridge used.
    inliers_ : ndarray of bool of shape (n,)
        Which samples of positive weight the fit used.
    n_features_in_ : int
        p; 3 in the workflow.
    """

    def __init__(self, degree: int = 3, alpha: float | str = 1e-2, loss: str = "squared") -> None:
        self.degree = degree
        self.alpha = alpha
        self.loss = loss

    def _check_parameters(self) -> None:
        check_integer("degree", self.degree, 0)
        check_alpha(self.alpha)

    def _fit(self, X: Array, y: Array, weights: Array) -> None:
        self.domain_ = data_domain(X)
        design = _rows(basis_values(X, self.domain_, self.degree))
        parts = decompose(design, y, weights, self._charge(X.shape[1]))
        self.alpha_ = choose_alpha(parts) if isinstance(self.alpha, str) else float(self.alpha)
        self.constant_, slopes = solve(parts, self.alpha_)
        self.basis_coef_ = slopes.reshape(X.shape[1], self.degree)

    def _charge(self, columns: int) -> Array:
        return np.tile(eigenvalues(self.degree)[1:] ** 3, columns)

    def _objectives(self, X: Array, basis: Array, y: Array, weights: Array) -> Objectives:
        charge, alpha = self._charge(X.shape[1]), search_alpha(self.alpha)
        return partial(objectives, _rows(basis), y, charge, alpha)

    def _evaluate(self, basis: Array) -> Array:
        return np.asarray(self.constant_ + _rows(basis) @ self.basis_coef_.ravel())

    def gradient(self, X: Any) -> Array:
        """See `PolynomialEstimator.gradient`; a sum has no products to differentiate."""
        check_is_fitted(self)
        X = predict_samples(self, X)
        slopes = basis_values(X, self.domain_, self.degree, derivative=1)
        return np.asarray(np.einsum("mnk,mk->nm", slopes[:, :, 1:], self.basis_coef_))


def _rows(basis: Array) -> Array:
    """Put the basis functions of all columns but the constants side by side: (n, p K)."""
    return basis[:, :, 1:].transpose(1, 0, 2).reshape(basis.shape[1], -1)

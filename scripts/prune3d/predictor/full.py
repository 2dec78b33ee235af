"""The model accuracy predictor with the full tensor of coefficients."""

from __future__ import annotations

from functools import partial

import numpy as np

from prune3d.predictor.base import PolynomialEstimator
from prune3d.predictor.basis import (
    Array,
    basis_values,
    contract,
    data_domain,
    eigenvalues,
    monomial_matrices,
    tensor_rows,
)
from prune3d.predictor.design import unknowns
from prune3d.predictor.outliers import Objectives, search_alpha
from prune3d.predictor.parameters import check_alpha, check_integer
from prune3d.predictor.ridge import choose_alpha, decompose, objectives, solve
from prune3d.predictor.shape import check_shape, make_shape, minimise

# The design matrix of a few hundred samples then stays below a few hundred megabytes.
MOST_UNKNOWNS = 100_000


class PolynomialRegressor(PolynomialEstimator):
    """Full polynomial sum_{i,j,k=0..K} lambda_ijk d^i w^j r^k [paper], fitted by ridge (ours).

    The fit minimises sum_n weight_n (y_n - F(x_n))^2 + alpha sum_ijk (e_i + e_j + e_k)^3 c_ijk^2,
    where c are the coefficients in Legendre polynomials on the range of the data, scaled to mean
    square 1, and e_i = i (i + 1). The constant is free. With fewer samples than coefficients the
    ridge decides; samples on the axes alone say nothing about products, so that predictions off the
    axes are then poor (`check_design` refuses such a design).

    Parameters
    ----------
    degree : int, default=3
        K, at least 0.
    alpha : float or "loo", default=1e-2
        Ridge, at least 0, or "loo" to take the one of 13 values from 1e-5 to 10 with the least
        leave-one-out error. It has no unit: scaling X or y does not change its meaning.
    shape : {"none", "increasing", "diminishing"}, default="none"
        "increasing" keeps the fit from falling as a variable grows, "diminishing" also from rising
        ever faster (concave in each variable), both at 9 values of that variable and 5 of each
        other over the range of the data; for up to 4 variables. The ridge is chosen without it.
    loss : {"squared", "robust"}, default="squared"
        "robust" leaves out labels that no smooth curve passes near, such as those of fine-tunings
        that failed; see `prune3d.predictor.outliers`.

    Attributes
    ----------
    coef_ : ndarray of shape (K + 1,) * p
        lambda, in monomials.
    basis_coef_ : ndarray of shape (K + 1,) * p
        c, from which predictions are made.
    domain_ : ndarray of shape (p, 2)
        Range of the data per column.
    alpha_ : float
        The ridge used.
    inliers_ : ndarray of bool of shape (n,)
        Which samples of positive weight the fit used.
    n_features_in_ : int
        p; 3 in the workflow.
    """

    def __init__(
        self,
        degree: int = 3,
        alpha: float | str = 1e-2,
        shape: str = "none",
        loss: str = "squared",
    ) -> None:
        self.degree = degree
        self.alpha = alpha
        self.shape = shape
        self.loss = loss

    def _check_parameters(self) -> None:
        check_integer("degree", self.degree, 0)
        check_alpha(self.alpha)
        check_shape(self.shape)

    def _fit(self, X: Array, y: Array, weights: Array) -> None:
        self._check_size(X.shape[1])
        domain = data_domain(X)
        rows = tensor_rows(basis_values(X, domain, self.degree))
        charge = charges(self.degree, X.shape[1])
        parts = decompose(rows[:, 1:], y, weights, charge[1:])
        alpha = choose_alpha(parts) if isinstance(self.alpha, str) else float(self.alpha)
        constant, slopes = solve(parts, alpha)
        coef = np.concatenate([[constant], slopes])
        if self.shape != "none":
            shape = make_shape(self.shape, domain, self.degree)
            matrix = rows.T * weights @ rows + alpha * np.diag(charge)
            constraints = np.vstack([tensor_rows(part) for part in shape.derivatives])
            coef = minimise(matrix, rows.T @ (weights * y), constraints)
        self._set_fitted(coef.reshape((self.degree + 1,) * X.shape[1]), domain, alpha)

    def _check_size(self, columns: int) -> None:
        count = unknowns("full", self.degree, n_features=columns)
        if count > MOST_UNKNOWNS:
            raise ValueError(
                f"a full polynomial of degree {self.degree} in {columns} features has {count} "
                f"coefficients but at most {MOST_UNKNOWNS} are allowed; lower the degree or use "
                f"LowRankPolynomialRegressor"
            )

    def _objectives(self, X: Array, basis: Array, y: Array, weights: Array) -> Objectives:
        self._check_size(X.shape[1])
        charge = charges(self.degree, X.shape[1])[1:]
        rows = tensor_rows(basis)[:, 1:]
        return partial(objectives, rows, y, charge, search_alpha(self.alpha))

    def _evaluate(self, basis: Array) -> Array:
        return contract(self.basis_coef_, basis)

    def _set_fitted(self, basis_coef: Array, domain: Array, alpha: float) -> None:
        self.basis_coef_ = basis_coef
        self.domain_ = domain
        self.alpha_ = alpha
        self.coef_ = basis_coef
        for m, matrix in enumerate(monomial_matrices(domain, self.degree)):
            self.coef_ = np.moveaxis(np.tensordot(self.coef_, matrix, axes=(m, 0)), -1, m)


def charges(degree: int, columns: int) -> Array:
    """Return the energy <f, (sum of L over columns)^3 f> of each product, see `eigenvalues`.

    Parameters
    ----------
    degree : int
    columns : int
        p.

    Returns
    -------
    ndarray of shape ((K + 1)^p,)
        In the order of `tensor_rows`; the constant is free.
    """
    total = np.zeros(1)
    for _ in range(columns):
        total = (total[:, None] + eigenvalues(degree)).ravel()
    return total**3

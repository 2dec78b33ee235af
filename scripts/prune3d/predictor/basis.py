"""Well-conditioned polynomial basis on the sampled box.

The paper writes the predictor in monomials d^i w^j r^k. On a range such as (0.4, 1] monomials are
nearly collinear, so everything is solved in Legendre polynomials on the range of the data, scaled
to mean square 1 there, and translated to monomials for the reader (ours).
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Polynomial, legendre
from numpy.typing import NDArray

Array = NDArray[np.float64]


def data_domain(X: Array) -> Array:
    """Return the box spanned by the samples.

    Parameters
    ----------
    X : ndarray of shape (n, p)

    Returns
    -------
    ndarray of shape (p, 2)
        Lowest and highest value per column; a constant column c becomes [c - 1, c + 1].
    """
    low, high = X.min(axis=0), X.max(axis=0)
    # A width lost in the rounding of its ends cannot be divided by.
    flat = (high - low) <= 1e-12 * np.maximum(np.abs(low), np.abs(high))
    return np.column_stack([np.where(flat, low - 1.0, low), np.where(flat, high + 1.0, high)])


def basis_values(X: Array, domain: Array, degree: int, derivative: int = 0) -> Array:
    """Evaluate the scaled Legendre polynomials of every column, or their derivatives.

    Parameters
    ----------
    X : ndarray of shape (n, p)
    domain : ndarray of shape (p, 2)
    degree : int
        K.
    derivative : int, default=0
        How often to differentiate with respect to x.

    Returns
    -------
    ndarray of shape (p, n, K + 1)
        Entry (m, a, i) is sqrt(2 i + 1) P_i(t) with t in [-1, 1] for x inside the domain.
    """
    scale = np.sqrt(2 * np.arange(degree + 1) + 1)
    derived = legendre.legder(np.diag(scale), derivative)
    values = legendre.legvander(_unit(X, domain).T, len(derived) - 1) @ derived
    return np.asarray(values * _unit_slope(domain)[:, None, None] ** derivative, dtype=np.float64)


def monomial_matrices(domain: Array, degree: int) -> Array:
    """Translate basis coefficients to monomial coefficients.

    Parameters
    ----------
    domain : ndarray of shape (p, 2)
    degree : int

    Returns
    -------
    ndarray of shape (p, K + 1, K + 1)
        Row i of matrix m holds the coefficients of 1, x, ..., x^K of basis function i of column m;
        a factor with basis coefficients c has the monomial coefficients c @ matrix.
    """
    matrices = np.zeros((len(domain), degree + 1, degree + 1))
    for matrix, (low, high) in zip(matrices, domain, strict=True):
        unit = Polynomial([-(high + low) / (high - low), 2 / (high - low)])
        for i in range(degree + 1):
            power_form = Polynomial(legendre.leg2poly(np.eye(degree + 1)[i, : i + 1]))(unit)
            matrix[i, : i + 1] = np.sqrt(2 * i + 1) * power_form.coef[: i + 1]
    return matrices


def eigenvalues(degree: int) -> Array:
    """Return i (i + 1), the eigenvalues of Legendre's operator L f = -((1 - t^2) f')'.

    The ridge charges the energy <f, L^3 f> of a curve, that is (i (i + 1))^3 for basis function i
    (ours): the constant is free, and a cubic term costs 216 times a linear one. On few noisy labels
    this keeps curves smooth without pulling their level towards zero.

    Parameters
    ----------
    degree : int

    Returns
    -------
    ndarray of shape (K + 1,)
    """
    i = np.arange(degree + 1, dtype=float)
    return i * (i + 1)


def tensor_rows(basis: Array) -> Array:
    """Multiply the basis functions of all columns, for every sample.

    Parameters
    ----------
    basis : ndarray of shape (p, n, K + 1)

    Returns
    -------
    ndarray of shape (n, (K + 1)^p)
        Columns in C order of the multi-index (i, j, k, ...).
    """
    rows = np.ones((basis.shape[1], 1))
    for column in basis:
        rows = (rows[:, :, None] * column[:, None, :]).reshape(len(rows), -1)
    return rows


def contract(coef: Array, basis: Array) -> Array:
    """Evaluate a full polynomial from its coefficients without forming `tensor_rows`.

    Parameters
    ----------
    coef : ndarray of shape (K + 1,) * p
    basis : ndarray of shape (p, n, K + 1)

    Returns
    -------
    ndarray of shape (n,)
    """
    samples, terms = basis.shape[1:]
    left = np.broadcast_to(coef.reshape(1, -1), (samples, coef.size))
    for column in basis:
        # One small matrix product per sample removes the leading index.
        left = np.matmul(column[:, None, :], left.reshape(samples, terms, -1))[:, 0]
    return left[:, 0]


def _unit(X: Array, domain: Array) -> Array:
    low, high = domain.T
    return ((X - low) - (high - X)) / (high - low)


def _unit_slope(domain: Array) -> Array:
    return 2 / (domain[:, 1] - domain[:, 0])

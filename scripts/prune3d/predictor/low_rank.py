"""The model accuracy predictor with a coefficient tensor of low rank (the specialised MAP)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from prune3d.predictor.alternating import Problem, Solution, alternate, evaluate
from prune3d.predictor.base import PolynomialEstimator
from prune3d.predictor.basis import (
    Array,
    basis_values,
    data_domain,
    eigenvalues,
    monomial_matrices,
)
from prune3d.predictor.outliers import Objectives, search_alpha
from prune3d.predictor.parameters import ALPHA_GRID, check_alpha, check_integer, check_tolerance
from prune3d.predictor.shape import alternate_shaped, check_shape, make_shape, shaped_start
from prune3d.predictor.starts import start_factors

# The refits behind alpha = "loo" start at the solution; a few sweeps rank the ridges.
REFIT_SWEEPS = 50
REFIT_TOLERANCE = 1e-6


class LowRankPolynomialRegressor(PolynomialEstimator):
    """Polynomial sum_{q=1..R} H(d; s_q) H(w; u_q) H(r; v_q) with H(x; s) = sum_{i=0..K} s_i x^i.

    That the tensor has low rank is the paper's; the form is ours (canonical polyadic). The fit
    minimises, by alternating least squares from several starts, the objective of
    `PolynomialRegressor` for the tensor of this form, save that the charge of c_ijk is
    e_i^3 + e_j^3 + e_k^3: products need no charge of their own where the curves determine them. The
    ridge thus acts on F, whatever scale is moved between factors, and leaves its level free. With
    R > 1 a thousandth of it also falls on the size of each component, so that components cannot
    grow and cancel.

    Parameters
    ----------
    degree : int, default=3
        K, at least 0.
    rank : int, default=1
        R, at least 1. Samples on the axes alone determine R = 1 only.
    alpha : float or "loo", default=1e-2
        Ridge, at least 0, or "loo" to take the one of 13 values from 1e-5 to 10 with the least
        leave-one-out error, each left-out fit being refitted from the common solution.
    n_starts : int, default=8
        The first start is the product form of an additive fit, the others are random.
    max_iter : int, default=500
        Most sweeps over the columns.
    tol : float, default=1e-9
        A start has converged when a sweep lowers its objective by less than this fraction.
    random_state : int, RandomState or None, default=0
    shape : {"none", "increasing", "diminishing"}, default="none"
        See `PolynomialRegressor`. Each step is then solved under the constraints, one start after
        the other, which takes a hundred times as long.
    loss : {"squared", "robust"}, default="squared"
        "robust" leaves out labels that no smooth curve passes near, such as those of fine-tunings
        that failed; see `prune3d.predictor.outliers`.

    Attributes
    ----------
    factors_ : ndarray of shape (p, R, K + 1)
        Monomial coefficients s, u, v. Components by falling size; over the box `domain_` every
        factor but the first has root mean square 1, and its largest Legendre coefficient is
        positive, so that scale and sign sit in the first column (depth).
    basis_factors_ : ndarray of shape (p, R, K + 1)
        The same in Legendre polynomials, from which predictions are made.
    domain_ : ndarray of shape (p, 2)
        Range of the data per column.
    alpha_ : float
        The ridge used.
    objective_ : float
        Objective at the solution.
    objective_path_ : ndarray of shape (iterations + 1,)
        Objective at the start and after each sweep of the best start; never rises. Shaped fits
        have no entry for the start, which need not obey the constraints.
    n_iter_ : int
        Sweeps of the best start; `max_iter` if it had not converged.
    inliers_ : ndarray of bool of shape (n,)
        Which samples of positive weight the fit used.
    n_features_in_ : int
        p; 3 in the workflow.
    """

    def __init__(
        self,
        degree: int = 3,
        rank: int = 1,
        alpha: float | str = 1e-2,
        n_starts: int = 8,
        max_iter: int = 500,
        tol: float = 1e-9,
        random_state: Any = 0,
        shape: str = "none",
        loss: str = "squared",
    ) -> None:
        self.degree = degree
        self.rank = rank
        self.alpha = alpha
        self.n_starts = n_starts
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.shape = shape
        self.loss = loss

    def _fit(self, X: Array, y: Array, weights: Array) -> None:
        domain = data_domain(X)
        basis = basis_values(X, domain, self.degree)
        rng = check_random_state(self.random_state)
        starts = start_factors(X, basis, y, weights, self.rank, self.n_starts, rng)
        if isinstance(self.alpha, str):
            alpha = self._choose_alpha(basis, y, weights, starts[:1])
        else:
            alpha = float(self.alpha)
        if self.shape == "none":
            problem = batch(basis, y, weights[None], np.full(self.n_starts, alpha))
            solution = alternate(problem, starts, self.max_iter, self.tol)
        else:
            problem = batch(basis, y, weights[None], np.array([alpha]))
            solution = self._fit_shaped(problem, domain, starts)
        best = int(np.argmin(solution.path[:, -1]))
        self.objective_ = float(solution.path[best, -1])
        self.n_iter_ = int(solution.n_iter[best])
        self.objective_path_ = solution.path[best, : self.n_iter_ + 1]
        self._set_fitted(_normalise(solution.factors[best]), domain, alpha)

    def _fit_shaped(self, problem: Problem, domain: Array, starts: Array) -> Solution:
        """Return the best of all starts; with one component they would all end the same."""
        shape = make_shape(self.shape, domain, self.degree)
        starts = shaped_start(starts if self.rank > 1 else starts[:1])
        ends = [
            alternate_shaped(problem, shape, start[None], self.max_iter, self.tol)
            for start in starts
        ]
        return min(ends, key=lambda end: float(end.path[0, -1]))

    def _check_parameters(self) -> None:
        check_integer("degree", self.degree, 0)
        check_integer("rank", self.rank, 1)
        check_integer("n_starts", self.n_starts, 1)
        check_integer("max_iter", self.max_iter, 1)
        check_alpha(self.alpha)
        check_tolerance(self.tol)
        check_shape(self.shape)

    def _choose_alpha(self, basis: Array, y: Array, weights: Array, start: Array) -> float:
        """Refit without each sample, for every ridge, and take the ridge of least error."""
        n, ridges = len(y), len(ALPHA_GRID)
        if n < 2:
            raise ValueError('alpha is "loo" but 1 sample is too few; give a number or 2 samples')
        common = batch(basis, y, weights[None], ALPHA_GRID)
        first = alternate(common, np.repeat(start, ridges, axis=0), self.max_iter, REFIT_TOLERANCE)
        held_out = np.tile(weights * (1 - np.eye(n)), (ridges, 1))
        folds = batch(basis, y, held_out, np.repeat(ALPHA_GRID, n))
        refits = alternate(
            folds, np.repeat(first.factors, n, axis=0), REFIT_SWEEPS, REFIT_TOLERANCE
        )
        predicted = evaluate(basis, refits.factors).reshape(ridges, n, n)
        misfit = y - np.diagonal(predicted, axis1=1, axis2=2)
        return float(ALPHA_GRID[np.argmin(misfit**2 @ weights)])

    def _objectives(self, X: Array, basis: Array, y: Array, weights: Array) -> Objectives:
        alpha = search_alpha(self.alpha)
        rng = check_random_state(self.random_state)
        first = start_factors(X, basis, y, weights, self.rank, 1, rng)
        common = batch(basis, y, weights[None], np.array([alpha]))
        start = alternate(common, first, self.max_iter, REFIT_TOLERANCE).factors

        def least(trials: Array) -> Array:
            problem = batch(basis, y, trials, np.full(len(trials), alpha))
            starts = np.repeat(start, len(trials), axis=0)
            return alternate(problem, starts, REFIT_SWEEPS, REFIT_TOLERANCE).path[:, -1]

        return least

    def _evaluate(self, basis: Array) -> Array:
        return evaluate(basis, self.basis_factors_[None])[0]

    def _set_fitted(self, basis_factors: Array, domain: Array, alpha: float) -> None:
        self.basis_factors_ = basis_factors
        self.domain_ = domain
        self.alpha_ = alpha
        self.factors_ = basis_factors @ monomial_matrices(domain, self.degree)


def batch(basis: Array, y: Array, weights: Array, alpha: Array) -> Problem:
    """Describe one fit per ridge, see `Problem`; one row of weights serves all."""
    weights = np.broadcast_to(weights, (len(alpha), basis.shape[1]))
    return Problem(basis, y, weights, alpha, eigenvalues(basis.shape[2] - 1) ** 3)


def _normalise(factors: Array) -> Array:
    """Fix what the polynomial leaves open: scale and sign of factors, order of components."""
    factors = factors.copy()
    for component in factors.swapaxes(0, 1):
        for factor in component[1:]:
            size = np.copysign(np.linalg.norm(factor), factor[np.argmax(np.abs(factor))])
            if size != 0:
                factor /= size
                component[0] *= size
    order = np.argsort(-np.linalg.norm(factors[0], axis=1), kind="stable")
    return factors[:, order]

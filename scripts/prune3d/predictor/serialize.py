"""Predictors by name, and as dictionaries that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from prune3d.predictor.design import KINDS
from prune3d.predictor.full import PolynomialRegressor
from prune3d.predictor.low_rank import LowRankPolynomialRegressor
from prune3d.predictor.parameters import check_integer

Predictor = PolynomialRegressor | LowRankPolynomialRegressor


def make_predictor(
    kind: str,
    degree: int = 3,
    rank: int = 1,
    alpha: float | str = 1e-2,
    shape: str = "none",
    loss: str = "squared",
) -> Predictor:
    """Return an unfitted predictor.

    Parameters
    ----------
    kind : {"full", "low_rank"}
    degree : int
    rank : int
        Ignored by "full".
    alpha : float or "loo"
    shape : {"none", "increasing", "diminishing"}
    loss : {"squared", "robust"}

    Returns
    -------
    PolynomialRegressor or LowRankPolynomialRegressor

    Raises
    ------
    ValueError
        If `kind` is neither; the other arguments are checked by `fit`.
    """
    if kind == "full":
        return PolynomialRegressor(degree=degree, alpha=alpha, shape=shape, loss=loss)
    if kind == "low_rank":
        return LowRankPolynomialRegressor(
            degree=degree, rank=rank, alpha=alpha, shape=shape, loss=loss
        )
    raise ValueError(f"the kind of predictor is {kind!r} but must be one of {', '.join(KINDS)}")


def to_dict(estimator: Predictor) -> dict[str, Any]:
    """Describe a fitted predictor in plain values.

    Parameters
    ----------
    estimator : PolynomialRegressor or LowRankPolynomialRegressor
        Fitted.

    Returns
    -------
    dict
        kind, degree, rank (None for "full"), alpha (as used), shape, loss, domain,
        basis_coefficients (Legendre, see `prune3d.predictor.basis`) and coefficients (the same in
        monomials, for the reader).

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If it has not been fitted.
    TypeError
        If it is another kind of estimator.
    """
    if isinstance(estimator, PolynomialRegressor):
        kind, rank, names = "full", None, ("basis_coef_", "coef_")
    elif isinstance(estimator, LowRankPolynomialRegressor):
        kind, rank, names = "low_rank", int(estimator.rank), ("basis_factors_", "factors_")
    else:
        raise TypeError(f"a {type(estimator).__name__} is not a predictor of prune3d")
    check_is_fitted(estimator)
    return {
        "kind": kind,
        "degree": int(estimator.degree),
        "rank": rank,
        "alpha": float(estimator.alpha_),
        "shape": estimator.shape,
        "loss": estimator.loss,
        "domain": estimator.domain_.tolist(),
        "basis_coefficients": getattr(estimator, names[0]).tolist(),
        "coefficients": getattr(estimator, names[1]).tolist(),
    }


def from_dict(d: Mapping[str, Any]) -> Predictor:
    """Rebuild a fitted predictor; its predictions equal the original's bit for bit.

    Parameters
    ----------
    d : mapping
        From `to_dict`, possibly through JSON. `coefficients` is not read, `shape` and `loss` may be
        missing.

    Returns
    -------
    PolynomialRegressor or LowRankPolynomialRegressor

    Raises
    ------
    ValueError
        If an entry is missing or has the wrong value or shape.
    """
    needed = ("kind", "degree", "rank", "alpha", "domain", "basis_coefficients")
    missing = [name for name in needed if name not in d]
    if missing:
        raise ValueError(f"not a predictor of prune3d: {', '.join(missing)} missing")
    rank = 1 if d["rank"] is None else d["rank"]
    estimator = make_predictor(
        d["kind"], d["degree"], rank, d["alpha"], d.get("shape", "none"), d.get("loss", "squared")
    )
    check_integer("degree", d["degree"], 0)
    check_integer("rank", rank, 1)
    alpha = float(_numbers(d, "alpha"))
    domain = _numbers(d, "domain")
    if domain.ndim != 2 or domain.shape[1] != 2 or not np.all(domain[:, 0] < domain[:, 1]):
        raise ValueError(
            f"not a predictor of prune3d: domain {d['domain']} is not a list of ranges"
        )
    coefficients = _numbers(d, "basis_coefficients")
    terms = d["degree"] + 1
    if isinstance(estimator, PolynomialRegressor):
        shape: tuple[int, ...] = (terms,) * len(domain)
    else:
        shape = (len(domain), rank, terms)
    if coefficients.shape != shape:
        raise ValueError(
            f"not a predictor of prune3d: basis_coefficients have shape {coefficients.shape}, "
            f"expected {shape}"
        )
    estimator._set_fitted(coefficients, domain, alpha)
    estimator.n_features_in_ = len(domain)
    return estimator


def _numbers(d: Mapping[str, Any], name: str) -> np.ndarray:
    try:
        values = np.array(d[name], dtype=float)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"not a predictor of prune3d: {name} does not hold finite numbers only")
    return values

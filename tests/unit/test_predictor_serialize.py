"""Predictors as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression

from prune3d.predictor import (
    LowRankPolynomialRegressor,
    PolynomialRegressor,
    from_dict,
    make_predictor,
    to_dict,
)

RNG = np.random.default_rng(0)
X = RNG.uniform(0.4, 1, (40, 3))
Y = 0.9 - 0.1 * np.exp(-X).sum(axis=1)


@pytest.mark.parametrize(
    "estimator",
    [
        PolynomialRegressor(2),
        PolynomialRegressor(2, alpha="loo"),
        LowRankPolynomialRegressor(),
        LowRankPolynomialRegressor(degree=2, rank=2, alpha="loo"),
    ],
)
def test_predictions_survive_json_bit_for_bit(estimator):
    estimator.fit(X, Y)
    described = to_dict(estimator)
    rebuilt = from_dict(json.loads(json.dumps(described)))
    assert type(rebuilt) is type(estimator)
    assert np.array_equal(rebuilt.predict(X), estimator.predict(X))
    assert np.array_equal(rebuilt.gradient(X), estimator.gradient(X))
    assert to_dict(rebuilt) == described


def test_monomial_coefficients_are_for_the_reader():
    described = to_dict(PolynomialRegressor(2).fit(X, Y))
    coefficients = np.array(described["coefficients"])
    expected = np.polynomial.polynomial.polyval3d(*X.T, coefficients)
    np.testing.assert_allclose(expected, from_dict(described).predict(X), atol=1e-9)
    assert (described["kind"], described["degree"], described["rank"]) == ("full", 2, None)


def test_make_predictor_by_name():
    full = make_predictor("full", 2, 7, 0.5)
    assert isinstance(full, PolynomialRegressor)
    assert full.get_params() == {"degree": 2, "alpha": 0.5, "shape": "none", "loss": "squared"}
    low = make_predictor("low_rank", 2, 2, "loo")
    assert isinstance(low, LowRankPolynomialRegressor)
    assert (low.degree, low.rank, low.alpha) == (2, 2, "loo")
    with pytest.raises(ValueError, match="'gp' but must be one of full, low_rank"):
        make_predictor("gp", 3, 1, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "gp"}, "'gp' but must be one of"),
        ({"degree": 3}, r"have shape \(3, 3, 3\), expected \(4, 4, 4\)"),
        ({"degree": "2"}, "degree is '2' but must be an integer"),
        ({"domain": [[1, 0]] * 3}, "is not a list of ranges"),
        ({"domain": "box"}, "domain does not hold finite numbers"),
        ({"alpha": None}, "alpha does not hold finite numbers"),
        ({"basis_coefficients": [[1], [1, 2]]}, "basis_coefficients does not hold finite"),
    ],
)
def test_foreign_dictionaries_are_refused(change, message):
    described = to_dict(PolynomialRegressor(2).fit(X, Y))
    with pytest.raises(ValueError, match=message):
        from_dict({**described, **change})


def test_missing_entries_are_named():
    with pytest.raises(ValueError, match="degree, rank, alpha, domain, basis_coefficients missing"):
        from_dict({"kind": "full"})


def test_only_fitted_predictors_of_prune3d_are_described():
    with pytest.raises(NotFittedError):
        to_dict(PolynomialRegressor())
    with pytest.raises(TypeError, match="LinearRegression is not a predictor"):
        to_dict(LinearRegression())

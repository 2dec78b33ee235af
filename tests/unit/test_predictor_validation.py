"""Errors and rank correlations against their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from prune3d.predictor import (
    PolynomialRegressor,
    error_intervals,
    leave_one_out,
    prediction_errors,
)


def test_errors_by_their_definitions():
    rng = np.random.default_rng(0)
    true, predicted = rng.standard_normal((2, 12))
    errors = prediction_errors(true, predicted)
    ranks = [np.argsort(np.argsort(values)) for values in (true, predicted)]
    pairs = itertools.combinations(range(12), 2)
    signs = [np.sign((true[i] - true[j]) * (predicted[i] - predicted[j])) for i, j in pairs]
    assert errors["n"] == 12
    assert errors["mae"] == pytest.approx(sum(abs(true - predicted)) / 12)
    assert errors["rmse"] == pytest.approx((sum((true - predicted) ** 2) / 12) ** 0.5)
    assert errors["spearman"] == pytest.approx(np.corrcoef(ranks)[0, 1])
    assert errors["kendall"] == pytest.approx(np.mean(signs))


def test_undefined_values_are_none():
    empty = prediction_errors([], [])
    assert empty == {"n": 0, "mae": None, "rmse": None, "spearman": None, "kendall": None}
    for true, predicted in (([1.0], [2.0]), ([1.0, 2.0], [3.0, 3.0]), ([1.0, 1.0], [2.0, 3.0])):
        errors = prediction_errors(true, predicted)
        assert errors["spearman"] is None
        assert errors["kendall"] is None
        assert errors["mae"] is not None


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        prediction_errors([1, 2], [1, 2, 3])


def test_leave_one_out_is_scikit_learns():
    rng = np.random.default_rng(1)
    X = rng.uniform(0.4, 1, (15, 3))
    y = X @ [0.1, 0.2, 0.3] + 0.01 * rng.standard_normal(15)
    expected = cross_val_predict(LinearRegression(), X, y, cv=LeaveOneOut())
    np.testing.assert_allclose(leave_one_out(LinearRegression(), X, y), expected)


def test_leave_one_out_uses_the_weights_and_leaves_the_estimator_alone():
    X = np.linspace(0.4, 1, 4)[:, None] * np.ones(3)
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    y = np.array([0.5, 0.6, 0.8, 0.7])
    estimator = PolynomialRegressor(degree=0)
    expected = [np.average(np.delete(y, i), weights=np.delete(weights, i)) for i in range(4)]
    held_out = leave_one_out(estimator, X, y, sample_weight=weights)
    np.testing.assert_allclose(held_out, expected)
    assert not hasattr(estimator, "coef_")


def test_leave_one_out_needs_two_samples():
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        leave_one_out(PolynomialRegressor(), [[1, 1, 1]], [0.9])


def test_intervals_are_quantiles_over_samples_drawn_with_replacement():
    """The same statistics by scipy on samples really drawn."""
    rng = np.random.default_rng(2)
    true = rng.integers(0, 8, 25) / 8
    predicted = true + 0.3 * rng.standard_normal(25)
    found = error_intervals(true, predicted, n=4000)
    drawn = [prediction_errors(true[i], predicted[i]) for i in rng.integers(0, 25, (1500, 25))]
    for name, ends in found.items():
        expected = np.quantile([errors[name] for errors in drawn], [0.025, 0.975])
        np.testing.assert_allclose(ends, expected, atol=0.04)


def test_intervals_of_few_or_equal_samples_are_none():
    assert set(error_intervals([0.1] * 4, [0.2] * 4).values()) == {None}
    constant = error_intervals([0.5] * 6, np.arange(6) / 6)
    assert constant["kendall"] is constant["spearman"] is None
    assert constant["mae"] is not None

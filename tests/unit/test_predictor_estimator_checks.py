"""scikit-learn's own checks of an estimator."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from prune3d.predictor import (
    AdditivePolynomialRegressor,
    LowRankPolynomialRegressor,
    ParetoProcessRegressor,
    PolynomialRegressor,
    ScalingLawRegressor,
)


def expected_failures(estimator: Any) -> dict[str, str]:
    """Name the one check whose 30 features are beyond a full tensor; see the weights test."""
    if isinstance(estimator, PolynomialRegressor):
        return {"check_sample_weight_equivalence_on_dense_data": "2^30 coefficients are refused"}
    return {}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# Many checks have 10 features: of degree 3 the full tensor would have 10^6 coefficients.
@parametrize_with_checks(
    [
        PolynomialRegressor(degree=1),
        LowRankPolynomialRegressor(n_starts=2, max_iter=100),
        AdditivePolynomialRegressor(),
        PolynomialRegressor(degree=1, loss="robust"),
        LowRankPolynomialRegressor(n_starts=2, max_iter=100, loss="robust"),
        AdditivePolynomialRegressor(loss="robust"),
        ParetoProcessRegressor(),
        ScalingLawRegressor(),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)

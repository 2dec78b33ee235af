"""The scaling law against its published form, and the bend test on surfaces whose bend is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prune3d.predictor import ScalingLawRegressor, bend_test, make_rival

GRID = np.array(list(itertools.product((1, 0.8, 0.6, 0.4), repeat=3)))
AXES = GRID[np.sum(GRID < 1, axis=1) <= 1]


def published(X: np.ndarray, unpruned: float, pruned: float, p: float, gamma: float) -> np.ndarray:
    """Return the error as the paper writes it, with complex numbers."""
    m = X[:, 0] * X[:, 1] ** 1.7 * X[:, 2] ** 2.3
    return (
        unpruned * np.abs((m - 1j * p * (pruned / unpruned) ** (1 / gamma)) / (m - 1j * p)) ** gamma
    )


@pytest.mark.parametrize("constants", [(0.05, 0.8, 0.02, 1.0), (0.1, 0.6, 0.1, 2.0)])
def test_the_law_is_found_again(constants: tuple[float, ...]) -> None:
    error = published(GRID, *constants)
    law = ScalingLawRegressor().fit(GRID, 1 - error)
    np.testing.assert_allclose(law.predict(GRID), 1 - error, atol=2e-4)
    np.testing.assert_allclose(law.exponents_, [1, 1.7, 2.3], rtol=0.03)
    assert law.error_unpruned_ == pytest.approx(constants[0], rel=0.05)


def test_networks_of_one_product_are_the_same_to_it() -> None:
    rng = np.random.default_rng(0)
    noisy = published(AXES, 0.06, 0.7, 0.05, 1.0) + 0.002 * rng.standard_normal(len(AXES))
    law = ScalingLawRegressor().fit(AXES, 1 - noisy)
    depth, width, side = 0.5, 0.5 ** (1 / law.exponents_[1]), 0.5 ** (1 / law.exponents_[2])
    same = law.predict([[depth, 1, 1], [1, width, 1], [1, 1, side]])
    np.testing.assert_allclose(same, same[0], atol=1e-12)


def test_a_dimension_that_is_left_alone_has_the_exponent_one() -> None:
    X = GRID[GRID[:, 0] == 1]
    law = ScalingLawRegressor().fit(X, 1 - 0.06 * X[:, 1] ** -0.5 * X[:, 2] ** -1.0)
    assert law.exponents_[:2].tolist() == [1, 1]
    assert law.exponents_[2] == pytest.approx(2, rel=0.02)


def test_weights_count_like_repeated_samples() -> None:
    rng = np.random.default_rng(1)
    y = 1 - published(AXES, 0.06, 0.7, 0.05, 1.0) + 0.005 * rng.standard_normal(len(AXES))
    weights = rng.integers(0, 3, len(AXES))
    one = ScalingLawRegressor().fit(AXES, y, sample_weight=weights)
    other = ScalingLawRegressor().fit(np.repeat(AXES, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_allclose(one.predict(GRID), other.predict(GRID), atol=1e-5)


def test_it_is_a_rival() -> None:
    assert isinstance(make_rival("scaling_law"), ScalingLawRegressor)


def noisy(error: np.ndarray, seed: int) -> np.ndarray:
    """Return accuracies whose errors are off by 2 %."""
    return 1 - error * np.exp(0.02 * np.random.default_rng(seed).standard_normal(len(error)))


def test_a_product_of_powers_has_no_bend() -> None:
    error = 0.05 * GRID @ np.zeros(3) + 0.05 * np.prod(GRID ** [-0.4, -0.7, -0.9], axis=1)
    verdicts = [bend_test(GRID, noisy(error, seed), n=300)["joint"] for seed in range(20)]
    assert verdicts.count("undecided") >= 16
    exact = bend_test(GRID, 1 - error)
    assert exact["cross_terms"] == "measured"
    assert [pair["curvature"] for pair in exact["pairs"].values()] == pytest.approx(
        [0] * 3, abs=1e-9
    )


def test_sums_of_powers_bend_towards_joint_pruning() -> None:
    error = 0.03 + 0.02 * (GRID ** [-0.8, -1.5, -1.8] - 1).sum(axis=1)
    for X, y, crossed in [
        (GRID, noisy(error, 0), "measured"),
        (AXES, noisy(error, 0)[np.sum(GRID < 1, axis=1) <= 1], "taken as 0"),
    ]:
        found = bend_test(X, y)
        assert (found["joint"], found["cross_terms"]) == ("yes", crossed)
        assert list(found["pairs"]) == ["depth-width", "depth-resolution", "width-resolution"]
        for pair in found["pairs"].values():
            low, high = pair["interval"]
            assert low < pair["curvature"] < high


def test_contours_that_bend_away_are_told() -> None:
    u = np.log(GRID)
    # With equal slopes the contour's curvature is minus the cross term.
    log_error = (
        -3 - 0.5 * u.sum(axis=1) + 0.4 * (u[:, 0] * u[:, 1] + u[:, 0] * u[:, 2] + u[:, 1] * u[:, 2])
    )
    found = bend_test(GRID, noisy(np.exp(log_error), 1))
    assert found["joint"] == "no"
    for pair in bend_test(GRID, 1 - np.exp(log_error))["pairs"].values():
        assert pair["curvature"] == pytest.approx(-0.4)


def test_a_saturating_law_of_one_product_does_not_bend_where_products_are_measured() -> None:
    """On the axes alone it looks as if it did: there the cross terms are an assumption."""
    error = published(GRID, 0.05, 0.8, 0.05, 1.0)
    measured = bend_test(GRID, 1 - error)
    assumed = bend_test(AXES, 1 - error[np.sum(GRID < 1, axis=1) <= 1])
    for name, pair in assumed["pairs"].items():
        assert abs(measured["pairs"][name]["curvature"]) < 0.25 * pair["curvature"]


def test_few_samples_or_one_dimension_leave_it_undecided() -> None:
    for X in (AXES[:4], AXES[:1], GRID[(GRID[:, 1:] == 1).all(axis=1)]):
        found = bend_test(X, np.full(len(X), 0.9))
        assert (found["joint"], found["pairs"]) == ("undecided", {})

"""Which sampling designs determine which polynomials."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from prune3d.predictor import (
    LowRankPolynomialRegressor,
    PolynomialRegressor,
    check_design,
    unknowns,
)


def grid(d: int, w: int, r: int) -> np.ndarray:
    """Return a product design with so many levels of each ratio."""
    return np.array(list(itertools.product(*[np.linspace(1, 0.4, n) for n in (d, w, r)])))


def axes(d: int, w: int, r: int) -> np.ndarray:
    """Return the points of a grid that shrink one ratio alone."""
    points = grid(d, w, r)
    return points[np.sum(points < 1, axis=1) <= 1]


def test_counts_of_the_paper_and_ours():
    assert unknowns("full", 3) == 64
    assert unknowns("low_rank", 3, 1) == 12
    assert unknowns("low_rank", 2, 2) == 18
    assert unknowns("full", 2, n_features=2) == 9


@pytest.mark.parametrize(
    ("points", "kind", "degree", "rank"),
    [
        (axes(4, 4, 4), "low_rank", 3, 1),
        (axes(5, 6, 7), "low_rank", 4, 1),
        (grid(4, 4, 4), "low_rank", 3, 1),
        (grid(4, 4, 4), "low_rank", 3, 2),
        (grid(4, 4, 4), "low_rank", 3, 3),
        (grid(2, 2, 2), "low_rank", 1, 3),  # more factors than the tensor has room for
        (grid(4, 4, 4), "full", 3, 1),
        (grid(4, 5, 6), "full", 3, 1),
        (np.random.default_rng(0).uniform(0.4, 1, (64, 3)), "full", 3, 1),
        (np.ones((1, 3)), "full", 0, 1),
    ],
)
def test_sufficient_designs_pass(points, kind, degree, rank):
    check_design(points, kind, degree, rank)


@pytest.mark.parametrize(
    ("points", "kind", "degree", "rank", "message"),
    [
        (axes(4, 5, 5), "low_rank", 4, 1, "has 4 depth levels but degree 4 needs at least 5; add"),
        (axes(4, 2, 4), "low_rank", 3, 1, "has 2 width levels but degree 3 needs at least 4"),
        (axes(1, 1, 1), "low_rank", 3, 1, "varies none of depth, width, resolution"),
        (grid(4, 4, 3), "full", 3, 1, "has 3 resolution levels"),
        (axes(4, 4, 4), "full", 3, 1, "design of 10 points determines 10 of the 64 coefficients"),
        (axes(6, 6, 6), "full", 3, 1, "design of 16 points determines 10 of the 64 coefficients"),
        (axes(6, 6, 6), "low_rank", 3, 2, "axes alone, which determines 10 of the 20 free"),
        (grid(4, 4, 4)[::7], "low_rank", 3, 2, "design of 10 points determines 10 of the 20"),
        (np.ones((9, 3)) * np.linspace(0.4, 1, 9)[:, None], "low_rank", 3, 1, "9 of the 10 free"),
        (np.ones((0, 3)), "full", 0, 1, "must have shape"),
        (axes(4, 4, 4), "spline", 3, 1, "'spline' but must be one of full, low_rank"),
        (axes(4, 4, 4), "full", -1, 1, "degree is -1"),
        (axes(4, 4, 4), "low_rank", 3, 0, "rank is 0"),
    ],
)
def test_insufficient_designs_are_refused(points, kind, degree, rank, message):
    with pytest.raises(ValueError, match=message):
        check_design(points, kind, degree, rank)


@pytest.mark.parametrize(
    ("kind", "enough", "coefficients"),
    [("low_rank", axes(2, 4, 4), 8), ("full", grid(2, 4, 4), 32)],
)
def test_a_dimension_of_which_there_are_no_more_levels_may_have_few(
    kind: str, enough: np.ndarray, coefficients: int
) -> None:
    with pytest.raises(ValueError, match="2 depth levels but degree 3"):
        check_design(enough, kind, 3)
    check_design(enough, kind, 3, few=["depth"])
    diagonal = np.array([[1, 1, 1], [1, 0.8, 0.8], [0.5, 0.6, 0.6], [0.5, 0.4, 0.4]])
    with pytest.raises(ValueError, match=f"of the {coefficients} "):
        check_design(diagonal, kind, 3, few=["depth"])


def test_of_two_levels_the_ridge_takes_the_line() -> None:
    points = axes(2, 4, 4)
    fitted = LowRankPolynomialRegressor().fit(points, 0.9 - 0.3 * (1 - points[:, 0]))
    halfway = fitted.predict([[0.7, 1.0, 1.0]])
    np.testing.assert_allclose(halfway, 0.9 - 0.3 * 0.3, atol=0.005)


def test_free_coefficients_are_those_of_the_set_of_low_rank_tensors():
    """On a rich design the Jacobian has the dimension R (3 (K + 1) - 2) known for three factors."""
    points = np.random.default_rng(1).uniform(0.4, 1, (19, 3))
    with pytest.raises(ValueError, match=f"19 of the {2 * (3 * 4 - 2)} free"):
        check_design(points, "low_rank", 3, 2)


def test_asking_costs_numpy_only():
    code = (
        "import sys, prune3d.predictor.design, prune3d.costs.lattice; "
        "print([m for m in ('scipy', 'sklearn', 'torch', 'pandas') if m in sys.modules])"
    )
    path = [p for p in sys.path if p]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("fixed", [0, 1, 2])
def test_a_dimension_with_one_level_is_left_alone(fixed: int) -> None:
    levels = [[1.0, 0.8, 0.6, 0.4]] * 3
    levels[fixed] = [1.0]
    points = np.array(list(itertools.product(*levels)))
    check_design(points, "low_rank", 3)
    check_design(points, "full", 3)
    free = [m for m in range(3) if m != fixed]

    def truth(x: np.ndarray) -> np.ndarray:
        return (1 - 0.3 * (1 - x[:, free[0]]) ** 2) * (0.9 - 0.2 * (1 - x[:, free[1]]) ** 3)

    between = np.random.default_rng(0).uniform(0.4, 1, (50, 3))
    between[:, fixed] = 1
    for predictor in (LowRankPolynomialRegressor(alpha=1e-9), PolynomialRegressor(alpha=1e-9)):
        predictor.fit(points, truth(points))
        np.testing.assert_allclose(predictor.predict(between), truth(between), atol=1e-4)

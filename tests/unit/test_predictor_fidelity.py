"""Two fidelities against textbook Gaussian regression, and the coverage they promise."""

from __future__ import annotations

import numpy as np
import pytest

from prune3d.predictor import LowRankPolynomialRegressor, tie_fidelities
from prune3d.predictor.fidelity import DELTA, EVIDENCE, LEVEL, NOISE, RHO

RNG = np.random.default_rng(0)
X = RNG.uniform(0.4, 1, (60, 3))
DENSE = np.ones((1, 3))


def short_labels(P: np.ndarray) -> np.ndarray:
    """Return an accuracy after a short fine-tuning."""
    return 0.9 - 0.15 * ((1 - P) ** 2).sum(axis=1)


SHORT = LowRankPolynomialRegressor(2, n_starts=1, alpha=1e-6).fit(X, short_labels(X))


def test_without_long_labels_the_short_ones_stand() -> None:
    tied = tie_fidelities(SHORT, np.empty((0, 3)), [])
    np.testing.assert_array_equal(tied.predict(X), SHORT.predict(X))
    low, high = tied.interval(X).T
    assert np.all(low < tied.predict(X)) and np.all(tied.predict(X) < high)
    # What is pruned more is less certain.
    assert np.ptp(tied.interval(DENSE)) < np.ptp(tied.interval([[0.4, 0.4, 0.4]]))


def test_it_is_the_conjugate_posterior() -> None:
    P, y = X[:5], short_labels(X[:5]) - 0.03 * (1 - X[:5, 1]) + 0.004 * RNG.standard_normal(5)
    tied = tie_fidelities(SHORT, P, y)
    dense = SHORT.predict(DENSE)[0]
    terms = np.column_stack([SHORT.predict(P) - dense, np.ones(5), 1 - P])
    precision = np.diag((np.array([RHO, LEVEL, DELTA, DELTA, DELTA]) / NOISE) ** -2.0)
    information = precision + terms.T @ terms
    gap = y - SHORT.predict(P)
    mean = np.linalg.solve(information, terms.T @ gap)
    np.testing.assert_allclose(tied.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(tied.covariance, np.linalg.inv(information), rtol=1e-5, atol=1e-8)
    square = EVIDENCE * NOISE**2 + gap @ gap - mean @ information @ mean
    assert tied.noise == pytest.approx(np.sqrt(square / (EVIDENCE + 5)))
    assert tied.freedom == EVIDENCE + 5


def test_many_long_labels_find_scale_and_loss() -> None:
    long = 0.05 + 1.2 * SHORT.predict(X) - 0.2 * 0.9 - (1 - X) @ [0.01, 0.06, -0.02]
    tied = tie_fidelities(SHORT, X, long)
    left = np.abs(tied.predict(X) - long).max()
    assert left < 0.2 * np.abs(SHORT.predict(X) - long).max()
    assert np.ptp(tied.interval(X[:1])) < 0.6 * np.ptp(
        tie_fidelities(SHORT, X[:0], []).interval(X[:1])
    )


def test_one_long_label_lifts_the_others_part_of_the_way() -> None:
    P = np.array([[1.0, 0.5, 1.0]])
    tied = tie_fidelities(SHORT, P, SHORT.predict(P) - 0.04)
    near, far, dense = (
        tied.predict([x]) - SHORT.predict([x]) for x in ([1, 0.55, 1], [1, 0.9, 1], [1, 1, 1])
    )
    assert -0.04 < near[0] < far[0] < dense[0] <= 0


def test_intervals_cover_what_the_priors_draw() -> None:
    rng = np.random.default_rng(1)
    hits = []
    terms = np.column_stack([SHORT.predict(X) - SHORT.predict(DENSE), np.ones(60), 1 - X])
    for _ in range(300):
        size = np.sqrt(EVIDENCE * NOISE**2 / rng.chisquare(EVIDENCE))
        drawn = size / NOISE * np.array([RHO, LEVEL, DELTA, DELTA, DELTA]) * rng.standard_normal(5)
        y = SHORT.predict(X) + terms @ drawn + size * rng.standard_normal(60)
        low, high = tie_fidelities(SHORT, X[:4], y[:4]).interval(X[4:]).T
        hits.append(np.mean((low <= y[4:]) & (y[4:] <= high)))
    assert np.mean(hits) == pytest.approx(0.9, abs=0.02)

"""Two fidelities against textbook Gaussian regression, and the coverage they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from prune3d.predictor import LowRankPolynomialRegressor, tie_fidelities
from prune3d.predictor.fidelity import DELTA, EVIDENCE, LENGTH, LEVEL, NOISE, RHO

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


def prior(P: np.ndarray) -> np.ndarray:
    """Return the covariance of what the long labels gain, noise apart, one pair at a time."""
    dense = SHORT.predict(DENSE)[0]
    found = np.empty((len(P), len(P)))
    for i, x in enumerate(P):
        for j, z in enumerate(P):
            near = np.exp(-np.sum(np.log(x / z) ** 2) / (2 * LENGTH**2))
            delta = DELTA**2 * np.linalg.norm(1 - x) * np.linalg.norm(1 - z) * near
            lost = [SHORT.predict([point])[0] - dense for point in (x, z)]
            found[i, j] = RHO**2 * lost[0] * lost[1] + LEVEL**2 + delta
    return found


def test_it_is_scikit_learns_gaussian_process() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Kernel

    class Known(Kernel):
        """The prior, by the numbers of the networks."""

        def __init__(self):
            pass

        def __call__(self, A, B=None, eval_gradient=False):
            whole = prior(X[:9])
            rows, columns = (np.ravel(part).astype(int) for part in (A, A if B is None else B))
            return whole[np.ix_(rows, columns)]

        def diag(self, A):
            return np.diag(self(A))

        def is_stationary(self):
            return False

    y = short_labels(X[:5]) - 0.03 * (1 - X[:5, 1]) + 0.004 * RNG.standard_normal(5)
    tied = tie_fidelities(SHORT, X[:5], y)
    gap = y - SHORT.predict(X[:5])
    process = GaussianProcessRegressor(Known(), alpha=NOISE**2, optimizer=None)
    process.fit(np.arange(5)[:, None], gap)
    mean, spread = process.predict(np.arange(5, 9)[:, None], return_std=True)
    np.testing.assert_allclose(tied.predict(X[5:9]) - SHORT.predict(X[5:9]), mean, atol=1e-8)
    square = EVIDENCE * NOISE**2 + gap @ np.linalg.solve(prior(X[:5]) / NOISE**2 + np.eye(5), gap)
    assert tied.noise == pytest.approx(np.sqrt(square / (EVIDENCE + 5)))
    half = stats.t.ppf(0.95, EVIDENCE + 5) * tied.noise * np.sqrt(1 + (spread / NOISE) ** 2)
    low, high = tied.interval(X[5:9]).T
    np.testing.assert_allclose(high - low, 2 * half, rtol=1e-6)


def test_what_a_corner_gained_tells_little_of_the_middle() -> None:
    """A polynomial fits worst where a network is pruned far along one dimension."""
    corners = np.array([[0.2, 1, 1], [0.15, 1, 1]])
    tied = tie_fidelities(SHORT, corners, SHORT.predict(corners) + 0.08)
    gained = tied.predict([[0.2, 1, 1], [0.6, 0.65, 1]]) - SHORT.predict(
        [[0.2, 1, 1], [0.6, 0.65, 1]]
    )
    assert gained[0] > 0.05 and abs(gained[1]) < 0.35 * gained[0]


def test_a_long_fine_tuning_that_failed_tells_nothing() -> None:
    y = short_labels(X[:7]) + 0.01
    wreck = y.copy()
    wreck[3] -= 0.35
    tied, without = (
        tie_fidelities(SHORT, X[:7], wreck),
        tie_fidelities(SHORT, np.delete(X[:7], 3, 0), np.delete(y, 3)),
    )
    assert np.flatnonzero(~tied.used).tolist() == [3]
    np.testing.assert_allclose(tied.predict(X), without.predict(X))
    np.testing.assert_allclose(tied.interval(X), without.interval(X))


def test_many_long_labels_find_scale_and_loss() -> None:
    long = 0.05 + 1.2 * SHORT.predict(X) - 0.2 * 0.9 - (1 - X) @ [0.01, 0.06, -0.02]
    tied = tie_fidelities(SHORT, X, long)
    left = np.abs(tied.predict(X) - long).max()
    assert left < 0.35 * np.abs(SHORT.predict(X) - long).max()
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
    root = np.linalg.cholesky(prior(X) / NOISE**2 + 1e-9 * np.eye(60))
    for _ in range(300):
        size = np.sqrt(EVIDENCE * NOISE**2 / rng.chisquare(EVIDENCE))
        gained = size * (root @ rng.standard_normal(60) + rng.standard_normal(60))
        y = SHORT.predict(X) + gained
        low, high = tie_fidelities(SHORT, X[:3], y[:3]).interval(X[3:]).T
        hits.append(np.mean((low <= y[3:]) & (y[3:] <= high)))
    assert np.mean(hits) == pytest.approx(0.9, abs=0.02)

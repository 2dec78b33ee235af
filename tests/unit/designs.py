"""Points and an accuracy that the tests of the predictors share."""

from __future__ import annotations

import itertools

import numpy as np

LOW = np.array([0.4, 0.5, 0.55])


def grid(levels: int) -> np.ndarray:
    """Return levels^3 points of the box from LOW to 1."""
    return np.array(list(itertools.product(*[np.linspace(low, 1, levels) for low in LOW])))


def axes(levels: int) -> np.ndarray:
    """Return the dense point and the points that shrink one ratio alone."""
    points = grid(levels)
    return points[np.sum(points < 1, axis=1) <= 1]


def surface(X: np.ndarray) -> np.ndarray:
    """Return an accuracy that saturates along each ratio."""
    return 0.95 - np.exp(-4 * X) @ np.array([0.4, 0.5, 0.3])

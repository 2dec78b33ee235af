"""Rules of scaling as curves through (depth, width, resolution), and the networks next to them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prune3d.costs.lattice import Lattice
from prune3d.optimize.budget import HAIR, Budget
from prune3d.optimize.choice import BudgetError, Choice
from prune3d.optimize.search import EQUAL, Flat, Mask, describe, explain, usage

Points = NDArray[np.float64]

FLOOR = 0.97  # of a limit that a network uses, where the lattice allows
SMALLEST = 1e-4  # ratio at which a rule without an end is cut off

# The networks that the authors publish for EfficientNet-B0, which has 387 million MACs and images
# of 224 pixels: depth, width, side, MACs in millions (arXiv 2010.14819, table 4, and their code).
TINYNETS = (
    (1.2, 1.0, 192, 339),
    (1.1, 0.75, 188, 202),
    (0.85, 0.54, 184, 100),
    (0.695, 0.54, 152, 52),
    (0.6, 0.51, 106, 24),
)
EFFICIENTNET_B0 = (224, 387)


def power_rule(exponents: Sequence[float]) -> Points:
    """Return the curve on which each ratio is a power of the cost.

    Parameters
    ----------
    exponents : sequence of three floats
        Of depth, width and resolution, at least 0.

    Returns
    -------
    ndarray of shape (2, 3)
        Its ends: a power is a straight line in the logarithms.
    """
    given = np.asarray(exponents, dtype=float)
    return np.stack([np.ones(3), SMALLEST ** (given / given.max())])


def width_line(depth: float, resolution: float) -> Points:
    """Return the curve on which the width alone changes, shape (2, 3)."""
    return np.array([[depth, 1.0, resolution], [depth, SMALLEST, resolution]])


def tinynet_ratios(budget: float) -> tuple[float, float]:
    """Return depth and resolution of TinyNets for a cost, between the published networks.

    Linear in the logarithms, from the dense network on; beyond the smallest as between the last
    two. Pruning deepens no network: what is above 1 is 1.

    Parameters
    ----------
    budget : float
        Part of the dense network's MACs, in (0, 1].
    """
    side, macs = EFFICIENTNET_B0
    known = [(1.0, 1.0, 1.0)] + [(m / macs, min(1.0, d), s / side) for d, _, s, m in TINYNETS]
    cost, *ratios = np.log(np.array(known)).T
    place = np.log(budget)
    (last, end), found = cost[-2:], []
    for values in ratios:
        slope = (values[-1] - values[-2]) / (end - last)
        inside = np.interp(place, cost[::-1], values[::-1])
        found.append(float(np.exp(inside + slope * min(0.0, place - end))))
    return found[0], found[1]


def next_to(lattice: Lattice, budget: Budget, corners: ArrayLike) -> Choice:
    """Choose the network next to a curve among those that use the budget.

    Those that use at least `FLOOR` of it, or, where there are none, of the most that any network
    within the budget uses. Distances are of the logarithms of the ratios; equal ones go to more
    MACs, then to the first index.

    Parameters
    ----------
    lattice : Lattice
    budget : Budget
    corners : array-like of shape (n, 3)
        Depth, width and resolution, in (0, 1], between which the curve is straight in the
        logarithms.

    Returns
    -------
    Choice
        predicted_accuracy is None and near_ties empty.

    Raises
    ------
    BudgetError
        If no network meets the budget.
    """
    candidates = using(lattice, budget)
    distances = _distances(np.log(lattice.points(candidates)), np.log(np.asarray(corners)))
    macs = lattice.macs.ravel()[candidates]
    nearest = np.flatnonzero(distances <= distances.min() + EQUAL)
    chosen = candidates[nearest[np.argmax(macs[nearest])]]
    return describe(lattice, int(chosen), None, len(candidates))


def using(lattice: Lattice, budget: Budget, allowed: Mask | None = None) -> Flat:
    """Return the networks that use a budget, see `next_to`, by flat index.

    Parameters
    ----------
    lattice : Lattice
    budget : Budget
    allowed : ndarray of bool of shape (D, W, S), default=None
        Networks that may be chosen at all.

    Raises
    ------
    BudgetError
        If no network meets the budget.
    """
    used = usage(lattice, budget)
    mask = np.ones(lattice.shape, dtype=bool) if allowed is None else allowed
    within = mask & (used <= 1 + HAIR)
    if not within.any():
        raise BudgetError(explain(lattice, budget, used, np.ones_like(mask), mask))
    most = min(1.0, float(used[within].max()))
    full = within & (used >= FLOOR)
    return np.flatnonzero(full if full.any() else within & (used >= FLOOR * most))


def _distances(points: Points, corners: Points) -> Points:
    """Return the distance of each point to a polygonal line, shape (n,)."""
    found = np.linalg.norm(points - corners[0], axis=1)
    for begin, end in pairwise(corners):
        way = end - begin
        length = float(way @ way)
        part = np.clip((points - begin) @ way / length, 0, 1) if length else np.zeros(len(points))
        found = np.minimum(found, np.linalg.norm(points - begin - part[:, None] * way, axis=1))
    return found

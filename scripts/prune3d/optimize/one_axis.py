"""The rivals that shrink one dimension alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from prune3d.costs.lattice import Lattice
from prune3d.optimize.budget import HAIR, UNITS, Budget, amounts, dense
from prune3d.optimize.choice import BudgetError, Choice
from prune3d.optimize.search import describe, usage
from prune3d.sampling.tree import AXES


def largest_within(
    lattice: Lattice, budget: float | Budget | Mapping[str, float], axis: str
) -> Choice:
    """Choose the costliest network within the budget that shrinks one dimension alone.

    The two other dimensions stay at their largest level. Equal costs go to the first index.

    Parameters
    ----------
    lattice : Lattice
    budget : float, Budget or mapping
        A fraction of the dense MACs in (0, 1], or see `Budget`.
    axis : {"depth", "width", "resolution"}

    Returns
    -------
    Choice
        predicted_accuracy is None and near_ties empty.

    Raises
    ------
    BudgetError
        If this dimension alone cannot reach the budget.
    ValueError
        If the budget or the axis is not as above.
    """
    budget = Budget.of(budget)
    used = usage(lattice, budget)
    line = _line(lattice, axis)
    macs = np.array([lattice.macs[index] for index in line])
    parts = np.array([used[index] for index in line])
    within = np.flatnonzero(parts <= 1 + HAIR)
    if not len(within):
        least = line[int(np.argmin(parts))]
        raise BudgetError(
            f"{axis} alone cannot meet the budget {budget.describe()}: its smallest network has "
            f"{_costs(lattice, budget, least)}; raise the budget or leave out the policy {axis}"
        )
    best = line[within[np.argmax(macs[within])]]
    flat = int(np.ravel_multi_index(best, lattice.shape))
    return describe(lattice, flat, None, len(within))


def _costs(lattice: Lattice, budget: Budget, index: tuple[int, int, int]) -> str:
    return " and ".join(
        f"{amounts(lattice, name)[index] / dense(lattice, name):.4g} of the {UNITS[name]}"
        if name != "latency_ms"
        else f"{amounts(lattice, name)[index]:.4g} ms"
        for name in budget.limits(lattice)
    )


def _line(lattice: Lattice, axis: str) -> list[tuple[int, int, int]]:
    """Return the networks along one axis through the largest one."""
    if axis not in AXES:
        raise ValueError(f"the axis is {axis!r} but must be one of {', '.join(AXES)}")
    depths, widths, sides = lattice.shape
    top = int(np.argmax(lattice.depth))
    dense_side = int(np.argmax(lattice.resolution))
    widest = np.argmax(lattice.width, axis=1)
    if axis == "depth":
        return [(d, int(widest[d]), dense_side) for d in range(depths)]
    if axis == "width":
        return [(top, w, dense_side) for w in range(widths)]
    return [(top, int(widest[top]), s) for s in range(sides)]

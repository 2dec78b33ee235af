"""The rivals that shrink one dimension alone."""

from __future__ import annotations

import numpy as np

from prune3d.optimize.budget import allowed_macs
from prune3d.optimize.choice import BudgetError, Choice
from prune3d.optimize.lattice import Lattice

AXES = ("depth", "width", "resolution")


def largest_within(lattice: Lattice, budget: float, axis: str) -> Choice:
    """Choose the costliest network within the budget that shrinks one dimension alone.

    The two other dimensions stay at their largest level. Equal costs go to the first index.

    Parameters
    ----------
    lattice : Lattice
    budget : float
        Fraction of the dense MACs, in (0, 1].
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
    limit = allowed_macs(lattice, budget)
    line = _line(lattice, axis)
    macs = np.array([lattice.macs[index] for index in line])
    within = np.flatnonzero(macs <= limit)
    if not len(within):
        raise BudgetError(
            f"{axis} alone cannot meet the budget {budget:g} of the dense MACs: its smallest "
            f"network has {macs.min() / lattice.dense_macs:.4g}; raise the budget or leave out the "
            f"policy {axis}"
        )
    best = within[np.argmax(macs[within])]
    d, w, s = line[best]
    return Choice(
        index=(d, w, s),
        depth=float(lattice.depth[d]),
        width=float(lattice.width[d, w]),
        resolution=float(lattice.resolution[s]),
        macs=int(macs[best]),
        params=int(lattice.params[d, w]),
        macs_ratio=float(macs[best] / lattice.dense_macs),
        predicted_accuracy=None,
        n_candidates=len(within),
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

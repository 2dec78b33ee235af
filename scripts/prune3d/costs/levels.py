"""Levels of a sampling design that nobody chose: from 1 to what the budgets need. No torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from prune3d.costs.prunable import Prunable
from prune3d.sampling.tree import AXES, Design, Point, fitted_points

# A dimension alone meets a budget T at T, sqrt(T), sqrt(T) [paper: the cost is d w^2 r^2]. The last
# level lies a little below, so that the fit need not extrapolate to that network.
EXPONENTS = {"depth": 1.0, "width": 0.5, "resolution": 0.5}
BELOW = 0.9
# Large budgets need no small network, but a curve is read more surely from a wide range.
WIDEST = 0.25
# Below these a network has hardly anything left to fine-tune, whatever the budget.
FLOOR = {"depth": 0.1, "width": 0.25, "resolution": 0.3}
# Between the levels, as parts of the way from 1 to the last one.
HELD_OUT = ((0.25, 0.33, 0.5), (0.5, 0.67, 0.25), (0.75, 0.33, 0.5))


def last_level(axis: str, macs: float) -> float:
    """Return the smallest ratio of a dimension that a budget, a part of the MACs, asks for."""
    needed = min(macs, WIDEST) ** EXPONENTS[axis]
    return max(FLOOR[axis], BELOW * needed)


def auto_levels(
    axis: str, count: int, macs: float, prunable: Prunable | None, round_to: int = 1
) -> tuple[float, ...]:
    """Return levels of a dimension that are evenly spread from 1, without it, to the last one.

    Parameters
    ----------
    axis
        ``depth``, ``width`` or ``resolution``.
    count
        How many; fewer where the network has fewer.
    macs
        The smallest budget, a part of the dense network's MACs in (0, 1].
    prunable
        What of the network can be pruned. Where it is not known yet levels are not whole blocks and
        pixels, and `stretched` tells later where each of them lies.
    round_to
        Channels are kept in multiples of this.

    Returns
    -------
    tuple of float
        Descending, of different networks; none where the network has nothing of the kind.
    """
    last = last_level(axis, macs)
    if prunable is None:
        return tuple(round(ratio, 2) for ratio in _spread(last, count))
    made: dict[float, float] = {}
    for ratio in _spread(max(last, prunable.nearest(axis, last, round_to)), count):
        level = _short(axis, ratio, prunable, round_to)
        realized = prunable.nearest(axis, level, round_to)
        if realized < 1:
            made.setdefault(realized, level)
    return tuple(made.values())


def auto_holdout(design: Design, prunable: Prunable | None, round_to: int = 1) -> tuple[Point, ...]:
    """Return up to three points between the levels, none of them a sample that is fitted."""
    ends = [min(levels, default=1.0) for levels in (design.depth, design.width, design.resolution)]
    asked = [
        Point(*(round(1 - part * (1 - end), 2) for part, end in zip(parts, ends, strict=True)))
        for parts in HELD_OUT
    ]
    if prunable is None:
        return tuple(asked)

    taken = {prunable.nearest_to(point, round_to) for point in fitted_points(design)}
    held = []
    for exact in asked:
        point = Point(*(_short(a, getattr(exact, a), prunable, round_to) for a in AXES))
        made = prunable.nearest_to(point, round_to)
        if made not in taken:
            taken.add(made)
            held.append(point)
    return tuple(held)


def stretched(
    point: Point, last: Mapping[str, float | None], prunable: Prunable, round_to: int = 1
) -> tuple[float, float, float]:
    """Return the ratios of the network that stands for a point chosen before it was known.

    Parameters
    ----------
    point
        Of a design whose levels were spread to `last_level`.
    last
        That level of each dimension, which now is the smallest that the network can have, if that
        is larger; None where levels were given.
    prunable
        What of the network can be pruned.
    round_to
        Channels are kept in multiples of this.
    """
    ratios = {}
    for axis, end in last.items():
        ratio = getattr(point, axis)
        if end is not None and axis != "width":  # of which any can be asked for
            possible = max(end, prunable.nearest(axis, end, round_to))
            ratio = 1 - (1 - ratio) * (1 - possible) / (1 - end)
        ratios[axis] = ratio
    return prunable.nearest_to(Point(**ratios), round_to)


def _spread(last: float, count: int) -> list[float]:
    return [float(ratio) for ratio in np.linspace(1, last, count + 1)[1:]]


def _short(axis: str, ratio: float, prunable: Prunable, round_to: int) -> float:
    """Return a ratio with few digits that gives the network that this one gives."""
    if axis == "width":  # of which any can be asked for
        return round(ratio, 2)
    realized = prunable.nearest(axis, ratio, round_to)
    rounded = (round(realized, digits) for digits in (2, 3, 4))
    same = (short for short in rounded if prunable.nearest(axis, short, round_to) == realized)
    return next(same, realized)

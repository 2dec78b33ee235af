"""The sampling tree: which networks are pruned and fine-tuned, and from which parent each starts.

The paper collects samples by iterative pruning "from three dimensions independently" (Figure 2).
Ours is a tree in which every network inherits its parent's fine-tuned weights: a depth chain from
the dense network, a width chain from each depth, a resolution chain from each (depth, width). Its
first sample is the dense network fine-tuned as all others are, so that what fine-tuning alone gains
is not taken for a gain of pruning.

A network's parent is always listed before it, and points given one by one descend from one another
only, so that a level or point added at the end of a list adds networks and changes none of the
others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product

from prune3d.errors import ConfigError

AXES = ("depth", "width", "resolution")


@dataclass(frozen=True, order=True)
class Point:
    """Ratios to the dense network that a sample is asked to have, each in (0, 1]."""

    depth: float
    width: float
    resolution: float

    @property
    def name(self) -> str:
        """Folder name, in percent: ``d100_w62.5_r50``."""
        return f"d{_percent(self.depth)}_w{_percent(self.width)}_r{_percent(self.resolution)}"

    def covers(self, other: Point) -> bool:
        """Tell whether the other point can be reached from this one by pruning."""
        return (
            self.depth >= other.depth
            and self.width >= other.width
            and self.resolution >= other.resolution
        )


DENSE = Point(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Design:
    """A sampling design, as in the config.

    Attributes
    ----------
    kind
        ``axes``: each dimension alone; ``grid``: all combinations; ``list``: only `points`;
        ``optimal``: `chosen` ones of all combinations.
    depth, width, resolution
        Levels of each dimension in the order in which they are pruned, without 1.0.
    points
        More points, for any kind of design.
    holdout
        Points that are never fitted, only predicted. They are pruned from the dense network, as
        the final network is.
    chosen
        Of an optimal design, see `prune3d.sampling.optimal_design`; parents before children.
    """

    kind: str
    depth: tuple[float, ...] = ()
    width: tuple[float, ...] = ()
    resolution: tuple[float, ...] = ()
    points: tuple[Point, ...] = ()
    holdout: tuple[Point, ...] = ()
    chosen: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Node:
    """A sample of the tree.

    Attributes
    ----------
    point
        What it is asked to be.
    parent
        The point whose network it is pruned from; `DENSE` is the trained one.
    role
        ``fit`` or ``holdout``.
    """

    point: Point
    parent: Point
    role: str


@dataclass(frozen=True)
class SamplingTree:
    """All samples by name, the dense network fine-tuned first, parents before children."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def named(self, role: str) -> list[str]:
        """Return the names of the samples of one role."""
        return [name for name, node in self.nodes.items() if node.role == role]


def designed_points(design: Design) -> list[Point]:
    """Return the points of the levels alone, the dense one first, each once."""
    levels = [(1.0, *axis) for axis in (design.depth, design.width, design.resolution)]
    if design.kind == "axes":
        depth, width, resolution = levels
        points = [Point(d, 1.0, 1.0) for d in depth]
        points += [Point(1.0, w, 1.0) for w in width]
        points += [Point(1.0, 1.0, r) for r in resolution]
    elif design.kind == "grid":
        points = [Point(*ratios) for ratios in product(*levels)]
    elif design.kind == "optimal":
        points = [DENSE, *design.chosen]
    else:
        points = [DENSE]
    return list(dict.fromkeys(points))


def fitted_points(design: Design) -> list[Point]:
    """Return all points to fit, the dense one first."""
    return [*designed_points(design), *design.points]


def sampling_tree(design: Design) -> SamplingTree:
    """Give every point of a design its parent.

    Raises
    ------
    ConfigError
        If a point is given twice.
    """
    nodes = {DENSE.name: Node(DENSE, DENSE, "fit")}

    def grow(points: Iterable[Point], role: str, *, chained: bool) -> None:
        ancestors = [DENSE]
        for point in points:
            if point.name in nodes:
                raise ConfigError(
                    f"{point.name} is listed although it is a sample already; leave it out."
                )
            nodes[point.name] = Node(point, nearest_ancestor(point, ancestors), role)
            if chained:
                ancestors.append(point)

    grow(designed_points(design)[1:], "fit", chained=True)
    grow(design.points, "fit", chained=True)
    grow(design.holdout, "holdout", chained=False)
    return SamplingTree(nodes)


def nearest_ancestor(point: Point, before: Iterable[Point]) -> Point:
    """Return the point to prune from: the nearest in depth, then in width, then in resolution."""
    return min(candidate for candidate in before if candidate.covers(point))


def to_points(rows: Sequence[Sequence[float]]) -> tuple[Point, ...]:
    """Read points from a list of (depth, width, resolution)."""
    return tuple(Point(*map(float, row)) for row in rows)


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.8f}".rstrip("0").rstrip(".")

"""How long pruned networks take on this device: measured on some, foretold of all.

Real networks are pruned to a coarse grid of depths, widths and image sides and timed. What their
layers have to do (`prune3d.costs.work`) explains their times up to a factor, which is interpolated
linearly between them and held beyond. Some more networks are timed to tell how far off that is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from prune3d.costs.work import Work
from prune3d.files import damaged
from prune3d.pruning.runtimes import TITLES
from prune3d.pruning.timing import LatencyOptions, latency, where_measured
from prune3d.records import Name, Ratio, Record, TableKind

if TYPE_CHECKING:
    from torch import nn

Number = Annotated[int, Field(ge=1, le=2**31)]


class LatencyRow(Record):
    """One network that was timed: of the grid, or to check the interpolation."""

    role: Literal["grid", "check"]
    depth: Ratio
    width: Ratio
    side: Number
    latency_ms: Annotated[float, Field(ge=1e-9, le=1e12)]
    device: Name
    threads: Number
    batch_size: Number
    runs: Number


LATENCIES = TableKind("latency", 1, LatencyRow)
WIDTHS = (1.0, 0.8, 0.6, 0.4, 0.25, 0.12)
DEPTHS, SIDES = 5, 5  # levels, evenly over what can be
CHECKED = 6


@dataclass(frozen=True)
class LatencyTable:
    """Measured latencies on a grid.

    Attributes
    ----------
    depth, width, side
        Levels, ascending: ratio of blocks, ratio of channels asked for, pixels.
    latency_ms
        Shape (depths, widths, sides).
    device
        Its name.
    work
        What the networks have to do.
    error
        Median relative error at the networks measured besides, or None.
    """

    depth: NDArray[np.float64]
    width: NDArray[np.float64]
    side: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    device: str
    work: Work
    error: float | None = None

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]], work: Work) -> LatencyTable:
        """Make a table from rows of `LatencyRow`."""
        grid = [row for row in rows if row["role"] == "grid"]
        depth, width, side = (
            np.unique([float(row[name]) for row in grid]) for name in ("depth", "width", "side")
        )
        values = np.full((len(depth), len(width), len(side)), np.nan)
        for row in grid:
            d, w, s = (
                int(np.searchsorted(levels, float(row[name])))
                for levels, name in ((depth, "depth"), (width, "width"), (side, "side"))
            )
            values[d, w, s] = float(row["latency_ms"])
        table = cls(depth, width, side, values, str(rows[0]["device"]), work)
        return replace(table, error=table.error_at(rows))

    def at(
        self,
        depth: NDArray[np.float64],
        width: NDArray[np.float64],
        side: NDArray[np.float64],
        work: Work | None = None,
    ) -> NDArray[np.float64]:
        """Foretell all combinations.

        Parameters
        ----------
        depth, width, side
            Shapes (D,), (W,) and (S,).
        work
            What they have to do, where blocks go in another order than of the measured networks.

        Returns
        -------
        ndarray of shape (D, W, S)
            Milliseconds; at the grid those measured.
        """
        known, asked = (self.depth, self.width, self.side), (depth, width, side)
        factor = self.latency_ms / self._explained(self.work, *known)
        for axis in range(3):
            factor = _interpolate(factor, known[axis], asked[axis], axis)
        return factor * self._explained(work or self.work, *asked)

    def error_at(self, rows: Sequence[Mapping[str, Any]]) -> float | None:
        """Return the median relative error at the rows that are no part of the grid."""
        errors = []
        for row in rows:
            if row["role"] == "check":
                depth, width, side = (
                    np.array([float(row[name])]) for name in ("depth", "width", "side")
                )
                foretold = float(self.at(depth, width, side)[0, 0, 0])
                errors.append(abs(foretold / float(row["latency_ms"]) - 1))
        return statistics.median(errors) if errors else None

    @cached_property
    def _ms_by_term(self) -> NDArray[np.float64]:
        """Milliseconds for one of each term of the work, fitted to the grid.

        By least squares in the relative errors, none negative.
        """
        from scipy.optimize import nnls

        terms = self.work.at(self.depth, self.width, self.side).reshape(self.latency_ms.size, -1)
        largest = np.maximum(terms.max(0), 1)
        parts = terms / largest / self.latency_ms.reshape(-1, 1)
        return nnls(parts, np.ones(len(parts)), maxiter=1000)[0] / largest

    def _explained(
        self,
        work: Work,
        depth: NDArray[np.float64],
        width: NDArray[np.float64],
        side: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the milliseconds by the terms alone, shape (D, W, S)."""
        by_depth = [
            work.at(depth[d : d + 1], width, side)[0] @ self._ms_by_term for d in range(len(depth))
        ]
        # Where none of the fitted terms is left, what was interpolated tells the time.
        return np.maximum(np.stack(by_depth), self.latency_ms.min() / 10)


def read_latencies(path: str | Path, work: Work) -> LatencyTable:
    """Read a ``latency.csv`` of the networks of which the work is known.

    Raises
    ------
    UserError
        If it is missing, damaged, of another format, its grid has gaps, or a side is none that the
        network can take.
    """
    rows = LATENCIES.read(path)
    places = [(row["depth"], row["width"], row["side"]) for row in rows if row["role"] == "grid"]
    levels = [len(set(axis)) for axis in zip(*places, strict=True)]
    if not places or len(set(places)) != len(places) or len(places) != math.prod(levels):
        raise damaged(path, "does not hold every network of its grid once")
    strange = {row["side"] for row in rows} - set(work.structure.sides)
    if strange:
        raise damaged(path, f"has images of {min(strange)} pixels, which the network cannot take")
    return LatencyTable.from_rows(rows, work)


def measure_table(
    dense: nn.Module,
    removal_order: Sequence[str],
    blocks: int,
    sides: Sequence[int],
    round_to: int,
    options: LatencyOptions,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Time networks pruned to a grid, and some others.

    Parameters
    ----------
    dense
        The dense network, on the device to measure.
    removal_order
        Its removable blocks, the first to go first.
    blocks
        Number of blocks that depth counts.
    sides
        Image sides in pixels that it can take, ascending.
    round_to
        See `prune3d.costs.ratios.kept_channels`.
    options
        How to measure.
    say
        Told about the progress.

    Returns
    -------
    list of dict
        Rows of `LatencyRow`.
    """
    from prune3d.pruning.dense import look_at_dense

    can_go = min(len(removal_order), max(blocks - 1, 0))
    blocks = max(blocks, 1)
    widths = WIDTHS if look_at_dense(dense).groups else WIDTHS[:1]
    depths = [(blocks - k) / blocks for k in _spread(can_go + 1, DEPTHS)]
    usable = [side for side in sides if side >= sides[-1] / 4]
    levels = [usable[i] for i in _spread(len(usable), SIDES)]
    rng = np.random.default_rng(0)
    between = [
        (
            (blocks - int(rng.integers(can_go + 1))) / blocks,
            round(float(rng.uniform(widths[-1], 1)), 3),
            int(rng.choice(usable)),
        )
        for _ in range(CHECKED)
    ]
    where = where_measured(options, next(dense.parameters()).device)
    title = TITLES.get(where.pop("runtime"))
    device = f"{where['device']}, {title}" if title else where["device"]
    known = {**where, "device": device, "batch_size": options.batch_size}
    rows = []
    points = [("grid", d, w, levels) for d, w in product(depths, widths)]
    points += [("check", d, w, [side]) for d, w, side in between]
    for role, depth, width, own_sides in points:
        network = _pruned(dense, depth, width, removal_order, round_to)
        for side in own_sides:
            took = latency(network, side, options)
            row = {"role": role, "depth": depth, "width": width, "side": side, "latency_ms": took}
            rows.append({**row, **known})
        if width == widths[-1]:
            say(f"depth {depth:.3g} measured")
    return rows


def _pruned(
    dense: nn.Module, depth: float, width: float, removal_order: Sequence[str], round_to: int
) -> nn.Module:
    from prune3d.pruning import PruningOptions, prune

    # Which channels are left makes no difference to the time.
    options = PruningOptions(channel_criterion="l1", round_to=round_to)
    return prune(dense, depth, width, options=options, removal_order=removal_order)


def _interpolate(
    values: NDArray[np.float64],
    known: NDArray[np.float64],
    asked: NDArray[np.float64],
    axis: int,
) -> NDArray[np.float64]:
    """Interpolate linearly along one axis; beyond its ends the values stay."""
    if len(known) == 1:
        return np.repeat(values, len(asked), axis=axis)
    lower = np.clip(np.searchsorted(known, asked) - 1, 0, len(known) - 2)
    share = np.clip((asked - known[lower]) / (known[lower + 1] - known[lower]), 0, 1)
    shape = [1, 1, 1]
    shape[axis] = -1
    share = share.reshape(shape)
    return np.take(values, lower, axis) * (1 - share) + np.take(values, lower + 1, axis) * share


def _spread(count: int, levels: int) -> list[int]:
    """Return about as many indices below `count`, evenly spread, both ends among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, levels)})

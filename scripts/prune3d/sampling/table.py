"""The table of samples: what each network of the sampling tree is, and how accurate. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from prune3d.files import damaged, shown
from prune3d.records import Count, Fraction, Positive, Ratio, Record, TableKind
from prune3d.sampling.metrics_file import Cost, read_metrics
from prune3d.sampling.tree import AXES, DENSE


class SampleRow(Record):
    """One network."""

    point: Annotated[str, Field(pattern=r"^d[0-9.]+_w[0-9.]+_r[0-9.]+\z")]
    depth: Ratio
    width: Ratio
    resolution: Ratio
    accuracy: Fraction
    macs: Count
    macs_ratio: Positive
    params: Count
    image_passes: Count
    cost_macs: Cost


SAMPLES = TableKind("samples", 1, SampleRow)
HOLDOUT = TableKind("holdout", 1, SampleRow, may_be_empty=True)


@dataclass(frozen=True)
class Samples:
    """Samples of one run.

    Attributes
    ----------
    names
        Names of the points.
    ratios
        Realized depth, width and resolution, shape (n, 3).
    accuracy
        On the selection images, shape (n,), in [0, 1].
    cost_macs
        What it cost to make each, image passes x MACs, shape (n,).
    macs_ratio
        Measured MACs as a part of the dense network's, shape (n,); None where nobody asks.
    """

    names: tuple[str, ...]
    ratios: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    cost_macs: NDArray[np.float64]
    macs_ratio: NDArray[np.float64] | None = None

    def region(self) -> NDArray[np.float64]:
        """Return the sampled region: lowest and highest ratio of each dimension, shape (3, 2)."""
        return np.stack([self.ratios.min(0), self.ratios.max(0)], axis=1)

    def alone(self, axis: int) -> NDArray[np.bool_]:
        """Return which samples shrink no other dimension than one, the dense network among them."""
        others = np.delete(self.ratios, axis, axis=1)
        return np.asarray((others >= 1 - 1e-9).all(1))

    def on_axes(self) -> Samples:
        """Return the samples that shrink at most one dimension."""
        kept = self.alone(0) | self.alone(1) | self.alone(2)
        return self.without({name for name, own in zip(self.names, kept, strict=True) if not own})

    def without(self, names: Collection[str]) -> Samples:
        """Return the samples but some."""
        kept = [i for i, name in enumerate(self.names) if name not in names]
        return Samples(
            tuple(self.names[i] for i in kept),
            self.ratios[kept],
            self.accuracy[kept],
            self.cost_macs[kept],
            None if self.macs_ratio is None else self.macs_ratio[kept],
        )


def sample_row(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of one network from its metrics."""
    row: dict[str, Any] = {"point": name, "accuracy": metrics["selection"]["top1"]}
    return {column: row.get(column, metrics.get(column)) for column in SAMPLES.columns}


def gather(names: Sequence[str], files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of networks from their ``metrics.json``, each network once.

    Of a small network that was not known when its samples were planned some are the same; the first
    of them counts.
    """
    found: dict[tuple[float, ...], dict[str, Any]] = {}
    for name, file in zip(names, files, strict=True):
        row = sample_row(name, read_metrics(file))
        found.setdefault(tuple(row[axis] for axis in AXES), row)
    return list(found.values())


def read_samples(path: str | Path) -> Samples:
    """Read a ``samples.csv``, the fitted networks; the first is the dense one.

    Raises
    ------
    UserError
        If it is missing, damaged or of another format.
    """
    samples = _read(SAMPLES, path)
    if samples.names[0] != DENSE.name or (samples.ratios[0] != 1).any():
        raise damaged(path, "does not begin with the dense network")
    return samples


def read_holdout(path: str | Path, fitted: Samples) -> Samples:
    """Read a ``holdout.csv``, the networks that are only predicted.

    One that is the same network as a fitted one, as a small network may have, tells nothing of a
    prediction and is left out.

    Raises
    ------
    UserError
        If it is missing, damaged or of another format.
    """
    held = _read(HOLDOUT, path)
    known = {tuple(ratios) for ratios in fitted.ratios.tolist()}
    pairs = zip(held.names, held.ratios.tolist(), strict=True)
    return held.without({name for name, ratios in pairs if tuple(ratios) in known})


def _read(kind: TableKind, path: str | Path) -> Samples:
    rows = kind.read(path)
    names = tuple(row["point"] for row in rows)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise damaged(path, f"has the network {shown(twice)} twice")
    return Samples(
        names=names,
        ratios=np.array([[row[axis] for axis in AXES] for row in rows]).reshape(-1, 3),
        accuracy=np.array([row["accuracy"] for row in rows], dtype=float),
        cost_macs=np.array([row["cost_macs"] for row in rows], dtype=float),
        macs_ratio=np.array([row["macs_ratio"] for row in rows], dtype=float),
    )

"""The table of samples: what each network of the sampling tree is, and how accurate. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.files import read_csv
from prune3d.sampling.tree import AXES

COLUMNS = (
    "point",
    "depth",
    "width",
    "resolution",
    "accuracy",
    "macs",
    "macs_ratio",
    "params",
    "image_passes",
    "cost_macs",
)


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
    """

    names: tuple[str, ...]
    ratios: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    cost_macs: NDArray[np.float64]

    def region(self) -> NDArray[np.float64]:
        """Return the sampled region: lowest and highest ratio of each dimension, shape (3, 2)."""
        return np.stack([self.ratios.min(0), self.ratios.max(0)], axis=1)


def sample_row(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of one network from its metrics."""
    row: dict[str, Any] = {"point": name, "accuracy": metrics["selection"]["top1"]}
    return {column: row.get(column, metrics.get(column)) for column in COLUMNS}


def read_samples(path: str | Path) -> Samples:
    """Read a table of samples; in that of the fitted ones the dense network is first."""
    rows = read_csv(path)
    ratios = [[float(row[axis]) for axis in AXES] for row in rows]
    return Samples(
        names=tuple(row["point"] for row in rows),
        ratios=np.array(ratios).reshape(-1, 3),
        accuracy=np.array([float(row["accuracy"]) for row in rows]),
        cost_macs=np.array([float(row["cost_macs"]) for row in rows]),
    )

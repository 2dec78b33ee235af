"""The files ``metrics.json`` and ``test.json``: what a network is and how well it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from prune3d.files import damaged
from prune3d.records import (
    AtLeastOne,
    Count,
    Excerpt,
    Fraction,
    JsonKind,
    Name,
    NonNegative,
    Positive,
    Ratio,
)

# Of cheap networks and many epochs: beyond what float64 counts exactly.
Cost = Annotated[int, Field(ge=0, le=2**100)]
NETWORK = (
    "depth",
    "width",
    "resolution",
    "macs",
    "macs_ratio",
    "params",
    "image_passes",
    "cost_macs",
    "selection",
)


class Judgement(Excerpt):
    """What `prune3d.train.evaluate.evaluate` tells."""

    top1: Fraction
    top5: Fraction
    loss: NonNegative
    images: AtLeastOne


class MetricsRecord(Excerpt):
    """A network, or why there is none."""

    unreachable: Name | None = None
    depth: Ratio | None = None
    width: Ratio | None = None
    resolution: Ratio | None = None
    macs: Count | None = None
    macs_ratio: Positive | None = None
    params: Count | None = None
    image_passes: Count | None = None
    cost_macs: Cost | None = None
    selection: Judgement | None = None
    test: Judgement | None = None
    # Of the dense network, by penalty; see `prune3d.pruning.sparsity.near_zero`.
    near_zero: dict[Name, Fraction] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> MetricsRecord:
        missing = [name for name in NETWORK if getattr(self, name) is None]
        if self.unreachable is None and missing:
            raise ValueError(f"the key {missing[0]!r} is missing")
        return self


METRICS = JsonKind("metrics", 1, MetricsRecord)
TEST = JsonKind("test", 1, Judgement)


def read_metrics(path: str | Path, *, final: bool = False) -> dict[str, Any]:
    """Read a ``metrics.json``.

    Parameters
    ----------
    path
        The file.
    final
        Whether it is of a final network, which is judged on the test images or left out: then it
        has ``test`` or ``unreachable``.

    Raises
    ------
    UserError
        If it is missing, damaged, of another format or of another kind of network.
    """
    metrics = METRICS.read(path)
    left_out = metrics.get("unreachable") is not None
    if final and not left_out and metrics.get("test") is None:
        raise damaged(path, "does not hold what it should: the key 'test' is missing")
    if left_out and not final:
        raise damaged(path, "does not hold what it should: it tells of no network")
    return metrics

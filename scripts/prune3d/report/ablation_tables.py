"""The tables of single fits and networks that ablations write. Importing them costs nothing."""

from __future__ import annotations

from prune3d.records import (
    AtLeastOne,
    Count,
    Fraction,
    Name,
    NonNegative,
    Ratio,
    Record,
    TableKind,
)
from prune3d.sampling.metrics_file import Cost


class FitRow(Record):
    """A fit, judged on the samples that it has not seen."""

    setting: Name
    seed: Count
    samples: AtLeastOne
    coefficients: AtLeastOne
    cost_macs: NonNegative
    rest_rmse: NonNegative | None = None
    rest_spearman: float | None = None
    holdout_rmse: NonNegative | None = None
    holdout_spearman: float | None = None


class ScratchRow(Record):
    """A network that was made both by iterative pruning and from scratch."""

    seed: Count
    depth: Ratio
    width: Ratio
    resolution: Ratio
    pruned_accuracy: Fraction
    scratch_accuracy: Fraction
    pruned_cost_macs: Cost
    scratch_cost_macs: Cost
    pruned_seconds: NonNegative
    scratch_seconds: NonNegative


FITS = TableKind("fits", 1, FitRow)
SCRATCH = TableKind("scratch", 1, ScratchRow)

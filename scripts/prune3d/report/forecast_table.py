"""The table of forecasts. Importing it costs nothing; `prune3d.report.forecasts` makes its rows."""

from __future__ import annotations

from prune3d.records import Count, Fraction, Name, Ratio, Record, TableKind


class ForecastRow(Record):
    """A final network of the method."""

    experiment: Name
    seed: Count
    budget: Name
    depth: Ratio
    width: Ratio
    resolution: Ratio
    samples_predicted: float
    forecast: float
    low: float
    high: float
    level: Ratio
    long_labels: Count
    selection_top1: Fraction
    within: Count


FORECASTS = TableKind("forecasts", 1, ForecastRow, may_be_empty=True)

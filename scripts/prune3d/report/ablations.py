"""The tables of ablations for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune3d.report.text import markdown, percent, scaled

HEADER = (
    "setting",
    "samples",
    "fits",
    "coefficients",
    "cost",
    "error on the rest",
    "Spearman",
    "error on held-out",
    "Spearman",
)


def readable(summary: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of `prune3d.report.predictor_ablation.SUMMARY` as Markdown, errors in points."""
    rows = [
        [
            str(row["setting"]),
            str(row["samples"]),
            str(row["fits"]),
            str(row["coefficients"]),
            scaled(row["cost_macs"]),
            *(
                cell
                for part in ("rest", "holdout")
                for cell in (_error(row, f"{part}_rmse"), _rank(row[f"{part}_spearman_mean"]))
            ),
        ]
        for row in summary
    ]
    note = (
        "\nErrors are root mean squares in points of accuracy, ± over seeds and draws; those of "
        "fits to all samples are by leaving one out. Costs are image passes x MACs without the "
        "dense network's.\n"
    )
    return markdown(HEADER, rows) + note


def _error(row: Mapping[str, Any], name: str) -> str:
    mean = row[f"{name}_mean"]
    return "-" if mean is None else percent(mean, row[f"{name}_std"])


def _rank(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

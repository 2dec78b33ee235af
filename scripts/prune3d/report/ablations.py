"""The tables of ablations for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune3d.report.text import markdown, percent, points, scaled
from prune3d.sampling.tree import AXES

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


def scratch_readable(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """Return networks made by iterative pruning and from scratch as Markdown.

    Parameters
    ----------
    rows
        Of `prune3d.report.ablation_tables.SCRATCH`.
    summary
        What `prune3d.report.predictor_ablation.compare_scratch` says of them.
    """
    header = ["seed", *AXES, "pruned %", "from scratch %", "difference"]
    header += ["cost, pruned", "cost, from scratch"]
    cells = [
        [
            str(row["seed"]),
            *(f"{row[axis]:.2f}" for axis in AXES),
            percent(row["pruned_accuracy"]),
            percent(row["scratch_accuracy"]),
            points(row["pruned_accuracy"] - row["scratch_accuracy"]),
            scaled(row["pruned_cost_macs"]),
            scaled(row["scratch_cost_macs"]),
        ]
        for row in rows
    ]
    part = summary["pruned_cost_macs"] / max(1, summary["scratch_cost_macs"])
    spread = f" ± {100 * summary['spread']:.2f}" if summary["spread"] is not None else ""
    note = (
        f"\n{summary['networks']} networks: Spearman's rank correlation of both accuracies "
        f"{_rank(summary['spearman'])}, bias {points(summary['bias'])}{spread} points, pruning at "
        f"{100 * part:.0f} % of the cost of training from scratch. Accuracies are those on the "
        "selection images, costs image passes x MACs.\n"
    )
    return markdown(header, cells) + note


def _error(row: Mapping[str, Any], name: str) -> str:
    mean = row[f"{name}_mean"]
    return "-" if mean is None else percent(mean, row[f"{name}_std"])


def _rank(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

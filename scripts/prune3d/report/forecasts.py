"""What accuracy the method's final networks were foretold to have, beside what they have. No torch.

Samples are fine-tuned for a short time, final networks for long. How much that changes is learnt
from other networks that were fine-tuned for long: the finals of the policies that prune one
dimension alone, and the dense network, but for the very network that is foretold; see
`prune3d.predictor.fidelity`. Accuracies are those on the selection images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from prune3d.files import write_text
from prune3d.optimize.predictor_file import read_predictor
from prune3d.optimize.registry import METHOD
from prune3d.optimize.surrogate import chosen
from prune3d.predictor import tie_fidelities
from prune3d.report.forecast_table import FORECASTS
from prune3d.report.text import markdown, percent
from prune3d.sampling.metrics_file import read_metrics
from prune3d.sampling.tree import AXES
from prune3d.workflow.paths import Run, final_of, run_of

Row = dict[str, Any]
Labels = dict[Run, list[tuple[list[float], float]]]
LEVEL = 0.9
SAME = 1e-9  # ratios of one network


def forecast_rows(
    predictors: Iterable[str], finals: Iterable[str], longer: Iterable[str]
) -> list[Row]:
    """Return a row for each final network of the method.

    Parameters
    ----------
    predictors
        ``predictor.json`` of each run with the method.
    finals
        ``metrics.json`` of all final networks.
    longer
        ``metrics.json`` of the dense networks that were fine-tuned as final networks are.
    """
    fitted = {run_of(path): chosen(read_predictor(path)) for path in predictors}
    labels: Labels = {run: [] for run in fitted}
    own: list[tuple[Run, str, dict[str, Any]]] = []
    for path in longer:
        _add(labels, run_of(path), read_metrics(path))
    for path in finals:
        final, metrics = final_of(path), read_metrics(path, final=True)
        if metrics.get("unreachable"):
            continue
        if final.policy in AXES:
            _add(labels, final.run, metrics)
        elif final.policy == METHOD:
            own.append((final.run, final.budget, metrics))
    return [_row(run, budget, metrics, fitted[run], labels[run]) for run, budget, metrics in own]


def _add(labels: Labels, run: Run, metrics: dict[str, Any]) -> None:
    if run in labels:
        labels[run].append((_point(metrics), metrics["selection"]["top1"]))


def _point(metrics: dict[str, Any]) -> list[float]:
    return [metrics[axis] for axis in AXES]


def _row(
    run: Run,
    budget: str,
    metrics: dict[str, Any],
    short: Any,
    long: Sequence[tuple[list[float], float]],
) -> Row:
    # The method may have chosen what a single dimension gives: the label of that very network.
    own = _point(metrics)
    others = [(point, top1) for point, top1 in long if not np.allclose(point, own, 0, SAME)]
    points = np.array([point for point, _ in others]).reshape(-1, len(AXES))
    tied = tie_fidelities(short, points, [top1 for _, top1 in others])
    X = np.array([own])
    (low, high), measured = tied.interval(X, LEVEL)[0], metrics["selection"]["top1"]
    return {
        "experiment": run.experiment,
        "seed": run.seed,
        "budget": budget,
        **{axis: metrics[axis] for axis in AXES},
        "samples_predicted": float(short.predict(X)[0]),
        "forecast": float(tied.predict(X)[0]),
        "low": max(0.0, float(low)),
        "high": min(1.0, float(high)),
        "level": LEVEL,
        "long_labels": len(others),
        "selection_top1": measured,
        "within": int(low <= measured <= high),
    }


def write_tables(rows: Sequence[Row], output: Any) -> None:
    """Write the table to the paths ``csv`` and ``md``."""
    FORECASTS.write(output.csv, rows)
    header = ["experiment", "seed", "budget", *AXES, "samples' prediction %", "forecast %"]
    header += [f"{LEVEL:.0%} interval", "measured %"]
    cells = [
        [
            row["experiment"],
            str(row["seed"]),
            row["budget"],
            *(f"{row[axis]:.2f}" for axis in AXES),
            percent(row["samples_predicted"]),
            percent(row["forecast"]),
            f"{percent(row['low'])} to {percent(row['high'])}",
            percent(row["selection_top1"]),
        ]
        for row in rows
    ]
    write_text(output.md, markdown(header, cells))

"""How accuracy comes back while final networks are fine-tuned, and when it no longer rises."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prune3d.optimize.registry import POLICIES
from prune3d.records import AtLeastOne, Count, Fraction, Name, Record, TableKind
from prune3d.report.text import markdown, percent, points
from prune3d.sampling.metrics_file import read_metrics
from prune3d.train.history import HISTORY
from prune3d.workflow.paths import final_of

Row = dict[str, Any]
NOTE = (
    "Settled: the first judged epoch from which on the mean over seeds is nowhere further below "
    "the last than one standard error of an accuracy on as many images. A schedule that ends at a "
    "small learning rate gains most in its last epochs: a shorter one would end higher than this "
    "one is after as many epochs."
)


class RecoveryRow(Record):
    """A final network after an epoch of its fine-tuning."""

    experiment: Name
    seed: Count
    budget: Name
    policy: Name
    epoch: AtLeastOne
    epochs: AtLeastOne
    selection_top1: Fraction
    images: AtLeastOne


RECOVERY = TableKind("recovery", 1, RecoveryRow, may_be_empty=True)


def recovery_rows(histories: Iterable[str | Path], metrics: Iterable[str | Path]) -> list[Row]:
    """Return a row for each judged epoch of each final network that is fine-tuned.

    Those that are trained from random weights recover nothing, and are left out.

    Parameters
    ----------
    histories, metrics
        Files ``history.csv`` and ``metrics.json`` of the same networks.
    """
    rows = []
    for path, judged in zip(histories, metrics, strict=True):
        final = final_of(path)
        found = read_metrics(judged, final=True)
        if found.get("unreachable") or POLICIES[final.policy].scratch:
            continue
        history = HISTORY.read(path)
        named = {
            "experiment": final.run.experiment,
            "seed": final.run.seed,
            "budget": final.budget,
            "policy": final.policy,
            "epochs": len(history),
            "images": found["selection"]["images"],
        }
        rows += [
            {**named, "epoch": row["epoch"], "selection_top1": row["selection_top1"]}
            for row in history
            if row["selection_top1"] is not None
        ]
    return rows


def curves(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], dict[int, float]]:
    """Return the mean over seeds by epoch, of each experiment, budget and policy."""
    found: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for row in rows:
        own = found.setdefault((row["experiment"], row["budget"], row["policy"]), {})
        own.setdefault(row["epoch"], []).append(row["selection_top1"])
    return {
        key: {epoch: statistics.fmean(values) for epoch, values in sorted(own.items())}
        for key, own in found.items()
    }


def settled_epoch(curve: Mapping[int, float], images: int) -> int:
    """Return the epoch from which on a curve is nowhere further below its end than the noise.

    Parameters
    ----------
    curve
        Accuracy in [0, 1] by epoch.
    images
        On which it was measured; the noise is one standard error of a share of as many.
    """
    (*_, end) = (top1 for _, top1 in sorted(curve.items()))
    noise = standard_error(end, images)
    settled = max(curve)
    for epoch, top1 in sorted(curve.items(), reverse=True):
        if end - top1 > noise:
            break
        settled = epoch
    return settled


def standard_error(accuracy: float, images: int) -> float:
    """Return the standard error of an accuracy that was measured on so many images."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def readable(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table for people, in Markdown: a row for each experiment, budget and policy."""
    header = ["experiment", "budget", "policy", "seeds", "epochs", "after the first, %"]
    header += ["after the last, %", "gain, points", "noise, points", "settled after epoch"]
    cells = []
    for (experiment, budget, policy), curve in curves(rows).items():
        own = [
            row
            for row in rows
            if (row["experiment"], row["budget"], row["policy"]) == (experiment, budget, policy)
        ]
        seeds = {row["seed"]: row["images"] for row in own}
        images = sum(seeds.values())
        first, last = curve[min(curve)], curve[max(curve)]
        cells.append(
            [
                *(experiment, budget, policy, str(len(seeds)), str(own[0]["epochs"])),
                *(percent(first), percent(last), points(last - first)),
                f"{100 * standard_error(last, images):.2f}",
                str(settled_epoch(curve, images)),
            ]
        )
    return f"{markdown(header, cells)}\n- {NOTE}\n"

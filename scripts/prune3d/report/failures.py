"""Final networks that failed: at chance, far below what was foretold, or far below other seeds.

A fine-tuning that fails makes a mean over seeds and its spread meaningless, and nothing of it is
seen in a table of means.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune3d.optimize.registry import METHOD
from prune3d.records import Count, Fraction, Name, Record, TableKind
from prune3d.report.text import percent
from prune3d.sampling.metrics_file import read_metrics
from prune3d.workflow.paths import Final, final_of

Row = dict[str, Any]
# Standard errors by which a network must be above guessing.
CHANCE_ERRORS = 2.0
# Half widths of its interval by which a network must be below a forecast.
FORECAST_WIDTHS = 2.0
# Part of what the median of the other seeds has above guessing.
LEAST_PART = 0.5


class FailedRow(Record):
    """A final network that failed."""

    experiment: Name
    seed: Count
    budget: Name
    policy: Name
    test_top1: Fraction
    reason: Name


FAILED = TableKind("failed", 1, FailedRow, may_be_empty=True)


@dataclass(frozen=True)
class Judged:
    """A final network and how well it does.

    Attributes
    ----------
    final
        Which.
    test, selection
        Parts of the test and the selection images that are told right.
    images
        Number of test images.
    chance
        The accuracy of guessing, 0 where the classes are not known.
    """

    final: Final
    test: float
    selection: float
    images: int
    chance: float

    @classmethod
    def read(cls, path: str | Path) -> Judged | None:
        """Return what a ``metrics.json`` tells, None of a network that there is not."""
        metrics = read_metrics(path, final=True)
        if metrics.get("unreachable"):
            return None
        test, classes = metrics["test"], metrics.get("classes")
        chance = 1 / len(classes) if classes else 0.0
        selection = metrics["selection"]["top1"]
        return cls(final_of(path), test["top1"], selection, test["images"], chance)

    def is_at_chance(self) -> bool:
        """Tell whether its accuracy cannot be told from that of guessing."""
        error = math.sqrt(self.chance * (1 - self.chance) / self.images)
        return self.chance > 0 and self.test <= self.chance + CHANCE_ERRORS * error


def find_failures(
    finals: Iterable[str | Path], forecasts: Sequence[Mapping[str, Any]] = ()
) -> list[Row]:
    """Return a row of `FAILED` for each final network that failed.

    A network failed if its test accuracy is not above guessing, if it has less than half of what
    the median of the other seeds of its policy has above guessing, or, of the method, if its
    selection accuracy is below its forecast by twice the half width of the forecast's interval.

    Parameters
    ----------
    finals
        Paths of the ``metrics.json`` of the final networks.
    forecasts
        Rows of `prune3d.report.forecast_table.FORECASTS`.
    """
    judged = [one for one in map(Judged.read, finals) if one is not None]
    foretold = {(row["experiment"], row["seed"], row["budget"]): row for row in forecasts}
    rows = []
    for one in judged:
        run, budget, policy = one.final.run, one.final.budget, one.final.policy
        forecast = foretold.get((run.experiment, run.seed, budget)) if policy == METHOD else None
        reason = next(_reasons(one, _other_seeds(one, judged), forecast), None)
        if reason is not None:
            rows.append(
                {
                    "experiment": run.experiment,
                    "seed": run.seed,
                    "budget": budget,
                    "policy": policy,
                    "test_top1": one.test,
                    "reason": reason,
                }
            )
    return rows


def sentence(row: Mapping[str, Any]) -> str:
    """Return a row of `FAILED` as a sentence."""
    return (
        f"Failed: {row['experiment']}, seed {row['seed']}, budget {row['budget']}, policy "
        f"{row['policy']}: {row['reason']}."
    )


def _other_seeds(one: Judged, judged: Iterable[Judged]) -> list[float]:
    final = one.final
    wanted = (final.run.experiment, final.budget, final.policy)
    return [
        other.test
        for other in judged
        if (other.final.run.experiment, other.final.budget, other.final.policy) == wanted
        and other.final.run.seed != final.run.seed
    ]


def _reasons(
    one: Judged, others: Sequence[float], forecast: Mapping[str, Any] | None
) -> Iterator[str]:
    """Yield why a network is taken for failed, the gravest reason first."""
    if one.is_at_chance():
        yield f"its {percent(one.test)} % of the test images are no more than guessing gives"
    if forecast is not None:
        expected = forecast["forecast"]
        far = FORECAST_WIDTHS * (expected - forecast["low"])
        if one.selection < expected - far:
            yield (
                f"{percent(expected)} % of the selection images were foretold, not below "
                f"{percent(forecast['low'])} %, and it has {percent(one.selection)} %"
            )
    if others:
        median = statistics.median(others)
        if one.test - one.chance < LEAST_PART * (median - one.chance):
            yield (
                f"it has {percent(one.test)} % of the test images, other seeds have "
                f"{percent(median)} % in the median"
            )

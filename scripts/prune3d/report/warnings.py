"""Whether the dense network was trained to its end, judged by the networks pruned from it.

A network that is better than the dense one by more than chance, be it pruned from it or only
fine-tuned, has had what the dense one lacks: training. What pruning costs, and which policy costs
least, cannot be told from such a run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune3d.optimize.registry import DENSE_LONGER
from prune3d.records import Fraction, Name, Record, TableKind
from prune3d.sampling.metrics_file import TEST, read_metrics
from prune3d.sampling.table import read_samples
from prune3d.sampling.tree import DENSE
from prune3d.workflow.paths import Run, final_of, run_of

Row = dict[str, Any]


class WarningRow(Record):
    """An experiment whose results are not to be trusted; figures where its dense one is behind."""

    experiment: Name
    networks: int | None = None
    better: int | None = None
    network: Name | None = None
    dense_top1: Fraction | None = None
    pruned_top1: Fraction | None = None
    difference: Fraction | None = None
    noise: float | None = None
    warning: Name


WARNINGS = TableKind("warnings", 2, WarningRow, may_be_empty=True)
# The chance to blame a dense network that is as good as all that are pruned from it.
ERROR_RATE = 0.01
# By how many standard errors fine-tuning alone may improve it.
GAIN_LIMIT = 2.0


@dataclass(frozen=True)
class Pair:
    """A pruned network and the dense one of the same seed, judged on the same images.

    Attributes
    ----------
    dense, pruned
        Parts of the images that are told right.
    images
        Number of images.
    """

    dense: float
    pruned: float
    images: int


@dataclass(frozen=True)
class Lead:
    """How far a network of one name is ahead of the dense one, over seeds.

    Attributes
    ----------
    name
        Of the sample, or budget and policy.
    dense, pruned
        Mean accuracies.
    error
        Standard error of their difference.
    """

    name: str
    dense: float
    pruned: float
    error: float

    @property
    def difference(self) -> float:
        """Return the mean difference."""
        return self.pruned - self.dense


def lead(name: str, pairs: Sequence[Pair]) -> Lead:
    """Return the lead of a network and its standard error.

    The error has two parts: which images there are, as of two independent draws, and, from two
    seeds on, the spread of the difference between seeds.
    """
    seeds = len(pairs)
    images = statistics.fmean(
        (_variance(p.dense, p.images) + _variance(p.pruned, p.images)) for p in pairs
    )
    differences = [p.pruned - p.dense for p in pairs]
    between = statistics.variance(differences) if seeds > 1 else 0.0
    return Lead(
        name,
        statistics.fmean(p.dense for p in pairs),
        statistics.fmean(p.pruned for p in pairs),
        math.sqrt((images + between) / seeds),
    )


def _variance(accuracy: float, images: int) -> float:
    """Return the variance of an accuracy; one of 0 or 1 is not known for certain either."""
    part = (accuracy * images + 1) / (images + 2)
    return part * (1 - part) / images


def judge(experiment: str, leads: Sequence[Lead], gains: Sequence[Lead] = ()) -> Row | None:
    """Return the row of an experiment whose dense network is behind, a `WarningRow`, or None.

    Parameters
    ----------
    experiment
        Its name.
    leads
        Of the networks pruned from the dense one.
    gains
        Of the dense network itself, fine-tuned as samples or final networks are.
    """
    row = _of_pruned(experiment, leads) if leads else None
    return row or _of_finetuned(experiment, gains)


def _of_finetuned(experiment: str, gains: Sequence[Lead]) -> Row | None:
    """Return the row if fine-tuning alone improves the dense network."""
    gained = [one for one in gains if one.difference > GAIN_LIMIT * one.error]
    if not gained:
        return None
    most = max(gained, key=lambda one: one.difference / one.error)
    return _row(
        experiment,
        Found(len(gains), len(gained), most, GAIN_LIMIT * most.error),
        f"fine-tuning alone improves it by more than two standard errors ({most.name}: "
        f"{100 * most.pruned:.1f} % against {100 * most.dense:.1f} %, two standard errors "
        f"{200 * most.error:.1f})",
    )


def _of_pruned(experiment: str, leads: Sequence[Lead]) -> Row | None:
    """Return the row if pruned networks are ahead of the dense one."""
    limit = statistics.NormalDist().inv_cdf(1 - ERROR_RATE / len(leads))
    better = [one for one in leads if one.difference > limit * one.error]
    if not better:
        return None
    most = max(better, key=lambda one: one.difference / one.error)
    noise = limit * most.error
    return _row(
        experiment,
        Found(len(leads), len(better), most, noise),
        f"{len(better)} of {len(leads)} networks pruned from it beat it by more than the noise "
        f"({most.name}: {100 * most.pruned:.1f} % against {100 * most.dense:.1f} %, noise "
        f"{100 * noise:.1f})",
    )


@dataclass(frozen=True)
class Found:
    """How many of how many networks are ahead, which is most so, and what difference is noise."""

    networks: int
    better: int
    most: Lead
    noise: float


def _row(experiment: str, found: Found, reason: str) -> Row:
    most = found.most
    return {
        "experiment": experiment,
        "networks": found.networks,
        "better": found.better,
        "network": most.name,
        "dense_top1": most.dense,
        "pruned_top1": most.pruned,
        "difference": most.difference,
        "noise": found.noise,
        "warning": (
            f"Experiment {experiment}: the dense network is not trained to the end, since "
            f"{reason}; its results are not to be trusted: raise dense.epochs."
        ),
    }


def find_warnings(
    finals: Iterable[str | Path],
    dense: Iterable[str | Path],
    samples: Iterable[str | Path],
    longer: Iterable[str | Path] = (),
) -> list[Row]:
    """Return a row for each experiment whose dense network was not trained to its end.

    Final networks are judged on the test images, samples on the selection images.

    Parameters
    ----------
    finals, dense
        Paths of the ``metrics.json`` of the final and of the dense networks.
    samples
        Paths of the tables of samples, of runs that have any.
    longer
        Paths of the ``metrics.json`` of dense networks that were fine-tuned as final networks are.
    """
    pairs: dict[str, dict[str, list[Pair]]] = {run_of(path).experiment: {} for path in dense}
    again: dict[str, dict[str, list[Pair]]] = {name: {} for name in pairs}
    for path in longer:
        run = run_of(path)
        test, after = (TEST.read(run.dense(name)) for name in ("test.json", "longer/test.json"))
        again[run.experiment].setdefault(DENSE_LONGER, []).append(_pair(test, after))
    for path in samples:
        run = run_of(path)
        for name, pair in _sample_pairs(run):
            found = again if name == DENSE.name else pairs
            found[run.experiment].setdefault(f"sample {name}", []).append(pair)
    for path in finals:
        metrics = read_metrics(path, final=True)
        if metrics.get("unreachable"):
            continue
        final = final_of(path)
        test = TEST.read(final.run.dense("test.json"))
        name = f"budget {final.budget}, policy {final.policy}"
        pairs[final.run.experiment].setdefault(name, []).append(_pair(test, metrics["test"]))
    rows = (judge(name, _leads(pairs[name]), _leads(again[name])) for name in pairs)
    return [row for row in rows if row is not None]


def _leads(pairs: Mapping[str, Sequence[Pair]]) -> list[Lead]:
    return [lead(name, found) for name, found in pairs.items()]


def _sample_pairs(run: Run) -> Iterable[tuple[str, Pair]]:
    """Return the samples of a seed, each beside the dense network."""
    selection = read_metrics(run.dense("metrics.json"))["selection"]
    samples = read_samples(run.samples)
    for name, accuracy in zip(samples.names, samples.accuracy, strict=True):
        yield name, Pair(selection["top1"], float(accuracy), selection["images"])


def _pair(dense: Mapping[str, Any], pruned: Mapping[str, Any]) -> Pair:
    return Pair(dense["top1"], pruned["top1"], pruned["images"])

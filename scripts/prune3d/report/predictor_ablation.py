"""What each choice of the predictor and of its samples is worth, on samples that are there already.

No torch. `ablate` returns rows of `prune3d.report.ablation_tables.FITS`: one fit a row, judged on
samples that it has not seen. `summarize` averages over seeds and draws.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.errors import UserError
from prune3d.predictor import leave_one_out, make_predictor, prediction_errors, unknowns
from prune3d.report.text import mean_and_spread
from prune3d.sampling.metrics_file import read_metrics
from prune3d.sampling.optimal_design import Polynomial, TreeCost, optimal_points
from prune3d.sampling.table import Samples
from prune3d.sampling.tree import DENSE, Design, Point, designed_points
from prune3d.workflow.paths import run_of
from prune3d.workflow.provenance import job_seconds

Row = dict[str, Any]

ABLATIONS = ("degree", "rank", "samples", "design")
DEGREES, RANKS = (1, 2, 3, 4), (1, 2, 3)
KINDS = ("low_rank", "full")
DRAWS = 20
SIZES = 6
COUNTS = (9, 10, 12, 14, 15, 16, 20, 24)
JUDGED = ("rest_rmse", "rest_spearman", "holdout_rmse", "holdout_spearman")
SUMMARY = (
    "setting",
    "samples",
    "fits",
    "coefficients",
    "cost_macs",
    *(f"{name}_{part}" for name in JUDGED for part in ("mean", "std")),
)


@dataclass(frozen=True)
class Choices:
    """The choices that an ablation does not vary.

    Attributes
    ----------
    kind, degree, rank, alpha, shape, loss
        Of the predictor, see `prune3d.optimize.surrogate.Settings`.
    budgets
        Parts of the dense MACs for which designs are chosen.
    epochs
        Of the fine-tuning of a sample, for the cost of a design.
    """

    kind: str
    degree: int
    rank: int
    alpha: float | str
    budgets: Sequence[float]
    epochs: float
    shape: str = "none"
    loss: str = "squared"

    def __post_init__(self) -> None:
        """Take what is to be cross-validated at its default."""
        for name, value in (("degree", 3), ("rank", 1)):
            if getattr(self, name) == "cv":
                object.__setattr__(self, name, value)

    def fresh(self, **changed: Any) -> Any:
        """Return an unfitted predictor, some choices changed."""
        names = ("degree", "rank", "alpha", "shape", "loss")
        own = {**{name: getattr(self, name) for name in names}, **changed}
        return make_predictor(own.pop("kind", self.kind), **own)


def ablate(
    what: str,
    fit: Samples,
    held: Samples,
    seed: int,
    choices: Choices,
    left_out: Collection[str] = (),
) -> list[Row]:
    """Vary one choice.

    Parameters
    ----------
    what
        One of `ABLATIONS`.
    fit, held
        Samples of one seed, the dense network's first, and the held-out ones.
    seed
        The run's.
    choices
        All others.
    left_out
        Names of samples that the predictor leaves out: they are neither fitted nor judge anybody.

    Returns
    -------
    list of dict
        Rows of `prune3d.report.ablation_tables.FITS`. Fits to all samples are judged on the rest by
        leaving one out. What was left out of a fit is part of its cost, not of its samples.

    Raises
    ------
    UserError
        If designs are to be compared on samples that are no grid.
    """
    rows = []
    known = np.array([i for i, name in enumerate(fit.names) if name not in left_out])
    for setting, made, estimator, coefficients in _settings(what, fit, known, choices):
        chosen = np.intersect1d(made, known)
        rest = np.setdiff1d(known, chosen)
        fitted = estimator.fit(fit.ratios[chosen], fit.accuracy[chosen])
        held_out = fitted.predict(held.ratios) if held.names else []
        if len(rest):
            predicted = fitted.predict(fit.ratios[rest])
        else:
            rest = known
            predicted = leave_one_out(estimator, fit.ratios[known], fit.accuracy[known])
        errors = {"rest": prediction_errors(fit.accuracy[rest], predicted)}
        errors["holdout"] = prediction_errors(held.accuracy, held_out)
        judged = {
            f"{part}_{name}": errors[part][name]
            for part in ("rest", "holdout")
            for name in ("rmse", "spearman")
        }
        rows.append(
            {
                "setting": setting,
                "seed": seed,
                "samples": len(chosen),
                "coefficients": coefficients,
                # The dense network is there anyway.
                "cost_macs": float(fit.cost_macs[made[made > 0]].sum()),
                **judged,
            }
        )
    return rows


def summarize(rows: Sequence[Row]) -> list[Row]:
    """Return mean and spread over seeds and draws, a row for each setting and number of samples."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["setting"], row["samples"]), []).append(row)
    summary = []
    for (setting, samples), own in groups.items():
        entry: Row = {"setting": setting, "samples": samples, "fits": len(own)}
        entry["coefficients"] = own[0]["coefficients"]
        entry["cost_macs"] = mean_and_spread([row["cost_macs"] for row in own])[0]
        for name in JUDGED:
            values = [row[name] for row in own if row[name] is not None]
            mean, spread = mean_and_spread(values) if values else (None, None)
            entry[f"{name}_mean"], entry[f"{name}_std"] = mean, spread
        summary.append(entry)
    return summary


def scratch_rows(
    seeds: Sequence[int],
    pruned: Sequence[dict[str, Any]],
    scratch: Sequence[dict[str, Any]],
    seconds: Sequence[tuple[float, float]],
) -> list[Row]:
    """Put samples made by iterative pruning beside the same networks trained from scratch.

    Parameters
    ----------
    seeds
        Of their runs.
    pruned, scratch
        What their ``metrics.json`` hold, in the same order.
    seconds
        How long each of both took.

    Returns
    -------
    list of dict
        Rows of `prune3d.report.ablation_tables.SCRATCH`, one a network.
    """
    rows = []
    for seed, one, other, (own, fresh) in zip(seeds, pruned, scratch, seconds, strict=True):
        rows.append(
            {
                "seed": seed,
                "depth": one["depth"],
                "width": one["width"],
                "resolution": one["resolution"],
                "pruned_accuracy": one["selection"]["top1"],
                "scratch_accuracy": other["selection"]["top1"],
                "pruned_cost_macs": one["cost_macs"],
                "scratch_cost_macs": other["cost_macs"],
                "pruned_seconds": round(own, 1),
                "scratch_seconds": round(fresh, 1),
            }
        )
    return rows


def compare_scratch(rows: Sequence[Row]) -> Row:
    """Return rank correlation, bias and costs of `scratch_rows`.

    Returns
    -------
    dict
        networks; spearman and kendall between both accuracies; bias, the mean of pruned less
        scratch, and spread, the standard deviation of that difference; sums of costs and seconds.
    """
    pruned = np.array([row["pruned_accuracy"] for row in rows])
    scratch = np.array([row["scratch_accuracy"] for row in rows])
    errors = prediction_errors(scratch, pruned)
    sums = ("pruned_cost_macs", "scratch_cost_macs", "pruned_seconds", "scratch_seconds")
    return {
        "networks": len(rows),
        "spearman": errors["spearman"],
        "kendall": errors["kendall"],
        "bias": float(np.mean(pruned - scratch)),
        "spread": float(np.std(pruned - scratch, ddof=1)) if len(rows) > 1 else None,
        **{name: sum(row[name] for row in rows) for name in sums},
    }


def _settings(
    what: str, fit: Samples, known: NDArray[np.intp], choices: Choices
) -> Iterator[tuple[str, NDArray[np.intp], Any, int]]:
    """Yield name, samples, predictor and number of coefficients."""
    every = np.arange(len(fit.names))
    own = unknowns(choices.kind, choices.degree, choices.rank)
    if what == "degree":
        for degree in DEGREES:
            count = unknowns(choices.kind, degree, choices.rank)
            yield str(degree), every, choices.fresh(degree=degree), count
    elif what == "rank":
        for rank in RANKS:
            count = unknowns("low_rank", choices.degree, rank)
            yield str(rank), every, choices.fresh(kind="low_rank", rank=rank), count
        count = unknowns("full", choices.degree)
        yield "full", every, choices.fresh(kind="full"), count
    elif what == "samples":
        for chosen in (*_parts(known), every):
            for kind in KINDS:
                count = unknowns(kind, choices.degree, choices.rank)
                yield kind, chosen, choices.fresh(kind=kind), count
    else:
        for name, chosen in _designs(fit, choices):
            yield name, chosen, choices.fresh(), own


def _parts(known: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield random parts of some samples, the dense network, the first, in each."""
    rng = np.random.default_rng(0)
    samples = len(known)
    sizes = np.unique(np.geomspace(min(6, samples), samples, SIZES).round().astype(int))
    for size in sizes[:-1]:
        for _ in range(DRAWS):
            yield known[np.sort(np.append(0, 1 + rng.permutation(samples - 1)[: size - 1]))]


def _designs(fit: Samples, choices: Choices) -> Iterator[tuple[str, NDArray[np.intp]]]:
    place = {name: i for i, name in enumerate(fit.names)}
    points = [_point(name) for name in fit.names]
    levels = [
        sorted({getattr(p, axis) for p in points} - {1.0}, reverse=True)
        for axis in ("depth", "width", "resolution")
    ]
    if any(point.name not in place for point in _designed("grid", levels)):
        raise UserError("designs can only be compared on the samples of a whole grid.")

    def indices(chosen: Sequence[Point]) -> NDArray[np.intp]:
        return np.array(sorted(place[point.name] for point in chosen))

    yield "axes", indices(_designed("axes", levels))
    polynomial = Polynomial(choices.kind, choices.degree, choices.rank)
    fewest = polynomial.unknowns(sum(map(bool, levels))) - 1
    cost = TreeCost(train=choices.epochs + 1, score=1)
    for criterion in ("d", "i"):
        for count in COUNTS:
            if fewest <= count < len(points) - 1:
                found = optimal_points(levels, count, polynomial, choices.budgets, cost, criterion)
                chosen = [DENSE, *(Point(*ratios) for ratios in found)]
                yield f"optimal {criterion}", indices(chosen)
    yield "grid", np.arange(len(points))


def _designed(kind: str, levels: Sequence[Sequence[float]]) -> list[Point]:
    depth, width, resolution = (tuple(axis) for axis in levels)
    return designed_points(Design(kind, depth, width, resolution))


def _point(name: str) -> Point:
    """Return the ratios that a point's name tells."""
    return Point(*(float(part[1:]) / 100 for part in name.split("_")))


def read_pairs(pruned: Sequence[str], scratch: Sequence[str]) -> list[Row]:
    """Read the metrics and durations of networks made both ways, from their ``metrics.json``."""
    paths = list(zip(pruned, scratch, strict=True))
    seconds = [
        (job_seconds(_provenance(one)), job_seconds(_provenance(other))) for one, other in paths
    ]
    return scratch_rows(
        [run_of(one).seed for one, _ in paths],
        [read_metrics(one) for one, _ in paths],
        [read_metrics(other) for _, other in paths],
        seconds,
    )


def _provenance(path: str) -> Path:
    return Path(path).parent / "provenance.json"

"""What claims compare, from the tables of a run: a difference for each seed of each case."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from prune3d.optimize.curves import FLOOR
from prune3d.optimize.registry import METHOD, POLICIES
from prune3d.report.ablation_tables import FITS, SCRATCH
from prune3d.report.draws import missed_by_all_draws
from prune3d.report.forecast_table import FORECASTS
from prune3d.report.paired import Effect, paired
from prune3d.report.policies import LEFT_OUT, RUNS
from prune3d.sampling.tree import AXES

Row = Mapping[str, Any]
BySeed = dict[int, float]
TOP1 = "test_top1"
NOT_RUN = "not run: "
GOOD_RANK = 0.8
PREDICTORS = {"low_rank": "low rank", "full": "full"}


@dataclass(frozen=True)
class Sides:
    """Whose accuracy a claim compares with whose.

    Attributes
    ----------
    subject
        The policy that is claimed to be ahead; where it was not run the method takes its place.
    rivals
        Those that it is ahead of; ``draws*`` is the mean of draws1, draws2, ...
    """

    subject: str = METHOD
    rivals: Sequence[str] = ()


@dataclass(frozen=True)
class Case:
    """Where a claim is judged.

    Attributes
    ----------
    experiment
        Its name.
    budget
        Its name; None for what does not depend on one.
    """

    experiment: str
    budget: str | None = None


@dataclass(frozen=True)
class Compared:
    """One comparison in a case.

    Attributes
    ----------
    case
        Where.
    name
        What is compared, such as ``dwr - depth``.
    effect
        By how much; None where it was not measured.
    missing
        Why it was not.
    moot
        Whether there is nothing to compare with: a rival that cannot reach the budget.
    told
        More that is to be known of it.
    rival
        The policy that is compared with, if any.
    is_beyond_subject
        Whether the rival was measured at a budget that the subject cannot reach.
    is_same_network
        Whether both sides pruned to the same network in every seed, so that they differ by chance.
    """

    case: Case
    name: str
    effect: Effect | None
    missing: str = ""
    moot: bool = False
    told: Sequence[str] = ()
    rival: str = ""
    is_beyond_subject: bool = False
    is_same_network: bool = False


@dataclass(frozen=True)
class Measured:
    """All that a run has measured.

    Attributes
    ----------
    runs
        Rows of `prune3d.report.policies.RUNS`.
    left_out
        Rows of `prune3d.report.policies.LEFT_OUT`.
    fits
        By experiment, rows of `prune3d.report.ablation_tables.FITS`.
    scratch
        By experiment, rows of `prune3d.report.ablation_tables.SCRATCH`.
    forecasts
        Rows of `prune3d.report.forecast_table.FORECASTS`.
    """

    runs: Sequence[Row]
    left_out: Sequence[Row] = ()
    fits: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    scratch: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    forecasts: Sequence[Row] = ()

    def cases(self) -> list[Case]:
        """Return the experiments and budgets at which a policy was run."""
        found = (Case(r["experiment"], r["budget"]) for r in (*self.runs, *self.left_out))
        return [case for case in dict.fromkeys(found) if case.budget]

    def experiments(self) -> list[Case]:
        """Return the experiments."""
        return list(dict.fromkeys(Case(row["experiment"]) for row in self.runs))

    def of(self, case: Case, policy: str, column: str) -> BySeed:
        """Return a column of a policy by seed; of ``draws*`` the mean of draws1, draws2, ..."""
        found: dict[int, list[float]] = {}
        for row in self.runs:
            is_here = (row["experiment"], row["budget"] or None) == (case.experiment, case.budget)
            if is_here and _is_of(row["policy"], policy) and row[column] is not None:
                found.setdefault(row["seed"], []).append(row[column])
        return {seed: statistics.fmean(values) for seed, values in found.items()}

    def left_out_in(self, case: Case, policy: str) -> set[int]:
        """Return the seeds in which a policy could not reach the budget of a case.

        Of several draws those in which none of them could.
        """
        wanted = (case.experiment, case.budget)
        missed = (*self.left_out, *missed_by_all_draws(self.runs, self.left_out))
        seeds = {
            row["seed"]
            for row in missed
            if (row["experiment"], row["budget"]) == wanted and _is_of(row["policy"], policy)
        }
        return seeds - self.of(case, policy, TOP1).keys()


def _is_of(name: str, policy: str) -> bool:
    """Tell whether a policy is the one named, or one of its draws."""
    draws = policy.removesuffix("*")
    if draws == policy:
        return name == policy
    return name.startswith(draws) and name.removeprefix(draws).isdecimal()


def read_measured(files: Any) -> Measured:
    """Read the tables of a run.

    Parameters
    ----------
    files
        Paths ``runs`` and ``left_out``, and lists ``forecasts``, and ``samples`` and ``scratch`` of
        ablations' tables.
    """
    return Measured(
        RUNS.read(files.runs),
        LEFT_OUT.read(files.left_out),
        {_experiment(path): FITS.read(path) for path in files.samples},
        {_experiment(path): SCRATCH.read(path) for path in files.scratch},
        [row for path in files.forecasts for row in FORECASTS.read(path)],
    )


def _experiment(table: str) -> str:
    return Path(table).name.partition("_ablation_")[0]


def compare_accuracy(measured: Measured, sides: Sides) -> Iterator[Compared]:
    """Yield by how much the subject's test accuracy exceeds that of each rival."""
    for case in measured.cases():
        subject, told = sides.subject, []
        if subject != METHOD and not _is_run(measured, case, subject):
            told, subject = [f"{METHOD} in the place of {subject}, which was not run"], METHOD
        for rival in sides.rivals:
            yield _compare_policies(measured, case, subject, rival, told)


def _is_run(measured: Measured, case: Case, policy: str) -> bool:
    return bool(measured.of(case, policy, TOP1) or measured.left_out_in(case, policy))


def _compare_policies(
    measured: Measured, case: Case, subject: str, rival: str, told: Sequence[str]
) -> Compared:
    own, other = (measured.of(case, policy, TOP1) for policy in (subject, rival))
    absent = rival if own else subject
    is_out = not measured.of(case, absent, TOP1) and bool(measured.left_out_in(case, absent))
    about = [_less_than_the_budget, _partly_reached]
    return Compared(
        case,
        f"{subject} - {rival}",
        paired(own, other),
        f"{absent} cannot reach the budget" if is_out else f"{NOT_RUN}{absent}",
        moot=not other and bool(measured.left_out_in(case, rival)),
        told=[
            *told,
            *(
                text
                for tell in about
                for one in (subject, rival)
                for text in tell(measured, case, one)
            ),
        ],
        rival=rival,
        is_beyond_subject=bool(other) and not own and is_out,
        is_same_network=_is_same_network(measured, case, subject, rival),
    )


def _is_same_network(measured: Measured, case: Case, one: str, other: str) -> bool:
    """Tell whether two policies pruned to the same network in every seed."""
    if not all(p in POLICIES and POLICIES[p].is_pruning_as_the_method for p in (one, other)):
        return False
    networks = [[measured.of(case, policy, axis) for axis in AXES] for policy in (one, other)]
    return bool(networks[0][0]) and networks[0] == networks[1]


def _less_than_the_budget(measured: Measured, case: Case, policy: str) -> list[str]:
    """Say what part of the budget a policy used, in the mean, if it is less than it could be."""
    used = measured.of(case, policy, "budget_used")
    mean = statistics.fmean(used.values()) if used else 1.0
    return [f"{policy} used {100 * mean:.1f} % of the budget"] if mean < FLOOR else []


def _partly_reached(measured: Measured, case: Case, policy: str) -> list[str]:
    """Say in how many seeds a policy that reached the budget in others could not."""
    reached, out = measured.of(case, policy, TOP1), measured.left_out_in(case, policy)
    if not reached or not out:
        return []
    return [f"{policy} cannot reach the budget in {len(out)} of {len(out) + len(reached)} seeds"]


def compare_prediction(measured: Measured, _: Sides) -> Iterator[Compared]:
    """Yield by how much the final network's selection accuracy is off what samples predicted."""
    return _compare_foretold(measured, "samples_predicted", "error of the samples' prediction")


def compare_forecast(measured: Measured, _: Sides) -> Iterator[Compared]:
    """Yield the same for the forecast, which takes in the finals of other policies."""
    return _compare_foretold(measured, "forecast", "error of the forecast")


def _compare_foretold(measured: Measured, column: str, name: str) -> Iterator[Compared]:
    """Yield the absolute error, whose mean hides none as that of errors of both signs does."""
    for case in measured.cases():
        errors = {
            row["seed"]: abs(row["selection_top1"] - row[column])
            for row in measured.forecasts
            if (row["experiment"], row["budget"]) == (case.experiment, case.budget)
        }
        effect = paired(errors, dict.fromkeys(errors, 0.0))
        yield Compared(case, name, effect, f"{NOT_RUN}{METHOD}")


def compare_search_cost(measured: Measured, _: Sides) -> Iterator[Compared]:
    """Yield what part of the dense network's training is left when the search is paid from it."""
    for case in measured.cases():
        search = measured.of(case, METHOD, "search_cost_macs")
        dense = measured.of(Case(case.experiment), "dense", "training_cost_macs")
        parts = {seed: search[seed] / dense[seed] for seed in search if dense.get(seed)}
        missing = f"{NOT_RUN}{METHOD}" if not search else "the dense network was not trained"
        yield Compared(
            case, "1 - search / training", paired(dict.fromkeys(parts, 1.0), parts), missing
        )


def compare_predictors(measured: Measured, _: Sides) -> Iterator[Compared]:
    """Yield by how much the full predictor errs more, over the sizes of parts of the samples.

    Errors are those on held-out networks where there are any: samples of single dimensions tell
    nothing of terms that dimensions have in common, in which the two predictors differ.
    """
    for case in measured.experiments():
        rows = measured.fits.get(case.experiment, ())
        is_held_out = any(row["holdout_rmse"] is not None for row in rows)
        column = "holdout_rmse" if is_held_out else "rest_rmse"
        full, low = (_mean_error(rows, kind, column) for kind in ("full", "low_rank"))
        judged = "held-out networks" if is_held_out else "samples left out, none being held out"
        told = [f"on {judged}", *_samples_needed(rows, column)]
        missing = f"{NOT_RUN}the ablation samples"
        yield Compared(case, "full - low rank", paired(full, low), missing, told=told)


def _mean_error(rows: Iterable[Row], setting: str, column: str) -> BySeed:
    """Return the mean over sizes of the mean error over draws, by seed."""
    seeds = dict.fromkeys(row["seed"] for row in rows)
    errors = {s: _by_size([r for r in rows if r["seed"] == s], setting, column) for s in seeds}
    return {seed: statistics.fmean(own.values()) for seed, own in errors.items() if own}


def _by_size(rows: Iterable[Row], setting: str, column: str) -> dict[int, float]:
    """Return the mean error at each number of samples."""
    errors: dict[int, list[float]] = {}
    for row in rows:
        if row["setting"] == setting and row[column] is not None:
            errors.setdefault(row["samples"], []).append(row[column])
    return {size: statistics.fmean(errors[size]) for size in sorted(errors)}


def _samples_needed(rows: Sequence[Row], column: str) -> Iterator[str]:
    """Say with how many samples each predictor has the error that the other has with all."""
    found = {name: _by_size(rows, kind, column) for kind, name in PREDICTORS.items()}
    if not all(found.values()):
        return
    for own, other in permutations(found):
        every = max(found[other])
        enough = [size for size, error in found[own].items() if error <= found[other][every]]
        how = f"{enough[0]} samples errs no" if enough else "any number of samples errs"
        yield f"{own} with {how} more than {other} with all {every}"


def compare_ranks(measured: Measured, _: Sides) -> Iterator[Compared]:
    """Yield by how much the rank correlation with training from scratch exceeds `GOOD_RANK`."""
    for case in measured.experiments():
        rows = measured.scratch.get(case.experiment, ())
        ranks: BySeed = {}
        for seed in sorted({row["seed"] for row in rows}):
            rank = _rank_correlation([row for row in rows if row["seed"] == seed])
            if rank is not None:
                ranks[seed] = rank
        effect = paired(ranks, dict.fromkeys(ranks, GOOD_RANK))
        told = [_cost_of_pruning(rows)] if rows else []
        name = f"Spearman - {GOOD_RANK}"
        yield Compared(case, name, effect, f"{NOT_RUN}the ablation scratch", told=told)


def _rank_correlation(rows: Sequence[Row]) -> float | None:
    from prune3d.predictor import prediction_errors

    scratch, pruned = ([row[f"{kind}_accuracy"] for row in rows] for kind in ("scratch", "pruned"))
    rank: float | None = prediction_errors(scratch, pruned)["spearman"]
    return rank


def _cost_of_pruning(rows: Sequence[Row]) -> str:
    costs = [sum(row[f"{kind}_cost_macs"] for row in rows) for kind in ("pruned", "scratch")]
    return f"at {100 * costs[0] / max(costs[1], 1):.0f} % of the cost"


@dataclass(frozen=True)
class Measure:
    """A kind of comparison.

    Attributes
    ----------
    compare
        Yields the comparisons of all cases, given what was measured and whose accuracy it is.
    unit
        What effects are told in.
    scale
        By which they are multiplied for that.
    is_exact
        Whether it is counted rather than measured, so that seeds may well agree.
    largest
        The largest effect that there can be, if there is one: seeds that all have it agree.
    """

    compare: Callable[[Measured, Sides], Iterator[Compared]]
    unit: str
    scale: float
    is_exact: bool = False
    largest: float | None = None


MEASURES = {
    "test_accuracy": Measure(compare_accuracy, "points", 100),
    "prediction": Measure(compare_prediction, "points", 100),
    "forecast": Measure(compare_forecast, "points", 100),
    "search_cost": Measure(compare_search_cost, "% of the dense training", 100, is_exact=True),
    "predictor_error": Measure(compare_predictors, "points", 100),
    "rank_of_scratch": Measure(compare_ranks, "Spearman", 1, largest=1 - GOOD_RANK),
}

"""The table of all policies: one row a run, and their mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import create_model, model_validator

from prune3d.costs.structure_file import BLOCKS
from prune3d.files import write_text
from prune3d.optimize import registry
from prune3d.optimize.curves import FLOOR
from prune3d.optimize.registry import AXIS_SAMPLES, DENSE_LONGER, METHOD, OPTIMUM, SAMPLES
from prune3d.optimize.target_file import TRIALS, read_target
from prune3d.records import (
    AtLeastOne,
    Count,
    Fraction,
    Name,
    NonNegative,
    Positive,
    Ratio,
    Record,
    TableKind,
)
from prune3d.report.draws import POOLED, best_of_draws, pooled_draws
from prune3d.report.failures import FAILED, sentence
from prune3d.report.latencies import TIMED, mixing
from prune3d.report.paired import paired
from prune3d.report.text import (
    latex,
    markdown,
    mean_and_spread,
    percent,
    plain,
    points,
    scaled,
)
from prune3d.report.warnings import WARNINGS
from prune3d.sampling.metrics_file import TEST, Cost, read_metrics
from prune3d.sampling.table import read_samples
from prune3d.sampling.tree import AXES
from prune3d.workflow.paths import Final, Run, final_of, run_of
from prune3d.workflow.provenance import epoch_seconds, job_seconds

Row = dict[str, Any]


class RunRow(Record):
    """A network that was judged on the test images; the dense ones have no budget."""

    experiment: Name
    seed: Count
    budget: Name | None = None
    policy: Name
    depth: Ratio
    width: Ratio
    resolution: Ratio
    macs: Count
    macs_ratio: Positive
    params: Count
    selection_top1: Fraction
    test_top1: Fraction
    test_top5: Fraction
    predicted_accuracy: float | None = None
    search_cost_macs: Cost
    training_cost_macs: Cost
    search_seconds: NonNegative
    training_seconds: NonNegative
    epoch_seconds: NonNegative | None = None
    latency_ms: Positive | None = None
    speedup: Positive | None = None
    budget_used: Positive | None = None


class LeftOutRow(Record):
    """A policy that cannot reach a budget."""

    experiment: Name
    seed: Count
    budget: Name
    policy: Name
    reason: Name


RUNS = TableKind("runs", 3, RunRow)
LEFT_OUT = TableKind("left_out", 1, LeftOutRow, may_be_empty=True)
RUN_COLUMNS = RUNS.columns
AVERAGED = RUN_COLUMNS[4:]
DIFFERENCE = tuple(f"difference_to_dwr{part}" for part in ("", "_low", "_high"))
DIFFERENCE_COLUMNS = (*DIFFERENCE, "difference_to_dwr_seeds")
SUMMARY_COLUMNS = (
    *(f"{column}_{part}" for column in AVERAGED for part in ("mean", "std")),
    *DIFFERENCE_COLUMNS,
)


class _Policy(Record):
    experiment: Name
    budget: Name | None = None
    policy: Name
    seeds: AtLeastOne

    @model_validator(mode="after")
    def _can_be_drawn(self) -> _Policy:
        missing = [name for name in DRAWN if getattr(self, name) is None]
        if missing:
            raise ValueError(f"there is no {missing[0]}")
        return self


DRAWN = ("macs_ratio_mean", "test_top1_mean")
_NUMBERS: dict[str, Any] = dict.fromkeys(SUMMARY_COLUMNS, (float | None, None))
POLICIES = TableKind("policies", 5, create_model("PolicyRow", __base__=_Policy, **_NUMBERS))


@dataclass(frozen=True)
class Comparison:
    """All runs of all policies.

    Attributes
    ----------
    runs
        Rows of `RUNS`: the dense networks, those fine-tuned as finals are, then every policy
        that reached its budget.
    left_out
        Rows of `LEFT_OUT`: those that did not, and why.
    mixed
        Of what experiments latencies are of several machines, see
        `prune3d.report.latencies.mixing`.
    """

    runs: list[Row]
    left_out: list[Row]
    mixed: Sequence[str] = ()


def compare(
    finals: Iterable[str | Path],
    dense: Iterable[str | Path],
    longer: Iterable[str | Path] = (),
    timed: Iterable[str | Path] = (),
) -> Comparison:
    """Read the metrics of all networks.

    Parameters
    ----------
    finals, dense, longer
        Paths of the ``metrics.json`` of the final networks, of the dense ones, and of those that
        were fine-tuned as final networks are.
    timed
        Paths of tables of `prune3d.report.latencies.TIMED`, where latencies were measured.
    """
    runs = [dense_row(run_of(path), "dense") for path in dense]
    runs += [dense_row(run_of(path), DENSE_LONGER, "longer/") for path in longer]
    left_out = []
    for path in finals:
        final = final_of(path)
        names = {
            "experiment": final.run.experiment,
            "seed": final.run.seed,
            "budget": final.budget,
            "policy": final.policy,
        }
        metrics = read_metrics(path, final=True)
        if metrics.get("unreachable"):
            left_out.append({**names, "reason": metrics["unreachable"]})
        else:
            runs.append({**names, **final_row(final, metrics)})
    latencies = [row for path in timed for row in TIMED.read(path)]
    add_latencies(runs, latencies)
    return Comparison([*runs, *best_of_draws(runs, left_out)], left_out, mixing(latencies))


def dense_row(run: Run, name: str, folder: str = "") -> Row:
    """Return the row of a dense network, whose files lie in a folder below ``dense/``."""
    metrics = read_metrics(run.dense(f"{folder}metrics.json"))
    test = TEST.read(run.dense(f"{folder}test.json"))
    return {
        "experiment": run.experiment,
        "seed": run.seed,
        "budget": "",
        "policy": name,
        **_measured({**metrics, "test": test}),
        "predicted_accuracy": None,
        "search_cost_macs": 0,
        "training_cost_macs": metrics["cost_macs"],
        "search_seconds": 0.0,
        **_training_times(run.dense(f"{folder}provenance.json"), run.dense(f"{folder}history.csv")),
    }


def add_latencies(runs: Sequence[Row], timed: Iterable[Row]) -> None:
    """Give the rows of networks that were timed their milliseconds and speed-up to the dense one.

    Each speed-up is to the dense network of the same seed, timed by the same job.
    """
    found = {_key(row): row["latency_ms"] for row in timed}
    for run in runs:
        own, dense = (found.get(_key(one)) for one in (run, {**run, **_DENSE}))
        if own is not None and dense is not None:
            run["latency_ms"], run["speedup"] = own, dense / own


_DENSE = {"budget": None, "policy": "dense"}


def _key(row: Mapping[str, Any]) -> tuple[str, int, str, str]:
    return row["experiment"], row["seed"], row["budget"] or "", row["policy"]


def _training_times(provenance: str, history: str) -> Row:
    seconds = epoch_seconds(provenance, history)
    return {
        "training_seconds": round(job_seconds(provenance), 1),
        "epoch_seconds": None if seconds is None else round(seconds, 3),
        "latency_ms": None,
        "speedup": None,
        "budget_used": None,
    }


def final_row(final: Final, metrics: Mapping[str, Any]) -> Row:
    """Return the part of a row that comes from the files of a final network and its search.

    A policy is billed with what it uses of the method's search, as if it were alone, and with the
    scoring of blocks if it removes any: all of it for each budget, although one search serves all.
    The first sample, the dense network fine-tuned, is made for its label alone. The dense network's
    training, common to all, is in its own row, and held-out samples only judge the predictor.
    """
    run, budget, policy = final.run, final.budget, final.policy
    search, predicted = search_cost(run, policy), None
    target = _target(final)
    if registry.POLICIES[policy].uses >= OPTIMUM:
        search += trials_cost(run, budget)
    if registry.POLICIES[policy].is_judging:
        search += judging_cost(final, target)
    if policy == METHOD or registry.POLICIES[policy].uses == SAMPLES:
        predicted = target.get("predicted_accuracy")
    return {
        **_measured(metrics),
        "predicted_accuracy": predicted,
        "search_cost_macs": search.macs,
        "training_cost_macs": metrics["cost_macs"],
        "search_seconds": round(search.seconds, 1),
        **_training_times(
            run.final(budget, policy, "provenance.json"), run.final(budget, policy, "history.csv")
        ),
        "budget_used": budget_used(metrics, target),
    }


def _target(final: Final) -> Row:
    """Read what a policy prunes to."""
    policy = registry.target_of(final.policy)
    if policy == METHOD:
        return read_target(final.run.budget(final.budget, "optimum.json"), policy)
    return read_target(final.run.final(final.budget, policy, "target.json"), policy)


def budget_used(metrics: Mapping[str, Any], target: Mapping[str, Any]) -> float:
    """Return the largest part of a limit that a network uses.

    Parameters
    ----------
    metrics
        Its ``metrics.json``: measured MACs and parameters.
    target
        What it was pruned to, with the ``limits`` of the budget, and its latency where that is one.
    """
    amounts = {**metrics, "latency_ms": target.get("latency_ms")}
    return max(amounts[name] / limit for name, limit in target["limits"].items())


@dataclass(frozen=True)
class SearchCost:
    """What a policy spent before it knew what to prune to.

    Attributes
    ----------
    macs
        Image passes x MACs of a forward pass.
    seconds
        Durations of the jobs.
    """

    macs: int
    seconds: float

    def __add__(self, other: SearchCost) -> SearchCost:
        return SearchCost(self.macs + other.macs, self.seconds + other.seconds)


def search_cost(run: Run, policy: str) -> SearchCost:
    """Return the cost of the search of a policy in a seed of an experiment."""
    macs, seconds = 0, 0.0
    known = registry.POLICIES[policy]
    if known.is_removing_blocks:
        macs += BLOCKS.read(run.dense("blocks.json"))["cost_macs"]
        seconds += job_seconds(run.dense("blocks_provenance.json"))
    if known.uses >= AXIS_SAMPLES:
        samples = read_samples(run.samples)
        if known.uses == AXIS_SAMPLES:
            samples = samples.on_axes()
        macs += int(samples.cost_macs.sum())
        seconds += sum(job_seconds(run.sample(name, "provenance.json")) for name in samples.names)
    return SearchCost(macs, seconds)


def trials_cost(run: Run, budget: str) -> SearchCost:
    """Return the cost of the networks that were tried for a budget."""
    trials = TRIALS.read(run.budget(budget, "trials.csv"))
    files = [run.trial(budget, row["round"], row["place"], "provenance.json") for row in trials]
    return SearchCost(sum(row["cost_macs"] for row in trials), sum(map(job_seconds, files)))


def judging_cost(final: Final, target: Mapping[str, Any]) -> SearchCost:
    """Return the cost of the networks that a policy judged before it chose its target."""
    provenance = final.run.final(final.budget, final.policy, "target_provenance.json")
    return SearchCost(target["search_cost_macs"], job_seconds(provenance))


def summarize(runs: Sequence[Row]) -> list[Row]:
    """Return mean and sample standard deviation over the seeds, a row a policy.

    Rows keep the order in which the policies first appear, those of all random points together
    come last. The difference to the method is that of
    the test accuracies at the same budget, over the seeds that both have, with its interval.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in (*runs, *pooled_draws(runs)):
        groups.setdefault((row["experiment"], row["budget"], row["policy"]), []).append(row)
    summary = []
    for (experiment, budget, policy), rows in groups.items():
        entry: Row = {"experiment": experiment, "budget": budget, "policy": policy}
        entry["seeds"] = len({row["seed"] for row in rows})
        for column in AVERAGED:
            values = [row[column] for row in rows if row[column] is not None]
            mean, spread = mean_and_spread(values) if values else (None, None)
            entry[f"{column}_mean"], entry[f"{column}_std"] = mean, spread
        method = groups.get((experiment, budget, METHOD), []) if policy != METHOD else []
        summary.append({**entry, **_difference(rows, method)})
    return summary


def _difference(rows: Sequence[Row], method: Sequence[Row]) -> Row:
    own, reference = (by_seed(part) for part in (rows, method))
    effect = paired(own, reference)
    if effect is None:
        return dict.fromkeys(DIFFERENCE_COLUMNS)
    ends = effect.interval() or (None, None)
    return dict(zip(DIFFERENCE_COLUMNS, (effect.mean, *ends, effect.seeds), strict=True))


def by_seed(rows: Sequence[Row]) -> dict[int, float]:
    """Return the test accuracy of each seed, the mean where a seed has several rows."""
    seeds = dict.fromkeys(row["seed"] for row in rows)
    return {s: fmean(row["test_top1"] for row in rows if row["seed"] == s) for s in seeds}


def write_tables(
    comparison: Comparison, warnings: Sequence[Row], failed: Sequence[Row], output: Any
) -> None:
    """Write the tables.

    Parameters
    ----------
    comparison
        All runs.
    warnings
        Of runs that are not to be trusted; see `prune3d.report.warnings.find_warnings`.
    failed
        Rows of `prune3d.report.failures.FAILED`.
    output
        Paths ``runs``, ``csv``, ``left_out``, ``warnings``, ``failed``, ``md`` and ``tex``.
    """
    summary = summarize(comparison.runs)
    RUNS.write(output.runs, comparison.runs)
    POLICIES.write(output.csv, summary)
    LEFT_OUT.write(output.left_out, comparison.left_out)
    WARNINGS.write(output.warnings, warnings)
    FAILED.write(output.failed, failed)
    header, rows = readable(summary)
    below = [*(row["warning"] for row in warnings), *map(sentence, failed)]
    below += notes(summary, comparison)
    if partly := partly_used(summary):
        below.append(f"Used less of the budget than {100 * FLOOR:.0f} %: {', '.join(partly)}.")
    write_text(output.md, markdown(header, rows) + "".join(f"\n- {note}" for note in below) + "\n")
    write_text(output.tex, latex(header, rows, below))


def readable(summary: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the table for people."""
    header = ["experiment", "budget", "policy", "seeds", "test top-1 %", "difference to dwr"]
    header += ["MACs %", "params"]
    header += ["depth", "width", "resolution", "search cost", "training cost", "s an epoch"]
    is_timed = _is_timed(summary)
    header += ["ms", "speed-up"] if is_timed else []
    rows = [
        [
            row["experiment"],
            row["budget"] or "-",
            row["policy"],
            str(row["seeds"]),
            percent(row["test_top1_mean"], row["test_top1_std"]),
            difference(row),
            percent(row["macs_ratio_mean"], digits=1),
            scaled(row["params_mean"]),
            *(f"{row[f'{axis}_mean']:.2f}" for axis in AXES),
            scaled(row["search_cost_macs_mean"]),
            scaled(row["training_cost_macs_mean"]),
            _number(row["epoch_seconds_mean"], "#.3g"),
            *([_latency(row), _number(row["speedup_mean"], ".2f")] if is_timed else ()),
        ]
        for row in summary
    ]
    return header, rows


def partly_used(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the policies that use less of a budget than others may, where, and how much."""
    return [
        f"{row['policy']} at {row['experiment']}, {row['budget']} ({100 * used:.1f} %)"
        for row in summary
        if (used := row["budget_used_mean"]) is not None and used < FLOOR
    ]


def _is_timed(summary: Sequence[Row]) -> bool:
    return any(row["latency_ms_mean"] is not None for row in summary)


def _latency(row: Row) -> str:
    mean, spread = row["latency_ms_mean"], row["latency_ms_std"]
    return _number(mean, ".3g") + ("" if spread is None else f" ± {plain(spread, '.2g')}")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else plain(value, form)


def difference(row: Mapping[str, Any], unit: str = "") -> str:
    """Return the difference to the method, with the seeds that it is over where those are fewer."""
    text = points(*(row[column] for column in DIFFERENCE)) + unit
    seeds = row["difference_to_dwr_seeds"]
    is_fewer = seeds is not None and seeds != row["seeds"]
    return f"{text} ({seeds:.0f} seed{'s' if seeds > 1 else ''})" if is_fewer else text


def notes(summary: Sequence[Row], comparison: Comparison) -> list[str]:
    """Return what must be said below the table: units, and the policies left out, with reasons."""
    pooled = any(row["policy"] == POOLED for row in summary)
    over = f"seeds, that of {POOLED} over all draws and seeds" if pooled else "seeds"
    lines = [
        f"± is the sample standard deviation over {over}. Costs are image passes x MACs of a "
        "forward pass; a policy that uses less of the budget than another is at a disadvantage.",
        "The difference to dwr is that of the test accuracies of the same seeds in points, with "
        "its 95 % t interval where seeds differ; it is not corrected for the number of policies.",
        "Seconds an epoch are those of the network's own training or fine-tuning, on whatever "
        "machine and beside whatever else it ran.",
    ]
    if _is_timed(summary):
        lines.append(
            "ms are for latency.batch_size images; tables/latency.md says how they were measured, "
            "and has a larger batch."
        )
    lines += comparison.mixed
    lines += [
        f"Left out: {row['experiment']}, seed {row['seed']}, budget {row['budget']}, policy "
        f"{row['policy']}: {row['reason']}."
        for row in comparison.left_out
    ]
    return lines


def _measured(metrics: Mapping[str, Any]) -> Row:
    columns = ("depth", "width", "resolution", "macs", "macs_ratio", "params")
    return {
        **{column: metrics[column] for column in columns},
        "selection_top1": metrics["selection"]["top1"],
        "test_top1": metrics["test"]["top1"],
        "test_top5": metrics["test"]["top5"],
    }

"""What a choice of training or pruning is worth: experiments beside the one they differ from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import create_model

from prune3d.files import write_text
from prune3d.records import Count, Name, Record, TableKind
from prune3d.report.draws import missed_by_all_draws
from prune3d.report.paired import paired
from prune3d.report.text import markdown, mean_and_spread, percent, plain, points, scaled

Row = dict[str, Any]
# Of both experiments, means over the seeds that both have.
BESIDE = ("test_top1", "macs_ratio", "search_cost_macs", "training_cost_macs", "epoch_seconds")
DIFFERENCE = ("difference", "difference_low", "difference_high")
COLUMNS = (
    *DIFFERENCE,
    *(f"{column}{end}" for column in BESIDE for end in ("", "_compared")),
    "test_top1_std",
)
NOTES = (
    "The difference is the test accuracy of an experiment less that of the one it is compared "
    "with, in points: taken within each seed that both have, averaged, with its 95 % t interval "
    "where seeds differ. An interval that holds 0 means that these seeds do not tell them apart.",
    "Of 0 seeds: there is none in which the policy reaches the budget in both.",
    "MACs, cost and seconds an epoch are given as here / there. Cost is that of search and "
    "training together, in image passes x MACs of a forward pass; seconds an epoch are those of "
    "the network's own training, on whatever machine and beside whatever else it ran.",
)


class _Ablation(Record):
    experiment: Name
    compared_with: Name
    budget: Name | None = None
    policy: Name
    seeds: Count


_NUMBERS: dict[str, Any] = dict.fromkeys(COLUMNS, (float | None, None))
ABLATIONS = TableKind("ablations", 1, create_model("AblationRow", __base__=_Ablation, **_NUMBERS))


def compare_experiments(
    runs: Sequence[Mapping[str, Any]],
    pairs: Iterable[Sequence[str]],
    left_out: Sequence[Mapping[str, Any]] = (),
) -> list[Row]:
    """Return a row for each policy and budget of each experiment, the dense network first.

    Parameters
    ----------
    runs
        Rows of `prune3d.report.policies.RUNS`.
    pairs
        Names of an experiment and of that which it is compared with.
    left_out
        Rows of `prune3d.report.policies.LEFT_OUT`.

    Returns
    -------
    list
        Rows of `ABLATIONS`; without a difference where a policy did not reach its budget in both.
    """
    found: dict[tuple[str, str, str], dict[int, Mapping[str, Any]]] = {}
    for run in runs:
        found.setdefault(_place(run), {})[run["seed"]] = run
    for missed in (*left_out, *missed_by_all_draws(runs, left_out)):
        found.setdefault(_place(missed), {})
    rows = []
    for name, other in pairs:
        for (experiment, budget, policy), own in found.items():
            if experiment == name:
                reference = found.get((other, budget, policy), {})
                names = {"experiment": name, "compared_with": other}
                both = _both(own, reference)
                rows.append({**names, "budget": budget or None, "policy": policy, **both})
    return rows


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["experiment"], row["budget"] or "", row["policy"]


def _both(own: Mapping[int, Mapping[str, Any]], other: Mapping[int, Mapping[str, Any]]) -> Row:
    seeds = sorted(own.keys() & other.keys())
    here, there = ([part[seed] for seed in seeds] for part in (own, other))
    effect = paired(*({run["seed"]: run["test_top1"] for run in part} for part in (here, there)))
    if effect is None:
        return {"seeds": 0, **dict.fromkeys(COLUMNS)}
    ends = effect.interval() or (None, None)
    _, spread = mean_and_spread([run["test_top1"] for run in here])
    return {
        "seeds": effect.seeds,
        **dict(zip(DIFFERENCE, (effect.mean, *ends), strict=True)),
        **{column: _mean(here, column) for column in BESIDE},
        **{f"{column}_compared": _mean(there, column) for column in BESIDE},
        "test_top1_std": spread,
    }


def _mean(runs: Sequence[Mapping[str, Any]], column: str) -> float | None:
    values = [run[column] for run in runs if run[column] is not None]
    return fmean(values) if values else None


def write_ablations(rows: Sequence[Row], output: Any) -> None:
    """Write the table to the paths ``csv`` and ``md`` of an output."""
    ABLATIONS.write(output.csv, rows)
    write_text(output.md, readable(rows))


def readable(rows: Sequence[Row]) -> str:
    """Return the table for people, with how to read it."""
    header = ["experiment", "compared with", "budget", "policy", "seeds", "test top-1 %"]
    header += ["difference", "MACs %", "cost", "s an epoch"]
    cells = [
        [
            row["experiment"],
            row["compared_with"],
            row["budget"] or "-",
            row["policy"],
            str(row["seeds"]),
            "-" if row["test_top1"] is None else percent(row["test_top1"], row["test_top1_std"]),
            points(*(row[column] for column in DIFFERENCE)),
            _pair(row, lambda value: percent(value, digits=1), "macs_ratio"),
            _pair(row, scaled, "search_cost_macs", "training_cost_macs"),
            _pair(row, lambda value: plain(value, "#.3g"), "epoch_seconds"),
        ]
        for row in rows
    ]
    return markdown(header, cells) + "".join(f"\n- {note}" for note in NOTES) + "\n"


def _pair(row: Row, told: Callable[[float], str], *columns: str) -> str:
    """Return what the sums of some columns are here and there."""
    values = [[row[f"{column}{end}"] for column in columns] for end in ("", "_compared")]
    if any(value is None for part in values for value in part):
        return "-"
    return " / ".join(told(sum(part)) for part in values)

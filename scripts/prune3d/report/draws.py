"""Random points beside the other policies: all draws together, and the best of each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune3d.optimize.registry import DRAWN

Row = dict[str, Any]

POOLED, BEST = "random_point", "random_point_best"
CASE = ("experiment", "seed", "budget")


def best_of_draws(
    runs: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]] = ()
) -> list[Row]:
    """Return random search: of each seed's draws that with the highest selection accuracy.

    It is billed with all of them: what the others cost, search and training, counts as search. The
    scoring of blocks, which they share, is in its own cost already.

    Parameters
    ----------
    runs
        Rows of `prune3d.report.policies.RUN_COLUMNS`.
    left_out
        Rows of `prune3d.report.policies.LEFT_OUT`: draws that could not reach the budget.
    """
    found = []
    missed = _by(left_out, *CASE)
    for key, rows in _by(runs, *CASE).items():
        if len(rows) + len(missed.get(key, [])) < 2:
            continue
        best = max(rows, key=lambda row: float(row["selection_top1"]))
        others = [row for row in rows if row is not best]
        spent = {
            f"search_{unit}": best[f"search_{unit}"]
            + sum(row[f"training_{unit}"] for row in others)
            for unit in ("cost_macs", "seconds")
        }
        found.append({**best, **spent, "policy": BEST, "seed": key[1]})
    return found


def missed_by_all_draws(
    runs: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]
) -> list[Row]:
    """Return where random search could not reach the budget, since none of its draws could.

    Parameters
    ----------
    runs, left_out
        See `best_of_draws`.

    Returns
    -------
    list of dict
        Experiment, seed, budget and policy.
    """
    reached = _by(runs, *CASE)
    missed = {key: rows for key, rows in _by(left_out, *CASE).items() if key not in reached}
    return [
        {**dict(zip(CASE, key, strict=True)), "policy": BEST}
        for key, rows in missed.items()
        if len(rows) > 1
    ]


def pooled_draws(runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of all draws under one name, where there are two or more of a budget."""
    groups = _by(runs, "experiment", "budget").values()
    several = [rows for rows in groups if len({row["policy"] for row in rows}) > 1]
    return [{**row, "policy": POOLED} for rows in several for row in rows]


def _by(runs: Sequence[Mapping[str, Any]], *columns: str) -> dict[tuple[Any, ...], list[Any]]:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in runs:
        if row["policy"] in DRAWN:
            groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return groups

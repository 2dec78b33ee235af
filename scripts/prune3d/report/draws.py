"""Random points beside the other policies: all draws together, and the best of each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune3d.optimize.registry import DRAWN

Row = dict[str, Any]

POOLED, BEST = "random_point", "random_point_best"


def best_of_draws(runs: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return random search: of each seed's draws that with the highest selection accuracy.

    It is billed with all of them: what the others cost, search and training, counts as search. The
    scoring of blocks, which they share, is in its own cost already.

    Parameters
    ----------
    runs
        Rows of `prune3d.report.policies.RUN_COLUMNS`.
    """
    found = []
    for key, rows in _by(runs, "experiment", "seed", "budget").items():
        if len(rows) < 2:
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

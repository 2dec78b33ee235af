"""How often a policy is nearly the best: performance profiles (Dolan and Moré 2002)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prune3d.optimize.registry import DENSE_LONGER, POLICIES
from prune3d.report.draws import missed_by_all_draws

UNPRUNED = ("dense", DENSE_LONGER)
CONTROLS = frozenset(name for name, policy in POLICIES.items() if policy.is_control)


def gaps_to_the_best(
    runs: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]] = ()
) -> dict[str, list[float | None]]:
    """Return by how much each policy's test accuracy is behind the best one's, in every case.

    Controls are no rivals: none is the best, and one that is ahead of the best is not behind.

    Parameters
    ----------
    runs
        Rows of `prune3d.report.policies.RUNS`; a case is an experiment, a budget and a seed.
    left_out
        Rows of `prune3d.report.policies.LEFT_OUT`: policies that could not reach a budget.

    Returns
    -------
    dict
        For each policy a gap for each case in which it was run, in [0, 1]; None where it could not
        reach the budget.
    """
    cases: dict[tuple[str, str, int], dict[str, float | None]] = {}
    for row in (*runs, *left_out, *missed_by_all_draws(runs, left_out)):
        if row["policy"] not in UNPRUNED:
            case = (row["experiment"], row["budget"], row["seed"])
            cases.setdefault(case, {})[row["policy"]] = row.get("test_top1")
    gaps: dict[str, list[float | None]] = {}
    for found in cases.values():
        rivals = [found[policy] for policy in found if policy not in CONTROLS]
        best = max((top1 for top1 in rivals if top1 is not None), default=0.0)
        for policy, top1 in found.items():
            gaps.setdefault(policy, []).append(None if top1 is None else max(0.0, best - top1))
    return gaps

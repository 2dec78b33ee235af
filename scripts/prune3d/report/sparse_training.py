"""Whether sparse training left anything near 0 for the policies that go by it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prune3d.optimize.registry import POLICIES
from prune3d.report.warnings import Row
from prune3d.sampling.metrics_file import read_metrics
from prune3d.workflow.paths import final_of, run_of

# What penalties make small.
PENALIZED = {"batchnorm_l1": "batch-norm scales", "group_norm": "norms of channels"}


def find_unsparse(finals: Iterable[str | Path], dense: Iterable[str | Path]) -> list[Row]:
    """Return a row for each policy that needs a penalty, where a dense network has nothing near 0.

    Parameters
    ----------
    finals, dense
        Paths of the ``metrics.json`` of the final and of the dense networks. Of the latter those
        count that tell what is near 0, see `prune3d.pruning.sparsity.near_zero`.

    Returns
    -------
    list
        Rows of `prune3d.report.warnings.WARNINGS`.
    """
    found = ((final.run.experiment, final.policy) for final in map(final_of, finals))
    asked = {(name, policy): POLICIES[policy].penalty for name, policy in found}
    parts: dict[str, list[dict[str, float] | None]] = {}
    for path in dense:
        parts.setdefault(run_of(path).experiment, []).append(read_metrics(path).get("near_zero"))
    rows = []
    for (name, policy), penalty in asked.items():
        known = [own[penalty] for own in parts[name] if penalty and own and penalty in own]
        without = sum(part == 0 for part in known)
        if penalty and without:
            rows.append(_row(name, policy, penalty, f"{without} of {len(known)}"))
    return rows


def _row(experiment: str, policy: str, penalty: str, where: str) -> dict[str, Any]:
    return {
        "experiment": experiment,
        "warning": (
            f"Experiment {experiment}: none of the {PENALIZED[penalty]} by which the policy "
            f"{policy} prunes is near 0 (at most 1 % of the largest) in {where} dense networks, so "
            "that sparse training has made nothing sparse; raise model.sparsity.strength, or take "
            f"weights that were trained with the penalty {penalty}."
        ),
    }

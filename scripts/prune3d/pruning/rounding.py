"""Which multiples of channels make a network fast: measured on the device and runtime in use.

Libraries compute channels in blocks of 4, 8, 16, ...; a number of channels between two multiples
costs as much as the next one, or runs by a slower kernel, so that MACs are saved and time is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from prune3d.errors import PruningError, UserError
from prune3d.pruning.timing import LatencyOptions, Network, latencies_in_turns

if TYPE_CHECKING:
    from torch import nn

MULTIPLES = (1, 2, 4, 8, 16, 32)
BUDGETS = (0.5, 0.25)  # of the dense network's MACs
WITHIN = 1.05  # of the best: what counts as equally fast


def measure_multiples(
    dense: nn.Module,
    options: LatencyOptions,
    say: Callable[[str], None],
    multiples: Sequence[int] = MULTIPLES,
) -> list[dict[str, Any]]:
    """Time a network pruned along width to budgets of MACs, its channels in several multiples.

    Parameters
    ----------
    dense
        The dense network, on the device to measure; its weights make no difference.
    options
        How to measure; see `prune3d.pruning.timing.latencies_in_turns`.
    say
        Told about the progress.
    multiples
        Those to compare.

    Returns
    -------
    list of dict
        ``round_to``, ``budget``, and ratios to the dense network: ``macs_ratio`` and, of
        the fastest passes, ``latency_ratio``. A multiple too coarse for a budget is left out.
    """
    from prune3d.costs.count import cost
    from prune3d.pruning import PruningOptions, prune

    dense_macs = cost(dense).macs
    rows: list[dict[str, Any]] = []
    networks = [Network(lambda: dense, 0)]
    for round_to in multiples:
        made = PruningOptions(channel_criterion="l1", round_to=round_to)
        for budget in BUDGETS:
            # Once more when it is timed: all of them at once may be more than fits into memory.
            make = partial(prune, dense, macs=budget, options=made)
            try:
                found = cost(make())
            except PruningError:
                continue
            networks.append(Network(make, 4 * found.params / 1e6))
            ratio = found.macs / dense_macs
            rows.append({"round_to": round_to, "budget": budget, "macs_ratio": ratio})
        say(f"pruned to multiples of {round_to}")
    # Whatever else runs on the machine only makes passes slower.
    first, *others = latencies_in_turns(networks, options, np.min)
    return [{**row, "latency_ratio": ms / first} for row, ms in zip(rows, others, strict=True)]


def slowness(rows: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return the latency ratio by MACs ratio of each multiple that reaches every budget.

    It is the geometric mean over the budgets; 1 where time is saved as MACs are.
    """
    ratios: dict[int, dict[float, float]] = {}
    for row in rows:
        of_one = ratios.setdefault(row["round_to"], {})
        of_one[row["budget"]] = row["latency_ratio"] / row["macs_ratio"]
    budgets = {row["budget"] for row in rows}
    return {
        round_to: math.prod(found.values()) ** (1 / len(found))
        for round_to, found in ratios.items()
        if set(found) == budgets
    }


def choose_multiple(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the smallest multiple that is about as fast for its MACs as the fastest.

    Raises
    ------
    UserError
        If nothing was measured.
    """
    found = slowness(rows)
    if not found:
        raise UserError(
            "pruning.round_to is auto, but the network has no channels with which a quarter of "
            "its MACs can be reached; give a number."
        )
    best = min(found.values())
    return min(round_to for round_to, slow in found.items() if slow <= WITHIN * best)

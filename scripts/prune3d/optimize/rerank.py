"""Networks that are tried before one is chosen: a few that the samples cannot tell apart. No torch.

A predictor of few samples cannot choose among networks that it puts within its own error. So some
of them, far apart, and the best network of each single dimension are fine-tuned for a part of the
final epochs, the better ones longer: successive halving (Jamieson and Talwalkar, "Non-stochastic
best arm identification and hyperparameter optimization", AISTATS 2016) with two rounds. The best
predicted is in both, since in few steps networks of many blocks or small images have only begun to
recover.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.optimize.budget import Budget
from prune3d.optimize.choice import BudgetError
from prune3d.optimize.one_axis import largest_within
from prune3d.optimize.policies import Candidates, describe, extrapolated
from prune3d.optimize.rounds import ROUNDS
from prune3d.optimize.search import describe as describe_index
from prune3d.sampling.tree import AXES

ROW = (*AXES, "macs", "params", "predicted_accuracy")
NETWORK = (*ROW, "index", "macs_ratio", "latency_ms", "width_asked")


def spread(points: NDArray[np.float64], first: int, count: int) -> list[int]:
    """Return indices of points that lie far apart in the logarithms, a given one first.

    Each is the farthest from those before it (Gonzalez, "Clustering to minimize the maximum
    intercluster distance", 1985).

    Parameters
    ----------
    points : ndarray of shape (n, 3)
        Ratios in (0, 1].
    first : int
    count : int
        As many are returned, or all that differ.
    """
    logs = np.log(points)
    found = [first]
    gaps = np.linalg.norm(logs - logs[first], axis=1)
    while len(found) < count and gaps.max() > 0:
        found.append(int(np.argmax(gaps)))
        gaps = np.minimum(gaps, np.linalg.norm(logs - logs[found[-1]], axis=1))
    return found


def propose(
    target: Mapping[str, Any],
    members: Sequence[Mapping[str, Any]],
    candidates: Candidates,
    budget: Budget,
    predictor: Any,
    count: int,
) -> list[dict[str, Any]]:
    """Return the networks that are tried.

    Parameters
    ----------
    target
        The optimum of the predictor, see `prune3d.optimize.policies.optimal_target`.
    members
        The networks tied with it, each with its ``index`` in the lattice.
    candidates, budget
        As for the target.
    predictor
        With ``predict``.
    count
        Networks to spread over the tied ones, the target among them; 0 proposes none.

    Returns
    -------
    list of dict
        `NETWORK` of as many networks as differ: the target, those spread, and the largest of each
        single dimension within the budget.
    """
    if count == 0 or "unreachable" in target:
        return []
    lattice = candidates.lattice
    tied = list(dict.fromkeys([tuple(target["index"]), *(tuple(m["index"]) for m in members)]))
    flat = np.array([np.ravel_multi_index(index, lattice.shape) for index in tied])
    wanted = [tied[i] for i in spread(lattice.points(flat), 0, count)]
    for axis in AXES:
        with suppress(BudgetError):
            wanted.append(largest_within(lattice, budget, axis).index)
    proposed = [{key: target[key] for key in NETWORK}]
    for index in list(dict.fromkeys(wanted))[1:]:
        at = int(np.ravel_multi_index(index, lattice.shape))
        predicted = float(predictor.predict(lattice.points(np.array([at])))[0])
        network = describe(describe_index(lattice, at, predicted, len(tied)), candidates)
        proposed.append({key: network[key] for key in NETWORK})
    return proposed


def ranking(trials: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return indices of the metrics of trials, the best on the selection images first.

    Of equal accuracies the smaller loss is better, then the earlier trial. Places that no network
    has taken (``unreachable``) are left out.
    """
    taken = [i for i, metrics in enumerate(trials) if not metrics.get("unreachable")]

    def merit(i: int) -> tuple[float, float]:
        judged = trials[i]["selection"]
        return -judged["top1"], judged["loss"]

    return sorted(taken, key=merit)


def contenders(first: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return indices of the proposed networks in the order in which they enter the second round.

    The target of the predictor, proposed first, then the others by their `ranking`.
    """
    order = ranking(first)
    return sorted(order, key=lambda i: i != 0)


def choose(
    target: Mapping[str, Any],
    proposed: Sequence[Mapping[str, Any]],
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Choose the network that did best in the last round.

    Parameters
    ----------
    target
        The optimum of the predictor.
    proposed
        See `propose`.
    first, second
        Metrics of both rounds: of the proposed networks in their order, and of `contenders`.

    Returns
    -------
    dict
        The target with the chosen network in the place of the predicted one, which goes under
        ``predicted``; without trials the target as it is.
    list of dict
        A row a trial, see `prune3d.optimize.target_file.TrialRow`.
    """
    order = contenders(first)
    if not order:
        return dict(target), []
    rows = [_row(ROUNDS[0], i + 1, i, proposed[i], first[i]) for i in sorted(order)]
    last, best = rows, ranking(first)[0]
    if again := ranking(second):
        last = [
            _row(ROUNDS[1], k + 1, order[k], proposed[order[k]], second[k]) for k in sorted(again)
        ]
        rows, best = [*rows, *last], order[again[0]]
    chosen = next(row for row in last if row["candidate"] == best + 1)
    chosen["chosen"] = 1
    return {
        **target,
        **proposed[best],
        "extrapolated": extrapolated(proposed[best], target["region"]),
        "predicted": {key: target[key] for key in NETWORK},
        "tried_accuracy": chosen["selection_top1"],
    }, rows


def _row(
    name: str, place: int, i: int, network: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "round": name,
        "place": place,
        "candidate": i + 1,
        **{key: network[key] for key in ROW},
        "selection_top1": metrics["selection"]["top1"],
        "selection_loss": metrics["selection"]["loss"],
        "cost_macs": metrics["cost_macs"],
        "chosen": 0,
    }


def taken_by(
    place: int, proposed: Sequence[Mapping[str, Any]], first: Sequence[Mapping[str, Any]] | None
) -> Mapping[str, Any] | None:
    """Return the network that takes a place of a round, None where there are fewer networks.

    Parameters
    ----------
    place
        From 1.
    proposed
        See `propose`.
    first
        Metrics of the first round where the place is of the second, see `contenders`; else None,
        for places by number.
    """
    order = contenders(first) if first is not None else range(len(proposed))
    return proposed[order[place - 1]] if place <= len(order) else None

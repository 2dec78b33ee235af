"""The network of a lattice with the largest predicted accuracy within a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prune3d.costs.lattice import Lattice
from prune3d.optimize.budget import HAIR, UNITS, Budget, amounts, dense
from prune3d.optimize.choice import BudgetError, Choice, NearTie, Ties
from prune3d.sampling.tree import AXES

Mask = NDArray[np.bool_]
Flat = NDArray[np.intp]


CHUNK = 65_536  # networks per call of the predictor; bounds the memory
EQUAL = 1e-12  # predictions closer than this are one value
NEAR = 1e-3  # accuracy below the best at which a network is still reported
MOST_NEAR_TIES = 10
TIE_LEVEL = 0.05  # share of refits in which a tied network is at least as good as the best
MOST_EXAMINED = 50_000  # candidates compared over all refits, the best first
PREFERENCES = ("none", "params", "latency")


class Predictor(Protocol):
    """Anything that predicts accuracy from depth, width and resolution ratios."""

    def predict(self, X: Any) -> Any:
        """Map an array of shape (n, 3) to accuracies of shape (n,)."""


class Refits(Protocol):
    """Several predictors, see `prune3d.predictor.Ensemble`."""

    def predict(self, X: Any) -> Any:
        """Map an array of shape (n, 3) to accuracies of shape (B, n)."""

    def chunks(self, X: Any) -> Any:
        """Yield slices of X and their predictions of shape (B, m)."""


def maximize(
    predictor: Predictor,
    lattice: Lattice,
    budget: float | Budget | Mapping[str, float],
    *,
    region: ArrayLike | None = None,
    floor: float = 0.97,
    allowed: ArrayLike | None = None,
    refits: Refits | None = None,
    prefer: str = "none",
) -> Choice:
    """Choose the network with the largest prediction among those within the budget (ours).

    It answers the paper's problem, argmax F(d, w, r) under a cost, on networks that exist and with
    their true cost. A delivered network should use its budget where the lattice allows: if a
    network uses at least `floor` of a limit, those that use less of every limit are left out.
    Predictions equal within 1e-12 go to fewer MACs, then to the first index.

    Parameters
    ----------
    predictor : object with predict(X)
        X of shape (n, 3).
    lattice : Lattice
    budget : float, Budget or mapping
        A fraction of the dense MACs in (0, 1], or see `Budget`.
    region : array-like of shape (3, 2), default=None
        Lowest and highest ratio of depth, width and resolution that were sampled; networks outside
        (by more than 1e-9) are left out.
    floor : float, default=0.97
        In [0, 1]; 0 keeps every network within the budget.
    allowed : array-like of bool of shape (D, W, S), default=None
        Networks that may be chosen at all.
    refits : Ensemble, default=None
        The predictor refitted to redrawn labels; tells which networks are tied with the best.
    prefer : {"none", "params", "latency"}, default="none"
        Which of the tied networks to choose: that of the largest prediction, of the fewest
        parameters or of the least latency; of equal ones the better predicted.

    Returns
    -------
    Choice

    Raises
    ------
    BudgetError
        If no network meets the budget.
    ValueError
        If an argument is not as above or a prediction is not finite.
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"floor is {floor} but must be in [0, 1]")
    if prefer not in PREFERENCES:
        raise ValueError(f"prefer is {prefer!r} but must be one of {', '.join(PREFERENCES)}")
    if prefer != "none" and refits is None:
        raise ValueError(f"prefer is {prefer!r}, which needs refits to tell what is tied")
    budget = Budget.of(budget)
    used = usage(lattice, budget)
    eligible = _eligible(lattice, allowed)
    sampled = eligible & inside(lattice, region)
    within = sampled & (used <= 1 + HAIR)
    if not within.any():
        raise BudgetError(explain(lattice, budget, used, eligible, sampled))
    full = within & (used >= floor)
    candidates = np.flatnonzero(full if full.any() else within)
    predicted = _predict(predictor, lattice, candidates)
    best = _best(lattice, candidates, predicted)
    near = _near(lattice, candidates, predicted, best)
    chosen, ties = best, None
    if refits is not None:
        ties, members = _ties(lattice, candidates, predicted, best, refits)
        if prefer != "none":
            chosen = _preferred(lattice, candidates, predicted, members, prefer)
        if chosen != best:
            ties = replace(ties, accuracy_interval=_interval(lattice, candidates[chosen], refits))
    return describe(
        lattice, int(candidates[chosen]), float(predicted[chosen]), len(candidates), near, ties
    )


def usage(lattice: Lattice, budget: Budget) -> NDArray[np.float64]:
    """Return the largest part of a limit that every network uses, shape (D, W, S)."""
    parts = [amounts(lattice, name) / limit for name, limit in budget.limits(lattice).items()]
    return np.asarray(np.max(parts, axis=0) if len(parts) > 1 else parts[0])


def describe(
    lattice: Lattice,
    flat: int,
    predicted: float | None,
    candidates: int,
    near_ties: list[NearTie] | None = None,
    ties: Ties | None = None,
) -> Choice:
    """Return the network at a flat index as a choice among candidates."""
    index = lattice.index(flat)
    depth, width, resolution = lattice.points(np.array([flat]))[0]
    latency = None if lattice.latency_ms is None else float(lattice.latency_ms[index])
    return Choice(
        index=index,
        depth=float(depth),
        width=float(width),
        resolution=float(resolution),
        macs=int(lattice.macs[index]),
        params=int(lattice.params[index[:2]]),
        macs_ratio=float(lattice.macs[index] / lattice.dense_macs),
        predicted_accuracy=predicted,
        n_candidates=candidates,
        near_ties=near_ties or [],
        latency_ms=latency,
        ties=ties,
    )


def _eligible(lattice: Lattice, allowed: ArrayLike | None) -> Mask:
    if allowed is None:
        return np.ones(lattice.shape, dtype=bool)
    mask = np.asarray(allowed)
    if mask.dtype != bool or mask.shape != lattice.shape:
        raise ValueError(
            f"allowed must be booleans of shape {lattice.shape}, got {mask.dtype} of shape "
            f"{mask.shape}"
        )
    return mask


def inside(lattice: Lattice, region: ArrayLike | None) -> Mask:
    """Return which networks lie in a region, see `maximize`, shape (D, W, S)."""
    if region is None:
        return np.ones(lattice.shape, dtype=bool)
    bounds = np.asarray(region, dtype=float)
    if bounds.shape != (3, 2) or not np.all(bounds[:, 0] <= bounds[:, 1]):
        raise ValueError(f"region must be three ranges (low, high), got {bounds.tolist()}")
    axes = (lattice.depth[:, None, None], lattice.width[:, :, None], lattice.resolution)
    mask = np.ones(lattice.shape, dtype=bool)
    for values, (low, high) in zip(axes, bounds, strict=True):
        mask &= (values >= low - 1e-9) & (values <= high + 1e-9)
    return mask


def explain(
    lattice: Lattice, budget: Budget, used: NDArray[np.float64], eligible: Mask, sampled: Mask
) -> str:
    """Say why none of the networks that may be chosen and are sampled meets a budget."""
    failed = f"no network meets the budget {budget.describe()}"
    if not eligible.any():
        return f"{failed}: none is allowed"
    everywhere = _nearest(used, eligible)
    if used.ravel()[everywhere] <= 1 + HAIR:
        remedy = "sampling a wider region would help"
    else:
        remedy = "sampling a wider region would not help, raise the budget"
    if not sampled.any():
        return (
            f"{failed}: none lies in the sampled region, the nearest outside is "
            f"{_words(lattice, everywhere, budget)}; {remedy}"
        )
    return f"{failed}: the nearest is {_words(lattice, _nearest(used, sampled), budget)}; {remedy}"


def _nearest(used: NDArray[np.float64], mask: Mask) -> int:
    """Return the network that exceeds the budget least."""
    flat = np.flatnonzero(mask)
    return int(flat[np.argmin(used.ravel()[flat])])


def _words(lattice: Lattice, flat: int, budget: Budget) -> str:
    depth, width, resolution = lattice.points(np.array([flat]))[0]
    costs = []
    for name in budget.limits(lattice):
        amount = float(amounts(lattice, name)[lattice.index(flat)])
        as_part = (getattr(budget, name) or 2) <= 1 if name != "latency_ms" else False
        value = f"{amount / dense(lattice, name):.4g} of the" if as_part else f"{amount:.6g}"
        costs.append(f"{value} {UNITS[name]}")
    ratios = f"depth {depth:.3g}, width {width:.3g}, resolution {resolution:.3g}"
    return f"{ratios} with {' and '.join(costs)}"


def _predict(
    predictor: Predictor, lattice: Lattice, candidates: NDArray[np.intp]
) -> NDArray[np.float64]:
    predicted = np.empty(len(candidates))
    for start in range(0, len(candidates), CHUNK):
        part = slice(start, start + CHUNK)
        predicted[part] = predictor.predict(lattice.points(candidates[part]))
    if not np.all(np.isfinite(predicted)):
        wrong = lattice.points(candidates[~np.isfinite(predicted)][:1])[0]
        raise ValueError(f"the prediction at depth, width, resolution {wrong} is not finite")
    return predicted


def _best(lattice: Lattice, candidates: Flat, predicted: NDArray[np.float64]) -> int:
    macs = lattice.macs.ravel()[candidates]
    equal = np.flatnonzero(predicted >= predicted.max() - EQUAL)
    return int(equal[np.argmin(macs[equal])])


def _near(
    lattice: Lattice, candidates: Flat, predicted: NDArray[np.float64], best: int
) -> list[NearTie]:
    macs = lattice.macs.ravel()[candidates]
    near = np.flatnonzero(predicted >= predicted[best] - NEAR)
    near = near[near != best]
    near = near[np.lexsort((near, macs[near], -predicted[near]))][:MOST_NEAR_TIES]
    points = lattice.points(candidates[near]).tolist()
    ratios = (macs[near] / lattice.dense_macs).tolist()
    values = predicted[near].tolist()
    rows = zip(points, ratios, values, strict=True)
    return [NearTie(d, w, r, ratio, value) for (d, w, r), ratio, value in rows]


def _ties(
    lattice: Lattice,
    candidates: Flat,
    predicted: NDArray[np.float64],
    best: int,
    refits: Refits,
) -> tuple[Ties, NDArray[np.intp]]:
    """Compare the candidates with the best one over all refits."""
    order = np.argsort(-predicted, kind="stable")[:MOST_EXAMINED]
    # The best is the first of its equals.
    order = np.concatenate([[best], order[order != best]])[:MOST_EXAMINED]
    X = lattice.points(candidates[order])
    reference = np.asarray(refits.predict(X[:1]))
    count = len(reference)
    share = np.empty(len(order))
    top, own = np.full(count, -np.inf), np.zeros(count, dtype=int)
    for part, values in refits.chunks(X):
        share[part] = np.mean(values >= reference - EQUAL, axis=0)
        first = np.argmax(values, axis=1)
        value = values[np.arange(count), first]
        better = value > top
        top, own = np.where(better, value, top), np.where(better, first + part.start, own)
    tied = share > TIE_LEVEL
    members = order[tied]
    low, high = X[tied].min(axis=0), X[tied].max(axis=0)
    ranges = [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
    optima = np.quantile(X[own], [0.05, 0.95], axis=0).T.tolist()
    ties = Ties(
        level=TIE_LEVEL,
        refits=count,
        networks=len(members),
        examined=len(order),
        depth=ranges[0],
        width=ranges[1],
        resolution=ranges[2],
        accuracy_interval=_interval(lattice, candidates[best], refits),
        optimum_interval=dict(zip(AXES, optima, strict=True)),
        members=_members(lattice, candidates[members], predicted[members], share[tied]),
    )
    return ties, members


def _interval(lattice: Lattice, flat: np.intp, refits: Refits) -> list[float]:
    values = refits.predict(lattice.points(np.array([flat])))
    return [float(end) for end in np.quantile(values, [0.05, 0.95])]


def _members(
    lattice: Lattice, flat: Flat, predicted: NDArray[np.float64], share: NDArray[np.float64]
) -> list[dict[str, Any]]:
    d, w, s = np.unravel_index(flat, lattice.shape)
    columns: dict[str, Any] = dict(zip(AXES, lattice.points(flat).T, strict=True))
    columns["macs"] = lattice.macs[d, w, s]
    columns["params"] = lattice.params[d, w]
    if lattice.latency_ms is not None:
        columns["latency_ms"] = lattice.latency_ms[d, w, s]
    columns["predicted_accuracy"], columns["share_of_refits"] = predicted, share
    columns["index"] = np.column_stack([d, w, s])
    names = list(columns)
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _preferred(
    lattice: Lattice,
    candidates: Flat,
    predicted: NDArray[np.float64],
    members: NDArray[np.intp],
    prefer: str,
) -> int:
    name = "params" if prefer == "params" else "latency_ms"
    flat = candidates[members]
    amount = amounts(lattice, name)[np.unravel_index(flat, lattice.shape)]
    return int(members[np.lexsort((flat, -predicted[members], amount))[0]])

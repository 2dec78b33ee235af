"""The network of a lattice with the largest predicted accuracy within a budget."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prune3d.optimize.budget import allowed_macs
from prune3d.optimize.choice import BudgetError, Choice, NearTie
from prune3d.optimize.lattice import Lattice

Mask = NDArray[np.bool_]

CHUNK = 65_536  # networks per call of the predictor; bounds the memory
EQUAL = 1e-12  # predictions closer than this are one value
NEAR = 1e-3  # accuracy below the best at which a network is still reported
MOST_NEAR_TIES = 10


class Predictor(Protocol):
    """Anything that predicts accuracy from depth, width and resolution ratios."""

    def predict(self, X: Any) -> Any:
        """Map an array of shape (n, 3) to accuracies of shape (n,)."""


def maximize(
    predictor: Predictor,
    lattice: Lattice,
    budget: float,
    *,
    region: ArrayLike | None = None,
    floor: float = 0.97,
    allowed: ArrayLike | None = None,
) -> Choice:
    """Choose the network with the largest prediction among those within the budget (ours).

    It answers the paper's problem, argmax F(d, w, r) under a cost, on networks that exist and with
    their true cost. A delivered network should use its budget where the lattice allows: if a
    network costs at least `floor` times the budget, cheaper ones are left out. Predictions equal
    within 1e-12 go to fewer MACs, then to the first index.

    Parameters
    ----------
    predictor : object with predict(X)
        X of shape (n, 3).
    lattice : Lattice
    budget : float
        Fraction of the dense MACs, in (0, 1].
    region : array-like of shape (3, 2), default=None
        Lowest and highest ratio of depth, width and resolution that were sampled; networks outside
        (by more than 1e-9) are left out.
    floor : float, default=0.97
        In [0, 1]; 0 keeps every network within the budget.
    allowed : array-like of bool of shape (D, W, S), default=None
        Networks that may be chosen at all, for example those within a latency.

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
    limit = allowed_macs(lattice, budget)
    if not 0 <= floor <= 1:
        raise ValueError(f"floor is {floor} but must be in [0, 1]")
    eligible = _eligible(lattice, allowed)
    inside = eligible & _inside(lattice, region)
    within = inside & (lattice.macs <= limit)
    if not within.any():
        raise BudgetError(_explain(lattice, budget, limit, eligible, inside))
    full = within & (lattice.macs >= floor * budget * lattice.dense_macs)
    candidates = np.flatnonzero(full if full.any() else within)
    predicted = _predict(predictor, lattice, candidates)
    return _choose(lattice, candidates, predicted)


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


def _inside(lattice: Lattice, region: ArrayLike | None) -> Mask:
    if region is None:
        return np.ones(lattice.shape, dtype=bool)
    bounds = np.asarray(region, dtype=float)
    if bounds.shape != (3, 2) or not np.all(bounds[:, 0] <= bounds[:, 1]):
        raise ValueError(f"region must be three ranges (low, high), got {bounds.tolist()}")
    axes = (lattice.depth[:, None, None], lattice.width[:, :, None], lattice.resolution)
    inside = np.ones(lattice.shape, dtype=bool)
    for values, (low, high) in zip(axes, bounds, strict=True):
        inside &= (values >= low - 1e-9) & (values <= high + 1e-9)
    return inside


def _explain(lattice: Lattice, budget: float, limit: float, eligible: Mask, inside: Mask) -> str:
    if not eligible.any():
        return f"no network meets the budget {budget:g} of the dense MACs: none is allowed"
    everywhere = _cheapest(lattice, eligible)
    if lattice.macs.ravel()[everywhere] <= limit:
        remedy = "sampling a wider region would help"
    else:
        remedy = "sampling a wider region would not help, raise the budget"
    if not inside.any():
        return (
            f"no network meets the budget {budget:g} of the dense MACs: none lies in the sampled "
            f"region, the cheapest outside is {_describe(lattice, everywhere)}; {remedy}"
        )
    nearest = _cheapest(lattice, inside)
    return (
        f"no network meets the budget {budget:g} of the dense MACs: the nearest is "
        f"{_describe(lattice, nearest)}; {remedy}"
    )


def _cheapest(lattice: Lattice, mask: Mask) -> int:
    flat = np.flatnonzero(mask)
    return int(flat[np.argmin(lattice.macs.ravel()[flat])])


def _describe(lattice: Lattice, flat: int) -> str:
    depth, width, resolution = lattice.points(np.array([flat]))[0]
    ratio = lattice.macs.ravel()[flat] / lattice.dense_macs
    return f"depth {depth:.3g}, width {width:.3g}, resolution {resolution:.3g} with {ratio:.4g}"


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


def _choose(
    lattice: Lattice, candidates: NDArray[np.intp], predicted: NDArray[np.float64]
) -> Choice:
    macs = lattice.macs.ravel()[candidates]
    top = predicted.max()
    equal = np.flatnonzero(predicted >= top - EQUAL)
    best = int(equal[np.argmin(macs[equal])])
    near = np.flatnonzero(predicted >= top - NEAR)
    near = near[near != best]
    near = near[np.lexsort((near, macs[near], -predicted[near]))][:MOST_NEAR_TIES]
    flat = int(candidates[best])
    index = lattice.index(flat)
    depth, width, resolution = lattice.points(np.array([flat]))[0]
    return Choice(
        index=index,
        depth=float(depth),
        width=float(width),
        resolution=float(resolution),
        macs=int(macs[best]),
        params=int(lattice.params[index[:2]]),
        macs_ratio=float(macs[best] / lattice.dense_macs),
        predicted_accuracy=float(predicted[best]),
        n_candidates=len(candidates),
        near_ties=[_near_tie(lattice, int(candidates[i]), float(predicted[i])) for i in near],
    )


def _near_tie(lattice: Lattice, flat: int, predicted: float) -> NearTie:
    depth, width, resolution = lattice.points(np.array([flat]))[0]
    ratio = lattice.macs.ravel()[flat] / lattice.dense_macs
    return NearTie(float(depth), float(width), float(resolution), float(ratio), predicted)

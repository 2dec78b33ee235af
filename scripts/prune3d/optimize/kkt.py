"""The continuous optimum under the paper's cost, with its KKT conditions.

Costs are products of powers of the ratios, so that in their logarithms every budget is linear.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize, nnls

from prune3d.sampling.tree import AXES

Array = NDArray[np.float64]

MACS = np.array([1.0, 2.0, 2.0])  # cost d w^2 r^2 [paper]
PARAMS = np.array([1.0, 2.0, 0.0])  # d w^2, which images do not enter
AT_BOUND = 1e-6  # distance in log ratio at which a bound counts as active


@dataclass(frozen=True)
class PowerLaw:
    """A budget on the cost d^a w^b r^c.

    Attributes
    ----------
    name : str
        Such as "macs".
    exponents : tuple of float
        a, b and c, at least 0.
    budget : float
        The most of it, relative to the dense network's, above 0.
    """

    name: str
    exponents: tuple[float, float, float]
    budget: float


class SmoothPredictor(Protocol):
    """Anything that predicts accuracy from ratios and knows its derivative."""

    def predict(self, X: Any) -> Any:
        """Map an array of shape (n, 3) to accuracies of shape (n,)."""

    def gradient(self, X: Any) -> Any:
        """Map an array of shape (n, 3) to derivatives of shape (n, 3)."""


@dataclass(frozen=True)
class KKTSolution:
    """Continuous maximum of F in a box under one budget or several.

    Attributes
    ----------
    feasible : bool
        Whether a point of the box meets the budgets; if not, everything else is None or empty.
    reason : str or None
        Why it is not feasible, in one sentence.
    depth, width, resolution : float or None
    value : float or None
        Predicted accuracy there, a fraction.
    multiplier : float or None
        dF / d log T of the only budget; None if there are several, or no variable is free.
    multipliers : dict of str to float
        For each active budget dF / d log of it, a fraction per unit.
    residuals : dict of str to float
        For each variable not at a bound, x F_x less what the multipliers of the active budgets make
        of it: zero at a KKT point. With d w^2 r^2 alone these are the paper's conditions
        d F_d = w F_w / 2 = r F_r / 2.
    active_bounds : list of str
        Such as "depth_max".
    active_budgets : list of str
        Such as "macs".
    """

    feasible: bool
    reason: str | None
    depth: float | None
    width: float | None
    resolution: float | None
    value: float | None
    multiplier: float | None
    residuals: dict[str, float]
    active_bounds: list[str]
    multipliers: dict[str, float] = field(default_factory=dict)
    active_budgets: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class _Problem:
    """Logarithms of the box, and the budgets a z <= level, or = level where there is one only."""

    low: Array
    high: Array
    exponents: Array
    levels: Array
    names: list[str]

    @property
    def equality(self) -> bool:
        return len(self.levels) == 1

    def excess(self, z: Array) -> Array:
        """Return by how much points of shape (n, 3) exceed the budgets, shape (n, budgets)."""
        return np.asarray(z @ self.exponents.T - self.levels)


def solve_kkt(
    predictor: SmoothPredictor, budget: float | Sequence[PowerLaw], region: ArrayLike
) -> KKTSolution:
    """Maximise F(d, w, r) subject to d w^2 r^2 = budget, or to several budgets, inside a box.

    The problem with one budget is the paper's; the method (SLSQP in the logarithms of the ratios,
    where the constraint is linear, from fixed starts on the constraint) is ours. One budget is used
    up; of several none is exceeded.

    Parameters
    ----------
    predictor : object with predict(X) and gradient(X)
        X of shape (n, 3).
    budget : float or sequence of PowerLaw
        T, in (0, 1].
    region : array-like of shape (3, 2)
        Lowest and highest ratio of depth, width and resolution, positive.

    Returns
    -------
    KKTSolution

    Raises
    ------
    ValueError
        If the budget or the region is not as above.
    """
    problem = _check(budget, region)
    reason = _infeasible(problem)
    if reason is not None:
        return KKTSolution(False, reason, None, None, None, None, None, {}, [])
    starts = _starts(problem)
    values = _predict(predictor, starts)
    # Accuracy varies by hundredths; SLSQP's tolerance is absolute.
    unit = max(float(np.ptp(values)), 1e-9)
    ends = [_climb(predictor, start, problem, unit) for start in starts]
    reached = np.vstack([starts, _to_surface(np.array(ends), problem)])
    return _describe(predictor, reached[np.argmax(_predict(predictor, reached))], problem)


def _check(budget: float | Sequence[PowerLaw], region: ArrayLike) -> _Problem:
    """Return the logarithms of the box and of the budgets."""
    if not isinstance(budget, Sequence):
        if not 0 < budget <= 1:
            raise ValueError(f"the budget is {budget} of the dense cost but must be in (0, 1]")
        budget = [PowerLaw("macs", tuple(MACS), float(budget))]
    if not budget or not all(law.budget > 0 and min(law.exponents) >= 0 for law in budget):
        raise ValueError(f"budgets must be positive and exponents at least 0, got {list(budget)}")
    bounds = np.asarray(region, dtype=float)
    if bounds.shape != (3, 2) or not np.all((bounds[:, 0] > 0) & (bounds[:, 0] <= bounds[:, 1])):
        raise ValueError(f"region must be three ranges 0 < low <= high, got {bounds.tolist()}")
    return _Problem(
        low=np.log(bounds[:, 0]),
        high=np.log(bounds[:, 1]),
        exponents=np.array([law.exponents for law in budget]),
        levels=np.log([law.budget for law in budget]),
        names=[law.name for law in budget],
    )


def _infeasible(problem: _Problem) -> str | None:
    """Say why no point meets the budgets, or nothing if one does."""
    ends = zip(
        problem.names,
        problem.levels,
        problem.exponents @ problem.low,
        problem.exponents @ problem.high,
        strict=True,
    )
    for name, level, cheapest, dearest in ends:
        # One budget is to be used up; of several it is enough to obey all.
        if level < cheapest - 1e-9 or (problem.equality and level > dearest + 1e-9):
            cost = "depth x width^2 x resolution^2" if name == "macs" else f"the cost in {name}"
            return (
                f"no point of the region has the cost {np.exp(level):g}: {cost} runs from "
                f"{np.exp(cheapest):.4g} to {np.exp(dearest):.4g}"
            )
    return None


def _starts(problem: _Problem) -> Array:
    """Move a 4 x 4 x 4 grid of the box on to the constraint."""
    shares = np.array(list(itertools.product(np.linspace(0, 1, 4), repeat=3)))
    moved = _to_surface(problem.low + shares * (problem.high - problem.low), problem)
    return np.unique(moved.round(12), axis=0)


def _to_surface(z: Array, problem: _Problem) -> Array:
    """Move points towards the lowest or highest corner until they meet the budgets.

    Those that obey several budgets already stay where they are.
    """
    z = np.clip(z, problem.low, problem.high)
    excess = problem.excess(z)
    above = np.any(excess > 0, axis=1, keepdims=True)
    target = problem.high if problem.equality else z
    corner = np.where(above, problem.low, target)
    length = (z - corner) @ problem.exponents.T
    share = np.where(np.abs(length) > 0, excess / np.where(length == 0, 1.0, length), 0.0)
    return np.asarray(z + np.clip(share, 0, 1).max(axis=1, keepdims=True) * (corner - z))


def _climb(predictor: SmoothPredictor, start: Array, problem: _Problem, unit: float) -> Array:
    def loss(z: Array) -> float:
        return -float(predictor.predict(np.exp(z)[None])[0]) / unit

    def slope(z: Array) -> Array:
        x = np.exp(z)
        return -np.asarray(predictor.gradient(x[None])[0]) * x / unit

    least = problem.levels if problem.equality else np.full(len(problem.levels), -np.inf)
    result = minimize(
        loss,
        start,
        jac=slope,
        method="SLSQP",
        bounds=Bounds(problem.low, problem.high),
        constraints=LinearConstraint(problem.exponents, least, problem.levels),
        options={"ftol": 1e-13, "maxiter": 200},
    )
    end: Array = result.x
    return end if np.all(np.isfinite(end)) else start


def _predict(predictor: SmoothPredictor, z: Array) -> Array:
    return np.asarray(predictor.predict(np.exp(z)), dtype=float)


def _describe(predictor: SmoothPredictor, z: Array, problem: _Problem) -> KKTSolution:
    x = np.exp(z)
    at_low, at_high = z - problem.low <= AT_BOUND, problem.high - z <= AT_BOUND
    free = ~(at_low | at_high)
    slopes = x * np.asarray(predictor.gradient(x[None])[0])
    active = problem.excess(z[None])[0] >= -AT_BOUND
    rows = problem.exponents[active][:, free]
    multipliers, residuals = np.full(len(rows), np.nan), slopes[free]
    if free.any() and len(rows):
        if problem.equality:
            multipliers = np.linalg.lstsq(rows.T, slopes[free])[0]
        else:
            multipliers = nnls(rows.T, slopes[free])[0]
        residuals = slopes[free] - multipliers @ rows
    bounds = [
        f"{axis}_{end}"
        for m, axis in enumerate(AXES)
        for end, hit in (("min", at_low[m]), ("max", at_high[m]))
        if hit
    ]
    names = [name for name, hit in zip(problem.names, active, strict=True) if hit]
    known = {n: float(m) for n, m in zip(names, multipliers, strict=True) if np.isfinite(m)}
    return KKTSolution(
        feasible=True,
        reason=None,
        depth=float(x[0]),
        width=float(x[1]),
        resolution=float(x[2]),
        value=float(predictor.predict(x[None])[0]),
        multiplier=known.get(problem.names[0]) if problem.equality else None,
        residuals={
            axis: float(value) for axis, value in zip(np.array(AXES)[free], residuals, strict=True)
        },
        active_bounds=bounds,
        multipliers=known,
        active_budgets=names,
    )

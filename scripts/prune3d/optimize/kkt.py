"""The continuous optimum under the paper's cost, with its KKT conditions."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize

Array = NDArray[np.float64]

AXES = ("depth", "width", "resolution")
EXPONENTS = np.array([1.0, 2.0, 2.0])  # cost d w^2 r^2 [paper]
AT_BOUND = 1e-6  # distance in log ratio at which a bound counts as active


class SmoothPredictor(Protocol):
    """Anything that predicts accuracy from ratios and knows its derivative."""

    def predict(self, X: Any) -> Any:
        """Map an array of shape (n, 3) to accuracies of shape (n,)."""

    def gradient(self, X: Any) -> Any:
        """Map an array of shape (n, 3) to derivatives of shape (n, 3)."""


@dataclass(frozen=True)
class KKTSolution:
    """Continuous maximum of F under d w^2 r^2 = T in a box.

    Attributes
    ----------
    feasible : bool
        Whether a point of the box meets the constraint; if not, everything else is None or empty.
    reason : str or None
        Why it is not feasible, in one sentence.
    depth, width, resolution : float or None
    value : float or None
        Predicted accuracy there, a fraction.
    multiplier : float or None
        dF / d log T: the mean of the terms below; None if no variable is free.
    residuals : dict of str to float
        For each variable not at a bound, its term d F_d, w F_w / 2 or r F_r / 2 less the
        multiplier: zero at a KKT point [paper's conditions, terms ours].
    active_bounds : list of str
        Such as "depth_max".
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

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)


def solve_kkt(predictor: SmoothPredictor, budget: float, region: ArrayLike) -> KKTSolution:
    """Maximise F(d, w, r) subject to d w^2 r^2 = budget inside a box.

    The problem is the paper's; the method (SLSQP in the logarithms of the ratios, where the
    constraint is linear, from fixed starts on the constraint) is ours.

    Parameters
    ----------
    predictor : object with predict(X) and gradient(X)
        X of shape (n, 3).
    budget : float
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
    low, high = _check(budget, region)
    level = float(np.log(budget))
    cheapest, dearest = float(EXPONENTS @ low), float(EXPONENTS @ high)
    if not cheapest - 1e-9 <= level <= dearest + 1e-9:
        return _infeasible(budget, float(np.exp(cheapest)), float(np.exp(dearest)))
    starts = _starts(low, high, level)
    values = _predict(predictor, starts)
    # Accuracy varies by hundredths; SLSQP's tolerance is absolute.
    unit = max(float(np.ptp(values)), 1e-9)
    ends = [_climb(predictor, start, low, high, level, unit) for start in starts]
    reached = np.vstack([starts, _to_surface(np.array(ends), low, high, level)])
    return _describe(predictor, reached[np.argmax(_predict(predictor, reached))], low, high)


def _check(budget: float, region: ArrayLike) -> tuple[Array, Array]:
    """Return the logarithms of the box."""
    if not 0 < budget <= 1:
        raise ValueError(f"the budget is {budget} of the dense cost but must be in (0, 1]")
    bounds = np.asarray(region, dtype=float)
    if bounds.shape != (3, 2) or not np.all((bounds[:, 0] > 0) & (bounds[:, 0] <= bounds[:, 1])):
        raise ValueError(f"region must be three ranges 0 < low <= high, got {bounds.tolist()}")
    return np.log(bounds[:, 0]), np.log(bounds[:, 1])


def _infeasible(budget: float, cheapest: float, dearest: float) -> KKTSolution:
    reason = (
        f"no point of the region has the cost {budget:g}: depth x width^2 x resolution^2 runs from "
        f"{cheapest:.4g} to {dearest:.4g}"
    )
    return KKTSolution(False, reason, None, None, None, None, None, {}, [])


def _starts(low: Array, high: Array, level: float) -> Array:
    """Move a 4 x 4 x 4 grid of the box on to the constraint."""
    shares = np.array(list(itertools.product(np.linspace(0, 1, 4), repeat=3)))
    moved = _to_surface(low + shares * (high - low), low, high, level)
    return np.unique(moved.round(12), axis=0)


def _to_surface(z: Array, low: Array, high: Array, level: float) -> Array:
    """Move points towards the lowest or highest corner until they meet the constraint."""
    z = np.clip(z, low, high)
    excess = z @ EXPONENTS - level
    corner = np.where((excess > 0)[:, None], low, high)
    length = (z - corner) @ EXPONENTS
    share = np.where(np.abs(length) > 0, excess / np.where(length == 0, 1.0, length), 0.0)
    return z + np.clip(share, 0, 1)[:, None] * (corner - z)


def _climb(
    predictor: SmoothPredictor, start: Array, low: Array, high: Array, level: float, unit: float
) -> Array:
    def loss(z: Array) -> float:
        return -float(predictor.predict(np.exp(z)[None])[0]) / unit

    def slope(z: Array) -> Array:
        x = np.exp(z)
        return -np.asarray(predictor.gradient(x[None])[0]) * x / unit

    result = minimize(
        loss,
        start,
        jac=slope,
        method="SLSQP",
        bounds=Bounds(low, high),
        constraints=LinearConstraint(EXPONENTS, level, level),
        options={"ftol": 1e-13, "maxiter": 200},
    )
    end: Array = result.x
    return end if np.all(np.isfinite(end)) else start


def _predict(predictor: SmoothPredictor, z: Array) -> Array:
    return np.asarray(predictor.predict(np.exp(z)), dtype=float)


def _describe(predictor: SmoothPredictor, z: Array, low: Array, high: Array) -> KKTSolution:
    x = np.exp(z)
    at_low, at_high = z - low <= AT_BOUND, high - z <= AT_BOUND
    free = ~(at_low | at_high)
    terms = x * np.asarray(predictor.gradient(x[None])[0]) / EXPONENTS
    multiplier = float(terms[free].mean()) if free.any() else None
    bounds = [
        f"{axis}_{end}"
        for m, axis in enumerate(AXES)
        for end, active in (("min", at_low[m]), ("max", at_high[m]))
        if active
    ]
    return KKTSolution(
        feasible=True,
        reason=None,
        depth=float(x[0]),
        width=float(x[1]),
        resolution=float(x[2]),
        value=float(predictor.predict(x[None])[0]),
        multiplier=multiplier,
        residuals={
            axis: float(terms[m] - multiplier)
            for m, axis in enumerate(AXES)
            if free[m] and multiplier is not None
        },
        active_bounds=bounds,
    )

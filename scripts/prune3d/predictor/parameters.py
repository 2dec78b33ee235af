"""Checks of the constructor parameters that both predictors share."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

# Tried when alpha is "loo": from "believe every label" to "almost a constant".
ALPHA_GRID = np.logspace(-5, 1, 13)


def check_integer(name: str, value: Any, least: int) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r} but must be an integer of at least {least}")


def check_alpha(alpha: Any) -> None:
    """Raise ValueError unless `alpha` is a finite number of at least 0 or "loo"."""
    if isinstance(alpha, str) and alpha == "loo":
        return
    if not isinstance(alpha, Real) or not 0 <= float(alpha) < np.inf:
        raise ValueError(f'alpha is {alpha!r} but must be a number of at least 0 or "loo"')


def check_tolerance(tol: Any) -> None:
    """Raise ValueError unless `tol` is a finite number of at least 0."""
    if not isinstance(tol, Real) or not 0 <= float(tol) < np.inf:
        raise ValueError(f"tol is {tol!r} but must be a number of at least 0")

"""The best network within a budget: search of a lattice, rivals on one axis, KKT conditions.

The names below are imported when first used, so that describing a budget needs numpy only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune3d.optimize.budget import Budget
    from prune3d.optimize.choice import BudgetError, Choice, NearTie, Ties
    from prune3d.optimize.kkt import KKTSolution, solve_kkt
    from prune3d.optimize.one_axis import largest_within
    from prune3d.optimize.search import maximize

__all__ = [
    "Budget",
    "BudgetError",
    "Choice",
    "KKTSolution",
    "NearTie",
    "Ties",
    "largest_within",
    "maximize",
    "solve_kkt",
]

_HOME = {
    "Budget": "budget",
    "BudgetError": "choice",
    "Choice": "choice",
    "KKTSolution": "kkt",
    "NearTie": "choice",
    "Ties": "choice",
    "largest_within": "one_axis",
    "maximize": "search",
    "solve_kkt": "kkt",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Model accuracy predictors: polynomials in depth, width and resolution as scikit-learn estimators.

The names below are imported when first used, so that `prune3d.predictor.design` needs numpy only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune3d.predictor.design import check_design, unknowns
    from prune3d.predictor.full import PolynomialRegressor
    from prune3d.predictor.low_rank import LowRankPolynomialRegressor
    from prune3d.predictor.serialize import from_dict, make_predictor, to_dict
    from prune3d.predictor.validation import leave_one_out, prediction_errors

__all__ = [
    "LowRankPolynomialRegressor",
    "PolynomialRegressor",
    "check_design",
    "from_dict",
    "leave_one_out",
    "make_predictor",
    "prediction_errors",
    "to_dict",
    "unknowns",
]

_HOME = {
    "LowRankPolynomialRegressor": "low_rank",
    "PolynomialRegressor": "full",
    "check_design": "design",
    "from_dict": "serialize",
    "leave_one_out": "validation",
    "make_predictor": "serialize",
    "prediction_errors": "validation",
    "to_dict": "serialize",
    "unknowns": "design",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

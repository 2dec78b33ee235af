"""Model accuracy predictors: polynomials in depth, width and resolution as scikit-learn estimators.

The names below are imported when first used, so that `prune3d.predictor.design` needs numpy only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune3d.predictor.additive import AdditivePolynomialRegressor
    from prune3d.predictor.bend import bend_test
    from prune3d.predictor.design import check_design, unknowns
    from prune3d.predictor.fidelity import TwoFidelities, tie_fidelities
    from prune3d.predictor.full import PolynomialRegressor
    from prune3d.predictor.low_rank import LowRankPolynomialRegressor
    from prune3d.predictor.resampling import Ensemble, bootstrap
    from prune3d.predictor.rivals import ParetoProcessRegressor, make_rival
    from prune3d.predictor.scaling_law import ScalingLawRegressor
    from prune3d.predictor.selection import choose_order
    from prune3d.predictor.serialize import from_dict, make_predictor, to_dict
    from prune3d.predictor.validation import error_intervals, leave_one_out, prediction_errors

__all__ = [
    "AdditivePolynomialRegressor",
    "Ensemble",
    "LowRankPolynomialRegressor",
    "ParetoProcessRegressor",
    "PolynomialRegressor",
    "ScalingLawRegressor",
    "TwoFidelities",
    "bend_test",
    "bootstrap",
    "check_design",
    "choose_order",
    "error_intervals",
    "from_dict",
    "leave_one_out",
    "make_predictor",
    "make_rival",
    "prediction_errors",
    "tie_fidelities",
    "to_dict",
    "unknowns",
]

_HOME = {
    "AdditivePolynomialRegressor": "additive",
    "Ensemble": "resampling",
    "LowRankPolynomialRegressor": "low_rank",
    "ParetoProcessRegressor": "rivals",
    "PolynomialRegressor": "full",
    "ScalingLawRegressor": "scaling_law",
    "TwoFidelities": "fidelity",
    "bend_test": "bend",
    "bootstrap": "resampling",
    "check_design": "design",
    "choose_order": "selection",
    "error_intervals": "validation",
    "from_dict": "serialize",
    "leave_one_out": "validation",
    "make_predictor": "serialize",
    "make_rival": "rivals",
    "prediction_errors": "validation",
    "tie_fidelities": "fidelity",
    "to_dict": "serialize",
    "unknowns": "design",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

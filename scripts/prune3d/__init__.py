"""Prune a trained CNN along depth, width and input resolution together.

The names below are imported when first used, so that a job that only fits a polynomial does not
wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from prune3d._version import __version__

if TYPE_CHECKING:
    from prune3d.costs.count import cost
    from prune3d.models import build
    from prune3d.models.checkpoint import load, save
    from prune3d.pruning import prune

__all__ = ["__version__", "build", "cost", "load", "prune", "save"]

_HOME = {
    "build": "prune3d.models",
    "cost": "prune3d.costs.count",
    "load": "prune3d.models.checkpoint",
    "prune": "prune3d.pruning",
    "save": "prune3d.models.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'prune3d' has no attribute '{name}'")

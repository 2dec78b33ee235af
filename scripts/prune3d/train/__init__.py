"""Training and fine-tuning: recipes, loop, resume, evaluation.

The names below are imported when first used, since recipes are read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prune3d.train.compute import Compute
    from prune3d.train.loop import train
    from prune3d.train.recipe import Recipe
    from prune3d.train.resume import ResumeFile
    from prune3d.train.task import Training

__all__ = ["Compute", "Recipe", "ResumeFile", "Training", "train"]

_HOME = {
    "Compute": "prune3d.train.compute",
    "Recipe": "prune3d.train.recipe",
    "ResumeFile": "prune3d.train.resume",
    "Training": "prune3d.train.task",
    "train": "prune3d.train.loop",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'prune3d.train' has no attribute '{name}'")

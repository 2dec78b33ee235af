"""What a training is made of, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from prune3d.data.images import Images
from prune3d.train.compute import Compute
from prune3d.train.recipe import Recipe
from prune3d.train.resume import ResumeFile

DEFAULT = Compute()
Penalty = Callable[[nn.Module], None]


@dataclass(frozen=True)
class Training:
    """The outcome of a training.

    Attributes
    ----------
    history
        One row for each epoch, see `prune3d.train.history.HistoryRow`.
    seconds
        Time spent in epochs.
    earlier_seconds
        The part of it before this attempt continued the training.
    """

    history: list[dict[str, Any]]
    seconds: float
    earlier_seconds: float = 0.0


@dataclass(frozen=True)
class Task:
    """A training, wherever it runs; the attributes are the parameters of `train`."""

    model: nn.Module
    images: Images
    recipe: Recipe
    seed: int
    resume: ResumeFile | None = None
    compute: Compute = DEFAULT
    teacher: nn.Module | None = None
    penalty: Penalty | None = None
    tensorboard: Path | None = None
    judged: Images | None = None

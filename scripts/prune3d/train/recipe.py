"""How a network is trained. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# One-cycle begins at 1/25 of the highest rate and ends at 1/10,000 of where it began.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum.

    Attributes
    ----------
    epochs
        Passes over the training images, at least 1.
    batch_size
        Images a step; the last, smaller batch of an epoch is used too.
    learning_rate
        The highest, above 0.
    warmup_epochs
        Epochs over which the learning rate rises linearly to it; may be a fraction.
    momentum
        In [0, 1).
    weight_decay
        L2 penalty on the weights of convolutions and linear layers, not on biases and norms.
    shift, flip, cutout, crop_area, erasing
        Augmentation, see `prune3d.data.augment.Augmentation`.
    auto_augment
        ``none``, or a policy of changes to single images, see `prune3d.data.auto_augment`.
    mixup, cutmix
        Mixing of images and labels, see `prune3d.data.mix.Mixing`.
    schedule
        How the rate falls, see `learning_rate`.
    decay_at, decay_factor
        With ``step``: parts of the epochs, in (0, 1), at which the rate is multiplied by the
        factor, in (0, 1).
    label_smoothing
        Part of a label's weight that is spread over all classes, in [0, 1).
    ema
        Decay of the exponential moving average of weights and statistics that becomes the trained
        network, in [0, 1); 0 for none.
    distillation
        Part of the loss that follows a teacher's outputs instead of the labels, in [0, 1].
    temperature
        By which both networks' logits are divided in that part, above 0.
    original
        With ``rewind``: the recipe whose last epochs are repeated.
    rewound
        With ``rewind``: how many of them; None for as many as `epochs`.
    name
        Section of the config, for messages.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    shift: int = 0
    flip: bool = False
    cutout: int = 0
    crop_area: float = 1.0
    erasing: float = 0.0
    auto_augment: str = "none"
    mixup: float = 0.0
    cutmix: float = 0.0
    schedule: str = "cosine"
    decay_at: tuple[float, ...] = (0.5, 0.75)
    decay_factor: float = 0.1
    label_smoothing: float = 0.0
    ema: float = 0.0
    distillation: float = 0.0
    temperature: float = 4.0
    original: Recipe | None = None
    rewound: int | None = None
    name: str = ""

    def scaled(self, part: float) -> Recipe:
        """Return the recipe for a part or a multiple of its epochs, its schedule stretched."""
        epochs = max(1, round(part * self.epochs))
        if epochs == self.epochs:
            return self
        warmup = self.warmup_epochs * epochs / self.epochs
        rewound = (self.rewound or self.epochs) if self.schedule == "rewind" else None
        return replace(self, epochs=epochs, warmup_epochs=warmup, rewound=rewound)


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate at a moment.

    All schedules but ``rewind`` first rise linearly for `warmup_epochs`, then fall:

    ``cosine``
        along half a cosine to 0 (arXiv 1608.03983, without restarts);
    ``step``
        by `decay_factor` at each of `decay_at`;
    ``one_cycle``
        linearly to nearly 0; the rise begins at 1/25 instead of 0 (arXiv 1708.07120, with the
        constants of `torch.optim.lr_scheduler.OneCycleLR`);
    ``rewind``
        is the original recipe's rate over its last epochs (arXiv 2003.02389), `rewound` of them.

    Parameters
    ----------
    recipe
        The recipe.
    progress
        Epochs done, in [0, recipe.epochs].
    """
    if recipe.schedule == "rewind":
        if recipe.original is None:
            raise ValueError("the schedule 'rewind' needs an original recipe.")
        rewound = recipe.rewound or recipe.epochs
        since = recipe.original.epochs - rewound
        return learning_rate(recipe.original, since + progress * (rewound / recipe.epochs))
    start = ONE_CYCLE_START if recipe.schedule == "one_cycle" else 0.0
    if progress < recipe.warmup_epochs:
        part = start + (1 - start) * progress / recipe.warmup_epochs
    else:
        part = _SCHEDULES[recipe.schedule](recipe, progress)
    return recipe.learning_rate * part


def _cosine(recipe: Recipe, progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * _fallen(recipe, progress)))


def _step(recipe: Recipe, progress: float) -> float:
    return recipe.decay_factor ** sum(progress >= at * recipe.epochs for at in recipe.decay_at)


def _one_cycle(recipe: Recipe, progress: float) -> float:
    return 1 - (1 - ONE_CYCLE_END) * _fallen(recipe, progress)


def _fallen(recipe: Recipe, progress: float) -> float:
    rest = recipe.epochs - recipe.warmup_epochs
    return min((progress - recipe.warmup_epochs) / rest, 1.0) if rest > 0 else 1.0


_SCHEDULES = {"cosine": _cosine, "step": _step, "one_cycle": _one_cycle}
SCHEDULES = (*_SCHEDULES, "rewind")
# What a rewound recipe takes from the original.
SCHEDULE_KEYS = (
    "epochs",
    "learning_rate",
    "warmup_epochs",
    "schedule",
    "decay_at",
    "decay_factor",
)


def matters(settings: Mapping[str, Any], key: str) -> bool:
    """Tell whether a key of a recipe has any effect beside its other values."""
    if key in ("learning_rate", "warmup_epochs"):
        return settings["schedule"] != "rewind"
    if key in ("decay_at", "decay_factor"):
        return settings["schedule"] == "step"
    if key == "temperature":
        return settings["distillation"] > 0
    return True

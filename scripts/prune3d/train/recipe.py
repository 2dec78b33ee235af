"""How a network is trained. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum and a learning rate that falls to zero.

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
    shift, flip
        Augmentation, see `prune3d.data.augment.Augmentation`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: float
    momentum: float
    weight_decay: float
    shift: int
    flip: bool


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate: linear rise, then half a cosine (arXiv 1608.03983, no restarts).

    Parameters
    ----------
    recipe
        The recipe.
    progress
        Epochs done, in [0, recipe.epochs].
    """
    if progress < recipe.warmup_epochs:
        return recipe.learning_rate * progress / recipe.warmup_epochs
    rest = recipe.epochs - recipe.warmup_epochs
    done = (progress - recipe.warmup_epochs) / rest if rest > 0 else 1.0
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

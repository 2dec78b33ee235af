"""How good a network is while it is trained: accuracy on images of their own after some epochs."""

from __future__ import annotations

import numpy as np
import torch

from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.train.evaluate import evaluate
from prune3d.train.resume import TrainingState
from prune3d.train.task import Task

MOST_EPOCHS = 12


def judged_epochs(epochs: int) -> list[int]:
    """Return the epochs after which a training is judged, from 1 on: some, the last among them."""
    return sorted({round(e) for e in np.linspace(1, epochs, min(epochs, MOST_EPOCHS))})


class Judge:
    """Judge a network after some epochs, on a copy of it: the training is as it is without.

    Parameters
    ----------
    task
        A training with images to judge by; its network is still as it was given.
    device
        Where it is trained.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        assert task.judged is not None
        self._copy = copy_network(task.model, get_spec(task.model).name).to(device)
        self._images = task.judged.with_batches_on(device)
        self._epochs = frozenset(judged_epochs(task.recipe.epochs))

    def after(self, epoch: int, state: TrainingState) -> float | None:
        """Return the accuracy that the training would end with now, None where it is not judged.

        Parameters
        ----------
        epoch
            From 1 on.
        state
            What the epoch ended with.
        """
        if epoch not in self._epochs:
            return None
        average = state.average
        tensors = average.values if average is not None else state.model.state_dict()
        self._copy.load_state_dict(tensors)
        return float(evaluate(self._copy, self._images)["top1"])

"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prune3d.costs import cost
from prune3d.data.augment import Augmentation, augment
from prune3d.data.images import Images, split_batches
from prune3d.errors import TrainingError
from prune3d.lineage import Step, add_step
from prune3d.models.assembly import get_spec
from prune3d.progress import time_left
from prune3d.train.recipe import Recipe, learning_rate
from prune3d.train.resume import ResumeFile, TrainingState, restore_state, save_state
from prune3d.train.sgd import NesterovSGD

HISTORY_COLUMNS = ("epoch", "learning_rate", "train_loss", "train_top1", "images")
SECONDS_BETWEEN_MESSAGES = 10.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """The outcome of a training.

    Attributes
    ----------
    history
        One row for each epoch, with `HISTORY_COLUMNS`.
    seconds
        Time spent in epochs.
    """

    history: list[dict[str, Any]]
    seconds: float


def train(
    model: nn.Module, images: Images, recipe: Recipe, seed: int, resume: ResumeFile | None = None
) -> Training:
    """Train a network in place and leave it as it is after the last epoch.

    Parameters
    ----------
    model
        On the device of the images.
    images
        Training images.
    recipe
        How to train.
    seed
        For the batch order and the augmentation.
    resume
        Where to keep the state of the training, and to look for the state of an interrupted one.
        On a CPU a resumed training ends bit-equal to an undisturbed one.

    Raises
    ------
    TrainingError
        If the loss is no longer finite.
    """
    model.zero_grad(set_to_none=True)
    state = TrainingState(
        model=model,
        optimizer=NesterovSGD(model, recipe.momentum, recipe.weight_decay),
        generator=torch.Generator().manual_seed(seed),
        history=[],
    )
    if resume is not None and restore_state(resume, state):
        log.info("continuing after epoch %d of %d", len(state.history), recipe.epochs)
    first = len(state.history)
    begun = last_message = time.monotonic()
    before = state.seconds
    for epoch in range(first, recipe.epochs):
        row = train_epoch(state, images, recipe, epoch)
        state.history.append(row)
        state.seconds = before + time.monotonic() - begun
        if resume is not None:
            save_state(resume, state)
        if time.monotonic() - last_message > SECONDS_BETWEEN_MESSAGES or epoch == recipe.epochs - 1:
            last_message = time.monotonic()
            log.info(describe(row, recipe, epoch + 1 - first, last_message - begun, len(images)))
    model.eval()
    passes = sum(int(row["images"]) for row in state.history)
    add_step(model, Step("train", passes, cost(model).macs))
    return Training(state.history, state.seconds)


def train_epoch(state: TrainingState, images: Images, recipe: Recipe, epoch: int) -> dict[str, Any]:
    """Pass every training image once and return the epoch's row of the history."""
    state.model.train()
    order = torch.randperm(len(images), generator=state.generator)
    batches = split_batches(order, recipe.batch_size)
    total_loss = torch.zeros((), device=images.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=images.labels.device)
    rate = 0.0
    for i, (inputs, labels) in enumerate(augmented(state, images, recipe, batches)):
        rate = learning_rate(recipe, epoch + (i + 0.5) / len(batches))
        logits = state.model(inputs)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        state.optimizer.step(rate)
        total_loss += loss.detach() * len(labels)
        correct += (logits.detach().argmax(1) == labels).sum()
    mean_loss = float(total_loss) / len(images)
    if not math.isfinite(mean_loss):
        raise TrainingError(
            f"the training loss is {mean_loss} in epoch {epoch + 1}; lower learning_rate "
            f"({recipe.learning_rate}) or raise warmup_epochs ({recipe.warmup_epochs})."
        )
    return {
        "epoch": epoch + 1,
        "learning_rate": rate,
        "train_loss": mean_loss,
        "train_top1": int(correct) / len(images),
        "images": len(images),
    }


def augmented(
    state: TrainingState, images: Images, recipe: Recipe, batches: list[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield augmented, normalized inputs and labels, batch by batch."""
    side = get_spec(state.model).side
    how = Augmentation(recipe.shift, recipe.flip)
    for batch in batches:
        chosen = batch.to(images.labels.device)
        changed = augment(images.take(chosen), how, state.generator)
        yield images.normalize(changed, side), images.labels[chosen]


def describe(row: dict[str, Any], recipe: Recipe, done: int, seconds: float, images: int) -> str:
    """Return a line of progress: epoch, speed, accuracy, time left."""
    left = time_left(seconds, done, done + recipe.epochs - row["epoch"])
    rate = images * done / max(seconds, 1e-9)
    return (
        f"epoch {row['epoch']}/{recipe.epochs}, {rate:.0f} images/s, loss {row['train_loss']:.3f}, "
        f"training accuracy {100 * row['train_top1']:.1f} %, {left}"
    )

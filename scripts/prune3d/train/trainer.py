"""One process's part in a training: epochs, steps, state."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from prune3d.data.augment import Augmentation
from prune3d.data.images import Images
from prune3d.data.loader import Batch, Layout, Shard, TrainingLoader
from prune3d.errors import TrainingError
from prune3d.models.assembly import get_spec
from prune3d.seeds import derive_seed
from prune3d.train.averaging import WeightAverage
from prune3d.train.batchnorm import share_batch_norm
from prune3d.train.channels_last import fold_batch_norms, unfold_batch_norms
from prune3d.train.compute import Compute, keep_memory, make_plan
from prune3d.train.interrupt import stop_if_asked
from prune3d.train.losses import training_loss
from prune3d.train.recipe import Recipe, learning_rate
from prune3d.train.report import Progress, TensorBoard
from prune3d.train.resume import ResumeFile, TrainingState, restore_state, save_state
from prune3d.train.sgd import NesterovSGD

HISTORY_COLUMNS = ("epoch", "learning_rate", "train_loss", "train_top1", "images")
DEFAULT = Compute()
Penalty = Callable[[nn.Module], None]
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


class Trainer:
    """One process's part in a training.

    Parameters
    ----------
    task
        The training; its network is trained in place.
    device
        Where this process computes.
    shard
        Its part of each batch; with several, torch.distributed must be initialized.
    """

    def __init__(self, task: Task, device: torch.device, shard: Shard | None = None) -> None:
        self._task, self._shard = task, shard or Shard()
        model, recipe = task.model, task.recipe
        keep_memory()
        self._plan = make_plan(task.compute, device)
        model.to(device)
        model.to(memory_format=self._plan.memory_format)
        model.zero_grad(set_to_none=True)
        self._teacher = None if task.teacher is None else task.teacher.to(device).eval()
        self._loader = TrainingLoader(task.images, self._layout(), device)
        self._state = TrainingState(
            model=model,
            optimizer=NesterovSGD(model, recipe.momentum, recipe.weight_decay),
            generator=torch.Generator().manual_seed(task.seed),
            history=[],
            average=WeightAverage(model, recipe.ema) if recipe.ema else None,
        )
        self._forward = self._prepare(model)

    def run(self) -> Training:
        """Train from the beginning, or from the state that was kept, to the end."""
        task, state, recipe = self._task, self._state, self._task.recipe
        if task.resume is not None and restore_state(task.resume, state):
            log.info("continuing after epoch %d of %d", len(state.history), recipe.epochs)
        devices = [self._plan.device] if self._plan.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices):
                self._run_epochs(len(state.history))
        finally:
            unfold_batch_norms(state.model)
        if state.average is not None:
            state.average.write_to(state.model)
        state.model.to(memory_format=torch.contiguous_format)
        return Training(state.history, state.seconds)

    def _run_epochs(self, first: int) -> None:
        """Train from an epoch on; after each, keep the state and tell how it goes."""
        task, state, recipe = self._task, self._state, self._task.recipe
        before = state.seconds
        progress = Progress(recipe.epochs, first, len(self._loader))
        leads = self._shard.rank == 0
        board = TensorBoard(task.tensorboard, first) if task.tensorboard and leads else None
        for epoch in range(first, recipe.epochs):
            row = self.epoch(epoch, progress)
            state.history.append(row)
            state.seconds = before + progress.seconds()
            if task.resume is not None and leads:
                save_state(task.resume, state)
                stop_if_asked()
            if board is not None:
                board.add(row)
            if progress.due() or epoch == recipe.epochs - 1:
                progress.tell(epoch + 1, row["train_loss"], row["train_top1"])
        if board is not None:
            board.close()

    def epoch(self, epoch: int, progress: Progress) -> dict[str, Any]:
        """Pass every training image once and return the epoch's row of the history."""
        recipe, device = self._task.recipe, self._plan.device
        # For layers that draw random numbers, so that a resumed training draws the same.
        torch.manual_seed(derive_seed(self._task.seed, "layers", str(epoch), str(self._shard.rank)))
        self._state.model.train()
        steps = self._loader.steps()
        total = torch.zeros(2, device=device)
        seen, rate = 0, 0.0
        for i, batch in enumerate(self._loader.epoch(self._state.generator)):
            rate = learning_rate(recipe, epoch + (i + 0.5) / steps)
            total += self._step(batch, rate)
            seen += len(batch.labels)
            if i + 1 < steps and progress.due():
                loss, top1 = (value / max(seen, 1) for value in total.tolist())
                self._check(loss, epoch)
                progress.tell(epoch + (i + 1) / steps, loss, top1)
        if self._shard.processes > 1:
            dist.all_reduce(total)
        loss, top1 = (value / len(self._loader) for value in total.tolist())
        self._check(loss, epoch)
        return {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "train_loss": loss,
            "train_top1": top1,
            "images": len(self._loader),
        }

    def _step(self, batch: Batch, rate: float) -> Tensor:
        """Take a step and return the sums of loss and of right answers over the images."""
        task, count = self._task, len(batch.labels)
        with self._plan.autocast():
            logits = self._forward(batch.inputs)
        logits = logits.float()
        loss = training_loss(logits, batch.labels, task.recipe, self._teach(batch))
        if count == 0:
            loss = logits.sum()  # the mean of nothing is not a number
        # Gradients are averaged over processes, whose parts of the batch may differ in size.
        share = count * self._shard.processes / batch.size
        (loss if share == 1 else loss * share).backward()
        if task.penalty is not None:
            with torch.no_grad():
                task.penalty(self._state.model)
        self._state.optimizer.step(rate)
        if self._state.average is not None:
            self._state.average.update(self._state.model)
        right = (logits.detach().argmax(1) == batch.labels).sum()
        return torch.stack((loss.detach() * count, right.float()))

    def _teach(self, batch: Batch) -> Tensor | None:
        if self._teacher is None or batch.teacher_inputs is None:
            return None
        with torch.no_grad(), self._plan.autocast():
            logits: Tensor = self._teacher(batch.teacher_inputs)
        return logits.float()

    def _layout(self) -> Layout:
        task, recipe = self._task, self._task.recipe
        return Layout(
            batch_size=recipe.batch_size,
            side=get_spec(task.model).side,
            augmentation=Augmentation(recipe.shift, recipe.flip, recipe.cutout),
            shard=self._shard,
            workers=task.compute.workers,
            memory_format=self._plan.memory_format,
            teacher_side=None if task.teacher is None else get_spec(task.teacher).side,
        )

    def _prepare(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return what computes the forward pass: the network, shared and compiled as asked for."""
        forward: Any = model
        if self._shard.processes > 1:
            share_batch_norm(model)
            device = self._plan.device
            forward = nn.parallel.DistributedDataParallel(
                model,
                device_ids=[device.index] if device.type == "cuda" else None,
                broadcast_buffers=False,
            )
        elif self._plan.folds:
            fold_batch_norms(model)
        if not self._plan.compile:
            return forward
        # Small networks keep a GPU waiting for the next kernel; this mode starts them all at once.
        alone = self._plan.device.type == "cuda" and self._shard.processes == 1
        return torch.compile(forward, mode="reduce-overhead" if alone else "default")

    def _check(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(_divergence(self._task.recipe, loss, epoch))


def _divergence(recipe: Recipe, loss: float, epoch: int) -> str:
    rates = recipe
    while rates.schedule == "rewind" and rates.original is not None:
        rates = rates.original
    prefix = f"{rates.name}." if rates.name else ""
    which = f" of the recipe '{recipe.name}'" if recipe.name else ""
    return (
        f"the training loss{which} is {loss} in epoch {epoch + 1}; lower {prefix}learning_rate "
        f"({rates.learning_rate}) or raise {prefix}warmup_epochs ({rates.warmup_epochs})."
    )

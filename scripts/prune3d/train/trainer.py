"""One process's part in a training: epochs, steps, state."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from prune3d.data.augment import Augmentation
from prune3d.data.loader import Layout, Shard, TrainingLoader
from prune3d.data.mix import Mixing
from prune3d.errors import TrainingError
from prune3d.models import MODELS
from prune3d.models.assembly import get_spec
from prune3d.seeds import derive_seed
from prune3d.train.averaging import WeightAverage
from prune3d.train.batchnorm import share_batch_norm
from prune3d.train.channels_last import fold_batch_norms, unfold_batch_norms
from prune3d.train.compute import keep_memory, lay_out, make_plan
from prune3d.train.convolutions import mend_gradients, restore_strides
from prune3d.train.graphs import capture, recorder
from prune3d.train.interrupt import stop_if_asked
from prune3d.train.judge import Judge
from prune3d.train.recipe import Recipe, learning_rate
from prune3d.train.report import Progress, TensorBoard
from prune3d.train.resume import TrainingState, restore_state, save_state
from prune3d.train.sgd import NesterovSGD
from prune3d.train.snapshot import Snapshot
from prune3d.train.step import Step
from prune3d.train.task import Task, Training

log = logging.getLogger(__name__)


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
        leads = self._shard.rank == 0
        self._judge = Judge(task, device) if task.judged is not None and leads else None
        self._plan = make_plan(task.compute, device)
        model.to(device)
        lay_out(model, self._plan.memory_format)
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
        forward = self._prepare(model)
        self._step = Step(
            task, self._plan, self._shard, self._loader, self._state, self._teacher, forward
        )
        self._steps: Callable[[int, Tensor | None], None] | None = None

    def run(self) -> Training:
        """Train from the beginning, or from the state that was kept, to the end."""
        task, state, recipe = self._task, self._state, self._task.recipe
        if task.resume is not None and restore_state(task.resume, state):
            log.info("continuing after epoch %d of %d", len(state.history), recipe.epochs)
        earlier = state.seconds
        devices = [self._plan.device] if self._plan.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices), self._plan.repeatable():
                self._run_epochs(len(state.history))
        finally:
            self._steps = None  # captured steps hold memory of the device
            unfold_batch_norms(state.model)
            restore_strides(state.model)
        if state.average is not None:
            state.average.write_to(state.model)
        lay_out(state.model, torch.contiguous_format)
        return Training(state.history, state.seconds, earlier)

    def _run_epochs(self, first: int) -> None:
        """Train from an epoch on; after each, keep the state and tell how it goes."""
        task, state, recipe = self._task, self._state, self._task.recipe
        before = state.seconds
        progress = Progress(recipe.epochs, first, len(self._loader))
        leads = self._shard.rank == 0
        board = TensorBoard(task.tensorboard, first) if task.tensorboard and leads else None
        for epoch in range(first, recipe.epochs):
            row = self.epoch(epoch, progress)
            row["selection_top1"] = self._judge and self._judge.after(epoch + 1, state)
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
        recipe, sizes, total = self._task.recipe, self._loader.sizes, self._step.total
        if self._steps is None:
            self._steps = self._capture()
        # For layers that draw random numbers, so that a resumed training draws the same.
        torch.manual_seed(derive_seed(self._task.seed, "layers", str(epoch), str(self._shard.rank)))
        begin_training(self._state.model)
        rates = [learning_rate(recipe, epoch + (i + 0.5) / len(sizes)) for i in range(len(sizes))]
        pixels = self._loader.begin(self._state.generator)
        average = self._state.average
        self._step.begin(rates, average.parts(len(sizes)) if average else ())
        seen = 0
        for i, (size, given) in enumerate(zip(sizes, pixels, strict=True), 1):
            self._steps(size, given)
            part = self._shard.of(size)
            seen += part.stop - part.start
            if i < len(sizes) and progress.due():
                loss, top1 = (value / max(seen, 1) for value in total.tolist())
                self._check(loss, epoch)
                progress.tell(epoch + i / len(sizes), loss, top1)
        if self._shard.processes > 1:
            dist.all_reduce(total)
        loss, top1 = (value / len(self._loader) for value in total.tolist())
        self._check(loss, epoch)
        return {
            "epoch": epoch + 1,
            "learning_rate": rates[-1],
            "train_loss": loss,
            "train_top1": top1,
            "images": len(self._loader),
        }

    def _capture(self) -> Callable[[int, Tensor | None], None]:
        """Return what takes the steps: captured where that is wanted, possible, and worth it."""
        record = recorder(self._task.compute, self._plan)
        if record is None:
            return self._step
        if self._shard.processes > 1:
            log.info("training without a CUDA graph: several processes share the batches")
            return self._step
        state, device = self._state, self._plan.device
        networks = {"network": state.model, "teacher": self._teacher}
        averages = state.average.values.values() if state.average else ()
        tensors = [*state.optimizer.momenta.values(), *averages, self._step.total]
        begin_training(state.model)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            before = Snapshot({k: n for k, n in networks.items() if n is not None}, tensors, device)
            epochs = self._task.recipe.epochs
            return capture(self._step, self._loader, before, epochs, record)

    def _layout(self) -> Layout:
        task, recipe = self._task, self._task.recipe
        return Layout(
            batch_size=recipe.batch_size,
            side=get_spec(task.model).side,
            augmentation=Augmentation(
                recipe.shift, recipe.flip, recipe.cutout, recipe.crop_area, recipe.erasing
            ),
            mixing=Mixing(recipe.mixup, recipe.cutmix),
            auto_augment=recipe.auto_augment,
            shard=self._shard,
            workers=-(-task.compute.workers // self._shard.processes),
            memory_format=self._plan.memory_format,
            teacher_side=None if task.teacher is None else get_spec(task.teacher).side,
        )

    def _prepare(self, model: nn.Module) -> Callable[[int], Callable[[Tensor], Tensor]]:
        """Return what computes the logits of a batch, shared and compiled as asked for."""
        forward: Any = model
        if self._plan.device.type == "cpu":
            mend_gradients(model, self._plan.bfloat16)
        if self._shard.processes > 1:
            device = self._plan.device
            share_batch_norm(model, device)
            forward = nn.parallel.DistributedDataParallel(
                model,
                device_ids=[device.index] if device.type == "cuda" else None,
                broadcast_buffers=False,
                # Networks of other people's may have layers that the forward pass leaves out.
                find_unused_parameters=get_spec(model).name not in MODELS,
            )
        elif self._plan.folds:
            fold_batch_norms(model)
        if not self._plan.compile:
            return lambda size: forward
        compiled: Any = torch.compile(forward, dynamic=False)
        # Compiling once more for the last, smaller batch would not pay.
        return lambda size: compiled if size == self._loader.sizes[0] else forward

    def _check(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise TrainingError(_divergence(self._task.recipe, loss, epoch))


def begin_training(model: nn.Module) -> None:
    """Put a network in training mode, but not its frozen norms: their statistics stay as well."""
    model.train()
    for module in model.modules():
        learned = [p.requires_grad for p in module.parameters(recurse=False)]
        if isinstance(module, _NormBase) and learned and not any(learned):
            module.eval()


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

"""One step of a training, from tensors that stay where they are.

All that changes from step to step lies on the device: which images come next, the learning rate,
the sums of loss and hits. A step therefore waits for nothing and takes no numbers from the
processor, so that it can be captured in a CUDA graph and replayed; see `prune3d.train.graphs`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from prune3d.data.loader import Batch, Shard, TrainingLoader
from prune3d.train.compute import Plan
from prune3d.train.losses import training_loss
from prune3d.train.resume import TrainingState
from prune3d.train.task import Task

Forward = Callable[[Tensor], Tensor]


class Step:
    """Takes the steps of an epoch, one call each.

    Parameters
    ----------
    task, plan, shard
        What is trained, how it is computed, and the part of each batch that is computed here.
    loader
        The images; see `begin`.
    state
        The network, its optimizer and its average.
    teacher
        The network that is followed, on the device, if any.
    forward
        Returns what computes the logits of a batch of that many images.

    Attributes
    ----------
    total
        Sums of loss and of right answers over the images since `begin`, float32, shape (2,).
    """

    def __init__(
        self,
        task: Task,
        plan: Plan,
        shard: Shard,
        loader: TrainingLoader,
        state: TrainingState,
        teacher: nn.Module | None,
        forward: Callable[[int], Forward],
    ) -> None:
        self._task, self._plan, self._shard = task, plan, shard
        self._loader, self._state = loader, state
        self._teacher, self._forward = teacher, forward
        device, steps = plan.device, len(loader.sizes)
        self._first = torch.zeros((), dtype=torch.int64, device=device)
        self._number = torch.zeros(1, dtype=torch.int64, device=device)
        self._rates = torch.zeros(steps, device=device)
        self._parts = torch.zeros(steps, device=device)
        self.total = torch.zeros(2, device=device)

    def begin(self, rates: Sequence[float], parts: Sequence[float] = ()) -> None:
        """Begin an epoch of the loader.

        Parameters
        ----------
        rates
            The learning rate of each step.
        parts
            How far the average moves in each, where there is one.
        """
        self.rewind()
        self.total.zero_()
        self._rates.copy_(torch.tensor(rates))
        if parts:
            self._parts.copy_(torch.tensor(parts))

    def rewind(self) -> None:
        """Go back to the first step of the epoch."""
        self._first.zero_()
        self._number.zero_()

    def renew(self) -> None:
        """Cut the network's parameters off from backward graphs that are still alive somewhere.

        Such a graph, as of a loss that somebody keeps, keeps the nodes that accumulate gradients,
        and with them the stream on which they were made: a capture on another one fails.
        """
        for parameter in self._state.model.parameters():
            value = parameter.data
            # Torch makes such a node anew where the kind of the data changes.
            other = torch.float64 if value.dtype != torch.float64 else torch.float32
            parameter.data = value.new_empty(0, dtype=other)
            parameter.data = value

    def forward(self, size: int, pixels: Tensor | None = None) -> None:
        """Pass a batch through the networks as a step does, neither compiled nor learned from."""
        batch = self._loader.batch(self._first, size, pixels)
        with self._plan.autocast():
            self._state.model(batch.inputs)
        self._teach(batch)

    def __call__(self, size: int, pixels: Tensor | None = None) -> None:
        """Take the next step, of a batch of that many images; see `TrainingLoader.batch`."""
        batch = self._loader.batch(self._first, size, pixels)
        count = len(batch.labels)
        with self._plan.autocast():
            logits = self._forward(size)(batch.inputs)
        logits = logits.float()
        loss = training_loss(
            logits, batch.labels, self._task.recipe, self._teach(batch), batch.mixed
        )
        if count == 0:
            loss = logits.sum()  # the mean of nothing is not a number
        # Gradients are averaged over processes, whose parts of the batch may differ in size.
        share = count * self._shard.processes / batch.size
        (loss if share == 1 else loss * share).backward()
        self._move()
        right = (logits.detach().argmax(1) == batch.labels).sum()
        self.total += torch.stack((loss.detach() * count, right.float()))
        self._first += size
        self._number += 1

    def _move(self) -> None:
        """Change the network by its gradients."""
        state = self._state
        if self._task.penalty is not None:
            with torch.no_grad():
                self._task.penalty(state.model)
        state.optimizer.step(self._rates[self._number].view(()))
        if state.average is not None:
            state.average.update(state.model, self._parts[self._number].view(()))

    def _teach(self, batch: Batch) -> Tensor | None:
        if self._teacher is None or batch.teacher_inputs is None:
            return None
        with torch.no_grad(), self._plan.autocast():
            logits: Tensor = self._teacher(batch.teacher_inputs)
        return logits.float()

"""Exponential moving average of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of weights and batch-norm statistics over the steps of a training.

    After step t the average moves to a + (1 - d)(w - a) with d = min(decay, (1 + t) / (10 + t)),
    so that the first, random weights are soon forgotten; the same as timm and TensorFlow do.

    Parameters
    ----------
    model
        The network; the average begins as its present values.
    decay
        In (0, 1).

    Attributes
    ----------
    values
        The average, by name as in the network's state_dict. What is not a real number (counters)
        is the latest.
    steps
        Steps so far.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self.values: dict[str, Tensor] = {
            name: value.detach().clone() for name, value in model.state_dict().items()
        }
        self.steps = 0

    def parts(self, count: int) -> list[float]:
        """Count steps that are to come; return how far the average moves in each, 1 - d."""
        steps = range(self.steps + 1, self.steps + count + 1)
        self.steps += count
        return [1 - min(self._decay, (1 + t) / (10 + t)) for t in steps]

    def update(self, model: nn.Module, part: Tensor) -> None:
        """Take in the network after a step.

        Parameters
        ----------
        model
            The network.
        part
            What `parts` says of the step, shape (), on the network's device.
        """
        latest = model.state_dict()
        real = [name for name, value in self.values.items() if value.is_floating_point()]
        counters = [name for name in self.values if name not in real]
        with torch.no_grad():
            averages = [self.values[name] for name in real]
            ways = torch._foreach_sub([latest[name] for name in real], averages)
            torch._foreach_mul_(ways, part)
            torch._foreach_add_(averages, ways)
            if counters:
                torch._foreach_copy_(
                    [self.values[name] for name in counters], [latest[name] for name in counters]
                )

    def write_to(self, model: nn.Module) -> None:
        """Put the average into the network."""
        model.load_state_dict(self.values)

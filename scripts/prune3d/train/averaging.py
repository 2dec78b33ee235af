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

    def update(self, model: nn.Module) -> None:
        """Take in the network after a step."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        latest = model.state_dict()
        real = [name for name, value in self.values.items() if value.is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_(
                [self.values[name] for name in real],
                [latest[name].detach() for name in real],
                1 - decay,
            )
            for name in self.values.keys() - set(real):
                self.values[name].copy_(latest[name])

    def write_to(self, model: nn.Module) -> None:
        """Put the average into the network."""
        model.load_state_dict(self.values)

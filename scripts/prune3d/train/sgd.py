"""Stochastic gradient descent with Nesterov momentum.

The same steps as `torch.optim.SGD`, which loads torch's compiler for five seconds when it is made:
as long as a small training takes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NesterovSGD:
    """Optimizer of a network's trainable parameters.

    Parameters
    ----------
    model
        The network.
    momentum
        In [0, 1).
    weight_decay
        L2 penalty on weights of convolutions and linear layers; biases and norms have none.

    Attributes
    ----------
    momenta
        The momentum of each parameter, by name, of its shape.
    """

    def __init__(self, model: nn.Module, momentum: float, weight_decay: float) -> None:
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._parameters = list(named.values())
        self._momentum, self._weight_decay = momentum, weight_decay
        self.momenta: dict[str, Tensor] = {
            name: torch.zeros_like(p, requires_grad=False) for name, p in named.items()
        }

    def step(self, learning_rate: float) -> None:
        """Move the parameters along their gradients, and forget the gradients."""
        with torch.no_grad():
            weights: list[Tensor] = list(self._parameters)
            gradients = [_gradient(p) for p in self._parameters]
            decayed = [i for i, p in enumerate(self._parameters) if p.ndim > 1]
            if decayed and self._weight_decay:
                torch._foreach_add_(
                    [gradients[i] for i in decayed],
                    [weights[i] for i in decayed],
                    alpha=self._weight_decay,
                )
            momenta = list(self.momenta.values())
            torch._foreach_mul_(momenta, self._momentum)
            torch._foreach_add_(momenta, gradients)
            torch._foreach_add_(gradients, momenta, alpha=self._momentum)
            torch._foreach_add_(weights, gradients, alpha=-learning_rate)
        for parameter in self._parameters:
            parameter.grad = None


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        return torch.zeros_like(parameter)
    return parameter.grad

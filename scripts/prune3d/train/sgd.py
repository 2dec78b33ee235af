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
        self._momentum = momentum
        self.momenta: dict[str, Tensor] = {
            name: torch.zeros_like(p, requires_grad=False) for name, p in named.items()
        }
        decayed = [name for name, p in named.items() if p.ndim > 1]
        others = [name for name in named if name not in decayed]
        self._groups = [
            ([named[name] for name in names], [self.momenta[name] for name in names], decay)
            for names, decay in ((decayed, weight_decay), (others, 0.0))
            if names
        ]

    def step(self, learning_rate: float | Tensor) -> None:
        """Move the parameters along their gradients, and forget the gradients.

        Parameters
        ----------
        learning_rate
            A number, or a float32 tensor of shape () on the parameters' device.
        """
        for parameters, momenta, decay in self._groups:
            with torch.no_grad():
                torch._fused_sgd_(
                    list[Tensor](parameters),
                    [_gradient(p) for p in parameters],
                    momenta if self._momentum else [],
                    weight_decay=decay,
                    momentum=self._momentum,
                    lr=learning_rate,
                    dampening=0.0,
                    nesterov=True,
                    maximize=False,
                    is_first_step=False,
                )
            for parameter in parameters:
                parameter.grad = None


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Return the gradient in the memory order of its parameter, as the fused kernel needs it."""
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros_like(parameter)
    if gradient.stride() != parameter.stride():
        return torch.empty_like(parameter).copy_(gradient)
    return gradient

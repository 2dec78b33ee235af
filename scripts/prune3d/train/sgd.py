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

        Parameters without a gradient, which the forward pass left out, stay as they are.

        Parameters
        ----------
        learning_rate
            A number, or a float32 tensor of shape () on the parameters' device.
        """
        for group, momenta, decay in self._groups:
            reached: list[tuple[Tensor, Tensor]] = [
                (p, m) for p, m in zip(group, momenta, strict=True) if p.grad is not None
            ]
            if not reached:
                continue
            with torch.no_grad():
                torch._fused_sgd_(
                    [parameter for parameter, _ in reached],
                    [_gradient(parameter) for parameter, _ in reached],
                    [momentum for _, momentum in reached] if self._momentum else [],
                    weight_decay=decay,
                    momentum=self._momentum,
                    lr=learning_rate,
                    dampening=0.0,
                    nesterov=True,
                    maximize=False,
                    is_first_step=False,
                )
            for parameter, _ in reached:
                parameter.grad = None


def _gradient(parameter: Tensor) -> Tensor:
    """Return the gradient in the memory order of its parameter, as the fused kernel needs it."""
    gradient = parameter.grad
    assert gradient is not None
    if gradient.stride() != parameter.stride():
        return torch.empty_like(parameter).copy_(gradient)
    return gradient

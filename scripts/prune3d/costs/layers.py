"""Multiply-accumulates of convolutions and linear layers, counted as they are called."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class LayerCounter:
    """Counts the layers that are called within it: each position of an output takes all weights.

    Parameters
    ----------
    model
        The network, to which batches without images may be passed.
    remember
        Whether a module that is given a shape a second time is not run again, since it does the
        same: for networks whose modules look at nothing but their one input.

    Attributes
    ----------
    macs
        Of each layer, by its name.
    """

    def __init__(self, model: nn.Module, remember: bool = False) -> None:
        self.model, self.remember = model, remember
        self.macs: dict[str, int] = {}
        self._handles: list[Any] = []
        self._replaced: list[nn.Module] = []

    def __enter__(self) -> LayerCounter:
        """Begin to count."""
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self._handles.append(module.register_forward_hook(self._counting(name)))
            elif self.remember and module is not self.model and next(module.children(), None):
                module.forward = self._remembering(module.forward)
                self._replaced.append(module)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the network as it was."""
        for handle in self._handles:
            handle.remove()
        for module in self._replaced:
            del module.forward

    def restart(self) -> None:
        """Count from nothing again."""
        self.macs = {}

    def _add(self, macs: dict[str, int]) -> None:
        for name, value in macs.items():
            self.macs[name] = self.macs.get(name, 0) + value

    def _counting(self, name: str) -> Any:
        def hook(layer: Any, inputs: Any, output: Tensor) -> None:
            # The images are the first dimension; a convolution has its channels second, a linear
            # layer last.
            shape = output.shape[2:] if isinstance(layer, nn.Conv2d) else output.shape[1:-1]
            self._add({name: math.prod(shape) * layer.weight.numel()})

        return hook

    def _remembering(self, forward: Any) -> Any:
        known: dict[torch.Size, tuple[Tensor, dict[str, int]]] = {}

        def run(*args: Any, **kwargs: Any) -> Any:
            if kwargs or len(args) != 1 or not isinstance(args[0], Tensor):
                return forward(*args, **kwargs)
            shape = args[0].shape
            if shape not in known:
                outside, self.macs = self.macs, {}
                output = forward(args[0])
                if not isinstance(output, Tensor):
                    self._add(outside)
                    return output
                known[shape] = output, self.macs
                self.macs = outside
            output, macs = known[shape]
            self._add(macs)
            return output

        return run

"""Counting by operator: what is computed outside of layers, by functions and attention, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def _of_matrix(result: Any, *args: Any) -> int:
    """Count a product of a matrix, the last argument but one, and a vector."""
    return int(args[-2].numel())


def _of_summed_batches(result: Any, total: Tensor, one: Tensor, other: Tensor) -> int:
    return one.numel() * other.shape[-1]


def _of_bilinear(result: Any, *args: Any) -> int:
    three, axes = args[:3], args[3:6]
    shapes = [_with_axes(tensor.shape, new) for tensor, new in zip(three, axes, strict=True)]
    return math.prod(torch.broadcast_shapes(*shapes))


def _with_axes(shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    longer = list(shape)
    for axis in sorted(axes):
        longer.insert(axis, 1)
    return longer


def _of_recurrence(result: Any, x: Tensor, of_input: Tensor, of_state: Tensor, *_: Any) -> int:
    return math.prod(x.shape[:-1]) * (of_input.numel() + of_state.numel())


def _of_deformable(result: Tensor, x: Tensor, weight: Tensor, *_: Any) -> int:
    return result.numel() * math.prod(weight.shape[1:])


# MACs from an operator's result and arguments, where torch's own counter has no formula.
FORMULAS: dict[str, Callable[..., int]] = {
    "aten.mv": _of_matrix,
    "aten.addmv": _of_matrix,
    "aten.dot": _of_matrix,
    "aten.addbmm": _of_summed_batches,
    "aten._trilinear": _of_bilinear,
    "aten.mkldnn_rnn_layer": _of_recurrence,
    "torchvision.deform_conv2d": _of_deformable,
}


class OperatorCounter(TorchDispatchMode):
    """Counts the MACs of the operators that run, by the innermost module that is called.

    Parameters
    ----------
    model
        The network whose modules are told apart.

    Attributes
    ----------
    macs
        MACs by module name; the network itself has the name ``""``.
    beyond
        Those of all modules for which torch's own counter has no formula.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.macs: dict[str, int] = {}
        self.beyond = 0
        self._model = model
        self._running = [""]
        self._handles: list[Any] = []

    def __enter__(self) -> OperatorCounter:
        for name, module in self._model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._entering(name)),
                module.register_forward_hook(self._leave, always_call=True),
            ]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and count it."""
        result = func(*args, **(kwargs or {}))
        operator = func._overloadpacket
        macs = 0
        if operator in flop_registry:
            macs = flop_registry[operator](*args, **(kwargs or {}), out_val=result) // 2
        elif str(operator) in FORMULAS:
            macs = FORMULAS[str(operator)](result, *args)
            self.beyond += macs
        if macs:
            name = self._running[-1]
            self.macs[name] = self.macs.get(name, 0) + macs
        return result

    def _entering(self, name: str) -> Any:
        def enter(module: nn.Module, inputs: Any) -> None:
            self._running.append(name)

        return enter

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._running.pop()

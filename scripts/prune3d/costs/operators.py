"""Counting by operator: what is computed outside of layers, by functions and attention, too."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from prune3d.models.stand_ins import tensors


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


def flop_formulas() -> dict[Any, Callable[..., int]]:
    """Return `FORMULAS` as torch's `FlopCounterMode` takes them, at two operations a MAC."""
    formulas = {}
    for name, formula in FORMULAS.items():
        library, _, operator = name.partition(".")
        packet = getattr(getattr(torch.ops, library), operator, None)
        if packet is not None:  # torchvision's are there once it is imported
            formulas[packet] = _doubled(formula)
    return formulas


def _doubled(formula: Callable[..., int]) -> Callable[..., int]:
    def flops(*args: Any, out_val: Any, **kwargs: Any) -> int:
        return 2 * formula(out_val, *args)

    flops._get_raw = True  # type: ignore[attr-defined] # tensors, not their shapes alone
    return flops


def _weights(model: nn.Module) -> dict[int, tuple[str, str]]:
    """Return for each weight, by its identity, its module and under which name its MACs go."""
    names: dict[int, tuple[str, str]] = {}
    for module, layer in model.named_modules():
        if "parametrizations" in module.split("."):
            continue
        own = {k: t for k, t in layer.named_parameters(recurse=False) if t.dim() > 1}
        by_hand = (len(own) > 1 and not _is_torchs_own(layer)) or isinstance(
            layer, nn.MultiheadAttention
        )
        for key, tensor in own.items():
            name = f"{module}.{key}".lstrip(".") if by_hand else module
            names.setdefault(id(tensor), (module, name))
    return names


def _is_torchs_own(layer: nn.Module) -> bool:
    """Tell whether torch wrote what a layer computes; of scripted and traced ones ask no method."""
    forward = inspect.getattr_static(type(layer), "forward")
    return str(getattr(forward, "__module__", None)).split(".")[0] == "torch"


class OperatorCounter(TorchDispatchMode):
    """Counts the MACs of the operators that run, by the innermost module that is called.

    What is computed from parameters and buffers alone is not: it is no part of an image's pass.

    Parameters
    ----------
    model
        The network whose modules are told apart.

    Attributes
    ----------
    macs
        MACs by module name; the network itself has the name ``""``. Where a module's code gives one
        of several weights of its own to an operator, by the weight's name.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.macs: dict[str, int] = {}
        self._model = model
        self._running = [""]
        self._weights = _weights(model)
        self._computed: list[Tensor] = []  # kept, so that no other tensor gets their identity
        self._handles: list[Any] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Importing torch's compiler, which is not used, would take seconds.
        return False

    def __enter__(self) -> OperatorCounter:
        for name, module in self._model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._entering(name)),
                module.register_forward_hook(self._leave, always_call=True),
            ]
        self._own = {id(t) for t in chain(self._model.parameters(), self._model.buffers())}
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
        if self._has_no_image(func, result, (args, kwargs)):
            self._name_computed(func, result, args)
            return result
        operator = func._overloadpacket
        macs = 0
        if operator in flop_registry:
            macs = flop_registry[operator](*args, **(kwargs or {}), out_val=result) // 2
        elif str(operator) in FORMULAS:
            macs = FORMULAS[str(operator)](result, *args)
        if macs:
            name = self._owner(args)
            self.macs[name] = self.macs.get(name, 0) + macs
        return result

    def _name_computed(self, func: Any, result: Any, args: Any) -> None:
        """Let views of a weight, and what else is made of it in its shape, stand for it."""
        of = next((a for a in args if id(a) in self._weights), None)
        if of is None:
            return
        for made in tensors(result):
            if func.is_view or made.shape == of.shape:
                self._weights.setdefault(id(made), self._weights[id(of)])
                self._computed.append(made)

    def _has_no_image(self, func: Any, result: Any, given: Any) -> bool:
        """Tell whether a result is made of parameters and buffers alone, as by a spectral norm.

        A learned query that is expanded in its first dimension is there for each image.
        """
        sources = list(tensors(given))
        alone = bool(sources) and all(
            id(t) in self._own or getattr(t, "_has_no_image", False) for t in sources
        )
        if func.overloadpacket.__name__ in ("expand", "repeat"):
            alone = alone and sources[0].shape[:1] != (1,)
        for tensor in tensors(result):
            tensor._has_no_image = alone  # type: ignore[attr-defined]
        return alone

    def _owner(self, args: Any) -> str:
        """Return the name under which the MACs of an operator go."""
        running = self._running[-1]
        found = [self._weights[id(a)] for a in args if id(a) in self._weights]
        if len(found) != 1:
            return running
        module, name = found[0]
        # A layer that uses the weight of another one is itself what makes the MACs.
        custom = running == "" or module == running or module.startswith(f"{running}.")
        return name if custom else running

    def _entering(self, name: str) -> Any:
        def enter(module: nn.Module, inputs: Any) -> None:
            self._running.append(name)

        return enter

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._running.pop()

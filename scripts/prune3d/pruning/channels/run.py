"""Run a network under a tracer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from prune3d.models.shapes import KNOWN_LAYERS
from prune3d.models.stand_ins import tensors
from prune3d.pruning.channels.identities import ConflictError, Ids
from prune3d.pruning.channels.labels import Labels, all_ids, spread
from prune3d.pruning.channels.operators import apply
from prune3d.pruning.channels.trace import IMAGES, LOGITS, Size, TraceError, Tracer

# Attributes that count pixels; or channels, where they follow from the shape of the weight.
NO_SIZES = frozenset(
    [
        *("kernel_size", "stride", "padding", "dilation", "output_padding", "groups"),
        *("in_channels", "out_channels", "num_channels", "in_features", "out_features"),
        "num_features",
    ]
)


class TaggedInt(int):
    """A whole number that knows which attribute it was read from."""

    size: Size

    def __new__(cls, value: int, size: Size) -> TaggedInt:
        """Return the number."""
        number = super().__new__(cls, value)
        number.size = size
        return number

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        """Be copied as a number."""
        return int, (int(self),)

    def __floordiv__(self, other: int) -> int:
        """Return a quotient that knows where it is from, if there is no remainder."""
        exact = isinstance(other, int) and other > 0 and int(self) % int(other) == 0
        value = int(self) // int(other)
        times = int(other) * self.size.times
        return TaggedInt(value, replace(self.size, times=times)) if exact else value

    def __mul__(self, other: int) -> int:
        """Return a product that knows where it is from; of two such numbers it is not told."""
        if isinstance(other, TaggedInt):
            return int(self) * int(other)
        if type(other) is not int or other < 1:
            return int(self) * other
        return TaggedInt(int(self) * other, replace(self.size, over=other * self.size.over))

    __rmul__ = __mul__


class _Operators(TorchDispatchMode):
    """Shows a tracer every operator."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Importing torch's compiler, which is not used, would take ten seconds.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.tracer.current = (args, kwargs)
        return apply(self.tracer, func, args, kwargs or {})


class _Sizes(TorchFunctionMode):
    """Tells a tracer which attributes the numbers in a call were read from."""

    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.tracer.sizes
        found: dict[int, list[Size]] = {}
        for number in _tagged((args, kwargs or {})):
            found.setdefault(int(number), []).append(number.size)
        if found:
            self.tracer.sizes = found
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.tracer.sizes = before


def _tagged(value: Any) -> Iterator[TaggedInt]:
    if isinstance(value, TaggedInt):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tagged(part)
    elif isinstance(value, dict):
        yield from _tagged(tuple(value.values()))
    elif isinstance(value, slice):
        yield from _tagged((value.start, value.stop, value.step))


def run_trace(tracer: Tracer, model: nn.Module, images: Tensor) -> Tensor:
    """Pass images through a network under a tracer and return the outputs.

    Raises
    ------
    TraceError
        If the pass fails or identities meet that do not belong together.
    """
    trace, tracer.images = tracer.trace, len(images)
    if images.shape[1] > 1:
        ids = trace.axes.setdefault(IMAGES, trace.classes.new(images.shape[1]))
        tracer.set(images, Labels([spread(ids, 1, images.shape)]))
        trace.classes.freeze(ids, "they are the channels of the images")
    try:
        surroundings = (_quiet_attention(), _hooks(tracer, model), _tags(tracer))
        with ExitStack() as stack:
            for part in (torch.no_grad(), *surroundings, _Operators(tracer), _Sizes(tracer)):
                stack.enter_context(part)
            logits: Tensor = model(images)
    except ConflictError as error:
        raise _failed(tracer, str(error)) from None
    except Exception as error:
        raise _failed(tracer, f"{type(error).__name__}: {error}") from error
    trace.classes.freeze(all_ids(tracer.labels(logits)), LOGITS)
    return logits


def _failed(tracer: Tracer, what: str) -> TraceError:
    inputs = tracer.stack[-1][1] if tracer.stack else ()
    ids, current = _ids_in(tracer, inputs), _ids_in(tracer, tracer.current)
    return TraceError(tracer.module, ids, current, what)


def _ids_in(tracer: Tracer, value: Any) -> Ids:
    parts = [all_ids(tracer.labels(t)) for t in tensors(value)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


@contextmanager
def _hooks(tracer: Tracer, model: nn.Module) -> Iterator[None]:
    """Keep the stack of the modules that run."""

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        name = tracer.names[module]
        tracer.stack.append((name, (args, kwargs)))
        if not tracer.checks:
            first = next(tensors((args, kwargs)), None)
            lane = None if first is None else tracer.lane(first)
            tracer.trace.taken.setdefault(name, []).append(lane)

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        name, _ = tracer.stack.pop()
        if not tracer.checks:
            lane = tracer.lane(output) if isinstance(output, Tensor) else None
            tracer.trace.given.setdefault(name, []).append(lane)

    handles = []
    for module in model.modules():
        if module is not model and not isinstance(module, torch.jit.ScriptModule):
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
            handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _tags(tracer: Tracer) -> Iterator[None]:
    """Tag the whole numbers among the attributes of modules that are not torch's own."""
    before: list[tuple[nn.Module, str, Any]] = []
    for name, module in tracer.modules.items():
        if type(module).__module__.startswith("torch.") or isinstance(
            module, torch.jit.ScriptModule
        ):
            continue
        own = isinstance(module, KNOWN_LAYERS)
        for key, value in list(vars(module).items()):
            tagged = None if own and key in NO_SIZES else _tag(value, name, key)
            if tagged is not None:
                before.append((module, key, value))
                module.__dict__[key] = tagged
    try:
        yield
    finally:
        for module, key, value in before:
            module.__dict__[key] = value


def _tag(value: Any, module: str, key: str) -> Any:
    if type(value) is int and value > 1:
        return TaggedInt(value, Size(module, key))
    if type(value) in (list, tuple) and value and all(type(v) is int for v in value):
        return type(value)(TaggedInt(v, Size(module, key, i)) for i, v in enumerate(value))
    return None


@contextmanager
def _quiet_attention() -> Iterator[None]:
    """Keep attention from the kernel that does everything at once."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

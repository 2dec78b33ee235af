"""Trace a forward pass at the level of torch's operators and label every tensor on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from torch import Tensor, nn

from prune3d.models.shapes import tensors_of
from prune3d.models.stand_ins import tensors
from prune3d.pruning.channels.identities import NONE, Classes, Ids
from prune3d.pruning.channels.labels import Labels, all_ids, pattern, spread

Axis = tuple[str, int]
IMAGES = ("the images", 1)
LOGITS = "they are the logits"


@dataclass(frozen=True)
class Size:
    """A whole number that a module keeps as an attribute.

    Attributes
    ----------
    module, attribute
        Where it is.
    index
        Its place, where the attribute is a list or a tuple.
    times, over
        The attribute is the number that was used, times one and over the other of these.
    """

    module: str
    attribute: str
    index: int | None = None
    times: int = 1
    over: int = 1


@dataclass(frozen=True)
class SizeUse:
    """A size that counts channels: how many of some identities there are."""

    size: Size
    ids: Ids = field(hash=False)


class TraceError(Exception):
    """The forward pass failed, or met channels where they do not belong.

    Attributes
    ----------
    module
        The innermost module in which it happened.
    ids
        Identities of what went in there.
    current
        Identities of what went into the last operator.
    reason
        In words.
    """

    def __init__(self, module: str, ids: Ids, current: Ids, reason: str) -> None:
        super().__init__(reason)
        self.module, self.ids, self.current, self.reason = module, ids, current, reason


@dataclass(frozen=True)
class Lane:
    """The channels of a tensor.

    Attributes
    ----------
    dim
        The dimension along which they are.
    ids
        Shape (channels,).
    """

    dim: int
    ids: Ids = field(hash=False)


@dataclass
class Trace:
    """What a forward pass tells.

    Attributes
    ----------
    axes
        Identities of each axis of each parameter and buffer, by its name.
    classes
        Which of them go together.
    written, read
        Axes of weights that make channels, and that read them.
    uses
        Attributes that count channels.
    guesses
        For each module the identities whose ties in it are guessed from the sizes that it saw.
    choices
        By module and call, what was chosen where channels can be tied in more ways than one.
    splits
        For each reshape that makes several axes of one, by the key of its choice, its identities.
    grouped
        For each convolution that loses whole groups of more than one channel, by the key of that
        choice, the identities of these.
    heads
        Identities that were multiplied with each other, a row for each head.
    whole_heads
        For each module the identities of the heads in which it multiplies activations.
    products
        For each module the identities of what its own code multiplies and sums.
    taken, given
        For each module, at each of its calls, the identities along the one dimension in which those
        of its first input, and of its output, differ; None where there is not one such dimension.
    """

    axes: dict[Axis, Ids]
    classes: Classes
    written: set[Axis] = field(default_factory=set)
    read: set[Axis] = field(default_factory=set)
    uses: list[SizeUse] = field(default_factory=list)
    guesses: dict[str, list[Ids]] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    splits: dict[str, Tensor] = field(default_factory=dict)
    grouped: dict[str, Ids] = field(default_factory=dict)
    heads: list[Ids] = field(default_factory=list)
    whole_heads: dict[str, list[Ids]] = field(default_factory=dict)
    products: dict[str, list[Ids]] = field(default_factory=dict)
    taken: dict[str, list[Lane | None]] = field(default_factory=dict)
    given: dict[str, list[Lane | None]] = field(default_factory=dict)


_numbers = count(1)


class Tracer:
    """Labels tensors while a network runs.

    Parameters
    ----------
    model
        The network, in evaluation mode.
    trace
        What is known already, and where to write.
    checks
        Whether the trace's identities are those of another network, of which this one is a part:
        nothing is guessed, and identities that do not belong together are an error.
    """

    def __init__(self, model: nn.Module, trace: Trace, checks: bool = False) -> None:
        self.trace, self.classes, self.checks = trace, trace.classes, checks
        self.names = {module: name for name, module in model.named_modules()}
        self.modules = dict(model.named_modules())
        self.images = 1
        self._number = next(_numbers)
        self.stack: list[tuple[str, Any]] = []
        self.sizes: dict[int, list[Size]] = {}
        self.current: Any = ()
        self.calls: dict[tuple[str, str], int] = {}
        self.owner = {ids_of: axis for axis, ids_of in _first_ids(trace.axes)}
        self._starts = np.array(sorted(self.owner), dtype=np.int64)
        self._fixed: dict[int, Labels] = {}
        self._memory: dict[tuple[int, tuple[int, ...]], Labels] = {}
        for name, tensor in tensors_of(model).items():
            layers = [
                spread(ids, dim, tensor.shape)
                for (owner, dim), ids in trace.axes.items()
                if owner == name
            ]
            labels = Labels(layers, computed=True)
            self._fixed[id(tensor)] = labels
            if tensor.numel():
                self._memory[tensor.data_ptr(), tuple(tensor.shape)] = labels

    @property
    def module(self) -> str:
        """Name of the module that is running."""
        return self.stack[-1][0] if self.stack else ""

    @property
    def place(self) -> str:
        """Where the forward pass is, in words."""
        if not self.module:
            return "the network's own forward"
        return f"'{self.module}' ({type(self.modules[self.module]).__name__})"

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run an operator as it is."""
        return func(*args, **kwargs)

    def contract(self, func: Any, args: Any, kwargs: Any, places: dict[int, int]) -> Any:
        """Run an operator that sums over dimensions of some arguments."""
        ids = [all_ids(self.labels(t)) for t in tensors((args, kwargs))]
        self.trace.products.setdefault(self.module, []).extend(ids)
        return self.run(func, args, kwargs)

    def reduce(self, func: Any, args: Any, kwargs: Any, dims: tuple[int, ...]) -> Any:
        """Run an operator that takes a statistic of its first argument over dimensions."""
        return self.run(func, args, kwargs)

    def labels(self, tensor: Tensor) -> Labels:
        """Return the labels of a tensor; none where nothing is known of it."""
        number, known = getattr(tensor, "_channel_labels", (0, None))
        if number != self._number:  # a tensor that the network keeps from another pass
            known = self._fixed.get(id(tensor))
        if known is None and tensor.numel() and self._memory:
            known = self._memory.get((tensor.data_ptr(), tuple(tensor.shape)))
        return known or Labels()

    def set(self, tensor: Tensor, labels: Labels) -> None:
        """Label a tensor."""
        if id(tensor) not in self._fixed:
            tensor._channel_labels = self._number, labels  # type: ignore[attr-defined]

    def lane(self, tensor: Tensor) -> Lane | None:
        """Return the channels of a tensor, where they are along one dimension."""
        found = [pattern(layer) for layer in self.labels(tensor).layers]
        found = [p for p in found if p.ids.any()]
        if len(found) != 1 or len(found[0].dims) != 1:
            return None
        return Lane(found[0].dims[0], found[0].ids.flatten().numpy().copy())

    def freeze(self, ids: Ids, what: str) -> None:
        """Say that identities stay because of what happens to them where the pass is."""
        if not self.checks:
            self.classes.freeze(ids, f"{what} in {self.place}")

    def guess(self, ids: Ids) -> bool:
        """Note that identities are to be tied by a guess; tell whether guesses are made."""
        if not self.checks:
            self.trace.guesses.setdefault(self.module, []).append(ids[ids != NONE])
        return not self.checks

    def count(self, value: int, ids: Ids) -> bool:
        """Note the attribute that a size was read from, if any; tell whether there was one."""
        found = self.sizes.get(int(value), [])
        self.trace.uses.extend(SizeUse(size, ids) for size in found)
        return bool(found)

    def choice(self, kind: str, default: str) -> str:
        """Return what was chosen at this call of the dense network, or choose."""
        return self.trace.choices.setdefault(self.next_call(kind), default)

    def next_call(self, kind: str) -> str:
        """Return the key of this call among those of its kind in the module that runs."""
        self.calls[self.module, kind] = self.calls.get((self.module, kind), 0) + 1
        return self.last_call(kind)

    def last_call(self, kind: str) -> str:
        """Return the key of the call of a kind that came last in the module that runs."""
        return f"{self.module}:{kind}:{self.calls[self.module, kind] - 1}"

    def axis_of(self, ids: Ids) -> Axis | None:
        """Return the axis whose positions some identities are."""
        inside = ids[ids != NONE]
        if not len(inside) or not len(self._starts):
            return None
        at = int(np.searchsorted(self._starts, inside[0], side="right")) - 1
        return self.owner[int(self._starts[at])]


def labelled_axes(tensor: Tensor) -> list[int]:
    """Return the axes of a parameter or buffer that may count channels.

    A filter's kernel does not; axes of one element are there for broadcasting.
    """
    filters = tensor.dim() > 3 and tensor.shape[0] > 1
    dims = range(2 if filters else tensor.dim())
    return [dim for dim in dims if tensor.shape[dim] > 1]


def new_trace(model: nn.Module, choices: Mapping[str, str]) -> Trace:
    """Return an empty trace with an identity for each position of each axis of each tensor."""
    classes = Classes()
    axes = {
        (name, dim): classes.new(tensor.shape[dim])
        for name, tensor in tensors_of(model).items()
        for dim in labelled_axes(tensor)
    }
    return Trace(axes, classes, choices=dict(choices))


def _first_ids(axes: Mapping[Axis, Ids]) -> Iterator[tuple[Axis, int]]:
    for axis, ids in axes.items():
        if len(ids):
            yield axis, int(ids[0])

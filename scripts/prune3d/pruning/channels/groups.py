"""From a trace to groups of channels: what must go together, and from where it is cut."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from prune3d.pruning.channels.identities import Ids
from prune3d.pruning.channels.trace import IMAGES, Axis, SizeUse, Trace


@dataclass(frozen=True)
class Member:
    """A layer's part in a channel group.

    Attributes
    ----------
    name, layer
        The layer.
    positions
        int64, shape (channels, m): for each channel of the group its places among the layer's
        channels; m is 1, but more behind a flattened feature map.
    key
        The layer's parameter that has them.
    axis
        The parameter's axis that has them.
    """

    name: str
    layer: nn.Module
    positions: Tensor
    key: str = "weight"
    axis: int = 0

    @property
    def weight(self) -> Tensor:
        """The parameter, or what is computed from it, with the axis of the channels first."""
        weight: Tensor = getattr(self.layer, self.key)
        return weight.movedim(self.axis, 0)

    def left_in(self, layer: nn.Module) -> int:
        """Return how many channels of the group are left in what became of the layer.

        Where the layer holds those of other groups, too, the ratio of all of them counts.
        """
        now, dense = (int(getattr(la, self.key).shape[self.axis]) for la in (layer, self.layer))
        own = self.positions.numel()
        return (now if own == dense else now * own // dense) // self.positions.shape[1]


@dataclass(frozen=True)
class Cut:
    """Places of a group's channels along an axis of a parameter or buffer.

    Attributes
    ----------
    tensor, axis
        The tensor's name in the network, and which axis.
    positions
        int64, shape (channels, m).
    """

    tensor: str
    axis: int
    positions: Tensor


@dataclass
class ChannelGroup:
    """Layers that read or write one set of channels.

    Attributes
    ----------
    name
        The first layer, in the network's order, that writes the channels.
    channels
        Number of channels.
    multiple
        Channels can only be removed in runs of this many, those of one group of a grouped
        convolution.
    writers
        Layers whose weights make these channels.
    norms
        Norms, PReLUs and modules with parameters of their own that have them.
    readers
        Layers whose weights read them.
    cuts
        All parameters and buffers that have them.
    runs
        The identity of each run, shape (channels / multiple,).
    """

    name: str
    channels: int
    multiple: int = 1
    writers: list[Member] = field(default_factory=list)
    norms: list[Member] = field(default_factory=list)
    readers: list[Member] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    runs: Ids = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def members(self) -> list[Member]:
        """All layers."""
        return [*self.writers, *self.norms, *self.readers]


@dataclass(frozen=True)
class Frozen:
    """Channels that stay.

    Attributes
    ----------
    name
        The layer that writes them.
    channels
        How many of them.
    reason
        Why.
    """

    name: str
    channels: int
    reason: str


@dataclass(frozen=True)
class ChannelGraph:
    """The channels of a network.

    Attributes
    ----------
    groups
        What can be pruned, in the network's order.
    frozen
        What cannot, and why.
    trace
        The trace that told.
    """

    groups: tuple[ChannelGroup, ...]
    frozen: tuple[Frozen, ...]
    trace: Trace

    @property
    def uses(self) -> list[SizeUse]:
        """Attributes of modules that count channels."""
        return self.trace.uses


def of_model(graph: ChannelGraph, model: nn.Module) -> ChannelGraph:
    """Return the same channels with the layers of a copy of the network."""

    def own(members: Sequence[Member]) -> list[Member]:
        return [replace(member, layer=model.get_submodule(member.name)) for member in members]

    groups = [
        replace(g, writers=own(g.writers), norms=own(g.norms), readers=own(g.readers))
        for g in graph.groups
    ]
    return replace(graph, groups=tuple(groups))


ALONE = "they can only go all at once"


def describe(model: nn.Module, trace: Trace) -> ChannelGraph:
    """Return the groups of a traced network."""
    axes = [axis for axis in trace.axes if axis != IMAGES]
    table = _Table.of(axes, trace)
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    stays = trace.classes.frozen()
    runs: dict[tuple[tuple[int, int], ...], list[tuple[int, dict[int, Ids]]]] = {}
    frozen: dict[tuple[str, str], int] = {}
    for root, parts in table.classes():
        written = [k for k in parts if axes[k] in trace.written]
        if not written:
            continue
        if root in stays:
            for k in written:
                key = (_title(axes[k][0]), stays[root])
                frozen[key] = frozen.get(key, 0) + len(parts[k])
            continue
        runs.setdefault(tuple((k, len(p)) for k, p in parts.items()), []).append((root, parts))
    groups = []
    for signature in sorted(runs):
        group = _group(model, trace, axes, runs[signature], order)
        if len(group.runs) > 1:
            groups.append(group)
        else:
            key = (group.name, ALONE)
            frozen[key] = frozen.get(key, 0) + group.channels
    groups.sort(key=lambda group: order.get(group.name, 0))
    _tell_apart(groups)
    listed = [Frozen(name, n, reason) for (name, reason), n in frozen.items()]
    listed.sort(key=lambda entry: order.get(entry.name, 0))
    return ChannelGraph(tuple(groups), tuple(listed), trace)


@dataclass(frozen=True)
class _Table:
    """Every identity with its class, its axis and its place there."""

    roots: Ids
    axis: Ids
    place: Ids

    @classmethod
    def of(cls, axes: Sequence[Axis], trace: Trace) -> _Table:
        sizes = [len(trace.axes[axis]) for axis in axes]
        ids = [trace.axes[axis] for axis in axes]
        empty = np.zeros(0, dtype=np.int64)
        roots = trace.classes.find(np.concatenate([empty, *ids]))
        axis = np.repeat(np.arange(len(axes)), sizes)
        place = np.concatenate([empty, *(np.arange(n) for n in sizes)])
        order = np.lexsort((place, axis, roots))
        return cls(roots[order], axis[order], place[order])

    def classes(self) -> Iterator[tuple[int, dict[int, Ids]]]:
        """Yield each class's root, with its ascending places on each axis."""
        if not len(self.roots):
            return
        ends = np.flatnonzero(np.diff(self.roots)) + 1
        bounds = [0, *ends.tolist(), len(self.roots)]
        for start, end in pairwise(bounds):
            axis, place = self.axis[start:end], self.place[start:end]
            inner = [0, *(np.flatnonzero(np.diff(axis)) + 1).tolist(), end - start]
            parts = {int(axis[a]): place[a:b] for a, b in pairwise(inner)}
            yield int(self.roots[start]), parts


def _group(
    model: nn.Module,
    trace: Trace,
    axes: Sequence[Axis],
    runs: list[tuple[int, dict[int, Ids]]],
    order: dict[str, int],
) -> ChannelGroup:
    multiple = math.gcd(*(len(places) for places in runs[0][1].values()))
    parameters = dict(model.named_parameters())
    writing = min(
        (k for k in runs[0][1] if axes[k] in trace.written),
        key=lambda k: (axes[k][0] not in parameters, order[owner_of(axes[k][0])[0]]),
    )
    runs.sort(key=lambda run: int(run[1][writing][0]))
    channels = len(runs) * multiple
    name = _title(axes[writing][0])
    group = ChannelGroup(name, channels, multiple, runs=np.array([root for root, _ in runs]))
    for k in runs[0][1]:
        places = np.stack([parts[k] for _, parts in runs])
        positions = torch.from_numpy(places.reshape(channels, -1))
        group.cuts.append(Cut(*axes[k], positions))
    _assign_roles(model, trace, group)
    return group


def _assign_roles(model: nn.Module, trace: Trace, group: ChannelGroup) -> None:
    others: dict[str, Member] = {}
    parameters = dict(model.named_parameters())
    # A filter that is a buffer, such as a blur, is no weight by which a channel could be judged.
    trained = any(c.tensor in parameters for c in group.cuts if (c.tensor, c.axis) in trace.written)
    for cut in group.cuts:
        name, key = owner_of(cut.tensor)
        layer = model.get_submodule(name)
        member = Member(name, layer, cut.positions, key, cut.axis)
        written = (cut.tensor, cut.axis) in trace.written
        if written and (cut.tensor in parameters or not trained):
            group.writers.append(member)
        elif (cut.tensor, cut.axis) in trace.read:
            group.readers.append(member)
        elif cut.tensor in parameters and (name not in others or key == "weight"):
            others[name] = member
    writing = {member.name for member in group.writers}
    group.norms = [member for name, member in others.items() if name not in writing]


def _tell_apart(groups: list[ChannelGroup]) -> None:
    """Give the groups that one layer writes different names."""
    seen: dict[str, int] = {}
    for group in groups:
        seen[group.name] = number = seen.get(group.name, 0) + 1
        if number > 1:
            group.name = f"{group.name} ({number})"


def _title(tensor: str) -> str:
    module, key = owner_of(tensor)
    return module or key


def owner_of(tensor: str) -> tuple[str, str]:
    """Return the module that a parameter belongs to and the attribute that gives it."""
    module, _, key = tensor.rpartition(".")
    parts = module.split(".")
    if "parametrizations" in parts:
        at = parts.index("parametrizations")
        return ".".join(parts[:at]), parts[at + 1]
    if key in ("weight_v", "weight_orig"):
        return module, "weight"
    return module, key

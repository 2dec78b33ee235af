"""What of a network can be pruned, and the exact cost of every network that pruning can give.

The cost of a pruned network is composed from its layers: positions x kernel area x input channels
x output channels, where the channels follow from the width and the positions from the image side.
This needs no torch, so that a lattice of all realizable networks takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.costs.lattice import Lattice
from prune3d.costs.ratios import Counts, kept_channels

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One layer's terms in the cost.

    Attributes
    ----------
    name
        Module name.
    block
        The block that it is in, or None.
    weights_per_pair
        Weights for one pair of an input and an output channel: the kernel area, or 1; 0 for norms.
    inputs
        Channel groups that it reads, each with how many of its input channels one channel of the
        group stands for (1, but more behind a flattened feature map).
    fixed_inputs
        Input channels that pruning does not touch: the image's, or those of one group of a
        depthwise or grouped convolution.
    outputs
        Channel groups that it writes, in the same way; norms may have several.
    fixed_outputs
        Output channels that pruning does not touch.
    params_per_output
        Parameters beside the weights, for one output channel: a bias, a batch norm's two.
    positions
        Output positions for one image, at each side of `Structure.sides`; zero for norms. Where
        the MACs do not follow from weights, as in attention, the MACs themselves, with one weight.
    stored
        Whether the weights are parameters of this layer, and not those of another layer, a buffer
        or computed values.
    fixed_params
        Parameters that no width changes.
    """

    name: str
    block: str | None
    weights_per_pair: int
    inputs: dict[str, int]
    fixed_inputs: int
    outputs: dict[str, int]
    fixed_outputs: int
    params_per_output: int
    positions: tuple[int, ...]
    stored: bool = True
    fixed_params: int = 0


@dataclass(frozen=True)
class Removal:
    """What the removal of a block does to the channel groups.

    Attributes
    ----------
    joins
        Pairs of groups that become one, since an identity takes the place between them; of each the
        second is written by the block alone or is the same stream.
    drops
        A group that vanishes, since the block appended it to others.
    """

    joins: tuple[tuple[str, str], ...] = ()
    drops: str | None = None


@dataclass(frozen=True)
class FrozenChannels:
    """Channels that stay.

    Attributes
    ----------
    name
        The layer that writes them.
    channels
        How many of them.
    reason
        Why, in words.
    """

    name: str
    channels: int
    reason: str


@dataclass(frozen=True)
class Structure:
    """What of a dense network can be pruned.

    Attributes
    ----------
    blocks
        Number of blocks that depth counts.
    removable
        For each block that can be removed, what that does.
    groups
        Channels of each group of layers that must keep the same channels.
    multiples
        For some groups, what the number of channels that is kept must be a multiple of.
    sides
        Image sides in pixels that the network can take, ascending; the last is the dense one.
    layers
        All layers with parameters, and all other modules with parameters or MACs of their own.
    no_width
        Why the network has no groups, where it has none.
    no_depth
        Why no block can be removed, where none can.
    no_onnx
        Why the network cannot be written as ONNX, where it cannot.
    frozen
        Channels that stay, and why.
    """

    blocks: int
    removable: dict[str, Removal]
    groups: dict[str, int]
    multiples: dict[str, int]
    sides: tuple[int, ...]
    layers: tuple[Layer, ...]
    no_width: str | None = None
    no_depth: str | None = None
    no_onnx: str | None = None
    frozen: tuple[FrozenChannels, ...] = ()

    def kept(self, widths: Floats, round_to: int = 1) -> dict[str, Counts]:
        """Return the channels that each group keeps at each width; see `kept_channels`.

        Where there are no groups, one without a name stands for the widths.
        """
        kept = kept_channels(self.groups, widths, round_to, self.multiples)
        return kept or {"": np.ones(len(widths), dtype=np.int64)}

    @property
    def fewest_blocks(self) -> int:
        """Blocks that are left when all that can go are gone; a depth ratio is above zero."""
        return min(self.blocks, max(1, self.blocks - len(self.removable)))

    def summary(self) -> str:
        """Say in one sentence what can be pruned."""
        depth = f"{len(self.removable)} of {self.blocks} blocks can be removed"
        if not self.removable:
            depth = f"no block can be removed ({self.no_depth or 'there are none'})"
        width = f"the channels of {len(self.groups)} groups"
        if not self.groups:
            width = f"no channels ({self.no_width or 'there are no groups'})"
        elif self.frozen:
            most = max(self.frozen, key=lambda stays: stays.channels)
            count = sum(stays.channels for stays in self.frozen)
            width += f" ({count} other channels stay, most of them those of '{most.name}', "
            width += f"since {most.reason})"
        onnx = f"; no ONNX file ({self.no_onnx})" if self.no_onnx else ""
        return (
            f"{depth}; {width}; image sides from {self.sides[0]} to {self.sides[-1]} pixels{onnx}"
        )

    @cached_property
    def arrays(self) -> _Arrays:
        """The layers as arrays."""
        return _Arrays.of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; equal rows of positions are written once."""
        content = asdict(self)
        rows = sorted({layer.positions for layer in self.layers})
        for plain, layer in zip(content["layers"], self.layers, strict=True):
            plain["positions"] = rows.index(layer.positions)
        # A list, since the order of the groups matters and JSON files have sorted keys.
        groups = [{"name": name, "channels": count} for name, count in self.groups.items()]
        texts = [" ".join(map(str, row)) for row in rows]
        return {**content, "groups": groups, "positions": texts}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Structure:
        """Read what `to_dict` gave."""
        rows = [tuple(map(int, row.split())) for row in value["positions"]]
        layers = tuple(
            Layer(**{**layer, "positions": rows[layer["positions"]]}) for layer in value["layers"]
        )
        removable = {
            name: Removal(joins=tuple((a, b) for a, b in r["joins"]), drops=r["drops"])
            for name, r in value["removable"].items()
        }
        return cls(
            blocks=value["blocks"],
            removable=removable,
            groups={group["name"]: group["channels"] for group in value["groups"]},
            multiples=dict(value["multiples"]),
            sides=tuple(value["sides"]),
            layers=layers,
            no_width=value["no_width"],
            no_depth=value["no_depth"],
            no_onnx=value["no_onnx"],
            frozen=tuple(FrozenChannels(**entry) for entry in value["frozen"]),
        )


@dataclass(frozen=True)
class _Arrays:
    """A structure's L layers, G groups and S sides as float64 arrays, exact below 2^53."""

    reads: Floats  # (L, G)
    fixed_reads: Floats  # (L,)
    writes: Floats  # (L, G)
    fixed_writes: Floats  # (L,)
    area: Floats  # (L,)
    extra: Floats  # (L,)
    stored: Floats  # (L,), one or zero
    fixed: Floats  # (L,)
    positions: Floats  # (S, L)
    names: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, structure: Structure) -> _Arrays:
        names, layers = list(structure.groups), structure.layers
        reads = np.array([[la.inputs.get(g, 0) for g in names] for la in layers], dtype=float)
        writes = np.array([[la.outputs.get(g, 0) for g in names] for la in layers], dtype=float)
        return cls(
            reads=reads.reshape(len(layers), len(names)),
            fixed_reads=np.array([la.fixed_inputs for la in layers], dtype=float),
            writes=writes.reshape(len(layers), len(names)),
            fixed_writes=np.array([la.fixed_outputs for la in layers], dtype=float),
            area=np.array([la.weights_per_pair for la in layers], dtype=float),
            extra=np.array([la.params_per_output for la in layers], dtype=float),
            stored=np.array([la.stored for la in layers], dtype=float),
            fixed=np.array([la.fixed_params for la in layers], dtype=float),
            positions=np.array([la.positions for la in layers], dtype=float).T,
            names=names,
        )


@dataclass(frozen=True)
class Level:
    """All networks with the same blocks removed.

    Attributes
    ----------
    weights
        Weights of each layer at each width, shape (layers, W); zero where it is gone.
    params
        Parameters at each width, shape (W,).
    width
        Mean ratio of the channels kept in the groups that are left, shape (W,).
    inputs, outputs
        Channels that each layer reads and writes at each width, shape (layers, W); zero where it is
        gone.
    """

    weights: Floats
    params: Floats
    width: Floats
    inputs: Floats
    outputs: Floats


def compose(structure: Structure, removed: Collection[str], kept: dict[str, Counts]) -> Level:
    """Compose the weights of the networks that are left when some blocks are removed.

    Parameters
    ----------
    structure
        The dense network.
    removed
        Names of removable blocks.
    kept
        Channels of each group at each of W widths.
    """
    arrays, layers = structure.arrays, structure.layers
    present = np.array([la.block not in removed for la in layers])
    writers = present[:, None] & (arrays.writes > 0) & (arrays.area > 0)[:, None]
    channels = _merged(structure, removed, kept, writers)
    inputs = present[:, None] * (arrays.fixed_reads[:, None] + arrays.reads @ channels)
    outputs = present[:, None] * (arrays.fixed_writes[:, None] + arrays.writes @ channels)
    weights = arrays.area[:, None] * inputs * outputs
    extra = np.where(present[:, None], arrays.extra[:, None] * outputs + arrays.fixed[:, None], 0.0)
    params = (arrays.stored[:, None] * weights + extra).sum(0)
    alive = writers.any(0)
    dense = np.array(list(structure.groups.values()), dtype=float)
    total = dense[alive].sum()
    width = channels[alive].sum(0) / total if total else np.ones(channels.shape[1])
    return Level(weights, params, width, inputs, outputs)


def _merged(
    structure: Structure,
    removed: Collection[str],
    kept: dict[str, Counts],
    writers: NDArray[np.bool_],
) -> Floats:
    """Return each group's channels, shape (G, W); joined groups follow the first that is written.

    A network that was pruned has its groups named by the first layer that writes them, and so
    keeps the channels of the dense group of that layer.
    """
    names = structure.arrays.names
    widths = len(next(iter(kept.values()))) if kept else 1
    channels = np.array([kept[name] for name in names], dtype=float).reshape(len(names), widths)
    root = {name: name for name in names}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    first = {
        name: int(column.argmax()) if column.any() else len(structure.layers)
        for name, column in zip(names, writers.T, strict=True)
    }
    for block in removed:
        for pair in structure.removable[block].joins:
            a, b = sorted(map(find, pair), key=first.__getitem__)
            root[b] = a
    merged = channels[[names.index(find(name)) for name in names]]
    for block in removed:
        dropped = structure.removable[block].drops
        if dropped is not None:
            merged[names.index(dropped)] = 0
    return merged


def enumerate_lattice(
    structure: Structure,
    removal_order: Sequence[str],
    widths: NDArray[np.float64],
    sides: Sequence[int],
    round_to: int = 1,
) -> Lattice:
    """Enumerate every network that pruning can give, with its exact cost.

    Parameters
    ----------
    structure
        The dense network.
    removal_order
        Blocks that can be removed, the first one first.
    widths
        Width ratios asked for, shape (W,), in (0, 1].
    sides
        Image sides in pixels, a part of `structure.sides`.
    round_to
        See `kept_channels`.

    Returns
    -------
    Lattice
        Depth level k has the first k blocks of the order removed, at least one block is left; the
        widths and sides are in the order given. Realized ratios: blocks kept, mean ratio of the
        channels kept in the groups that are left, pixels.
    """
    kept = structure.kept(widths, round_to)
    columns = [structure.sides.index(side) for side in sides]
    positions = structure.arrays.positions[columns]
    order = list(removal_order)[: structure.blocks - structure.fewest_blocks]
    macs = np.empty((len(order) + 1, len(widths), len(sides)), dtype=np.int64)
    params = np.empty((len(order) + 1, len(widths)), dtype=np.int64)
    width = np.empty((len(order) + 1, len(widths)))
    for k in range(len(order) + 1):
        level = compose(structure, order[:k], kept)
        macs[k] = (positions @ level.weights).T
        params[k], width[k] = level.params, level.width
    blocks = max(structure.blocks, 1)
    return Lattice(
        depth=(blocks - np.arange(len(order) + 1)) / blocks,
        width=width,
        resolution=np.asarray(sides) / structure.sides[-1],
        macs=macs,
        params=params,
        dense_macs=dense_macs(structure),
    )


def dense_macs(structure: Structure) -> int:
    """Return the multiply-accumulates of the dense network for one image."""
    return int(dense_cost(structure)[0])


def dense_cost(structure: Structure) -> tuple[float, float]:
    """Return the multiply-accumulates for one image and the parameters of the dense network."""
    kept = {name: np.array([channels]) for name, channels in structure.groups.items()}
    level = compose(structure, (), kept)
    return float((structure.arrays.positions[-1] @ level.weights)[0]), float(level.params[0])

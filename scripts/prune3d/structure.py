"""What of a network can be pruned, and the exact cost of every network that pruning can give.

The cost of a pruned network is composed from its layers: positions x kernel area x input channels
x output channels, where the channels follow from the width and the positions from the image side.
This needs no torch, so that a lattice of all realizable networks takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.optimize import Lattice
from prune3d.ratios import Counts, kept_channels


@dataclass(frozen=True)
class Layer:
    """One layer's terms in the cost.

    Attributes
    ----------
    name
        Module name.
    block
        The removable block that it is in, or None.
    weights_per_pair
        Weights for one pair of an input and an output channel: the kernel area, or 1.
    inputs
        Channel groups that it reads, each with how many of its input channels one channel of the
        group stands for (1, but more behind a flattened feature map).
    fixed_inputs
        Input channels that pruning does not touch: the image's, or 1 in a depthwise convolution.
    output
        Channel group that it writes, or None if its outputs are not pruned.
    fixed_outputs
        Output channels when `output` is None.
    params_per_output
        Parameters beside the weights, for one output channel: a bias, a batch norm's two.
    positions
        Output positions for one image, at each side of `Structure.sides`; zero for batch norms.
    """

    name: str
    block: str | None
    weights_per_pair: int
    inputs: dict[str, int]
    fixed_inputs: int
    output: str | None
    fixed_outputs: int
    params_per_output: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Structure:
    """What of a dense network can be pruned.

    Attributes
    ----------
    blocks
        Number of blocks that depth counts.
    groups
        Channels of each group of layers that must keep the same channels.
    sides
        Image sides in pixels that the network can take, ascending; the last is the dense one.
    layers
        All layers with parameters.
    """

    blocks: int
    groups: dict[str, int]
    sides: tuple[int, ...]
    layers: tuple[Layer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Structure:
        """Read what `to_dict` gave."""
        layers = tuple(
            Layer(**{**layer, "positions": tuple(layer["positions"])}) for layer in value["layers"]
        )
        return cls(
            blocks=value["blocks"],
            groups=dict(value["groups"]),
            sides=tuple(value["sides"]),
            layers=layers,
        )


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
        Depth level k has the first k blocks of the order removed, the widths and sides are
        in the order given. Realized ratios: blocks kept, mean ratio of the channels kept in the
        groups that are left, pixels.
    """
    layers, order = structure.layers, list(removal_order)
    kept = kept_channels(structure.groups, widths, round_to)
    ones = np.ones_like(widths, dtype=np.int64)
    outputs = [kept[la.output] if la.output else la.fixed_outputs * ones for la in layers]
    inputs = [
        la.fixed_inputs + sum((n * kept[g] for g, n in la.inputs.items()), 0 * ones)
        for la in layers
    ]
    weights = np.array(
        [la.weights_per_pair * i * o for la, i, o in zip(layers, inputs, outputs, strict=True)]
    )
    extra = np.array([la.params_per_output * o for la, o in zip(layers, outputs, strict=True)])
    removed_at = {name: k + 1 for k, name in enumerate(order)}
    levels = np.arange(len(order) + 1)
    last_level = np.array([removed_at.get(la.block or "", len(order) + 1) for la in layers])
    present = (levels[:, None] < last_level).astype(np.int64)  # (depth levels, layers)
    columns = [structure.sides.index(side) for side in sides]
    positions = np.array([la.positions for la in layers], dtype=np.int64)[:, columns]
    macs = np.stack([(present * column) @ weights for column in positions.T], axis=-1)
    return Lattice(
        depth=(structure.blocks - levels) / structure.blocks,
        width=_mean_width(structure, kept, present),
        resolution=np.asarray(sides) / structure.sides[-1],
        macs=macs,
        params=present @ (weights + extra),
        dense_macs=dense_macs(structure),
    )


def dense_macs(structure: Structure) -> int:
    """Return the multiply-accumulates of the dense network for one image."""
    total = 0
    for layer in structure.layers:
        reads = layer.fixed_inputs + sum(n * structure.groups[g] for g, n in layer.inputs.items())
        writes = structure.groups[layer.output] if layer.output else layer.fixed_outputs
        total += layer.positions[-1] * layer.weights_per_pair * reads * writes
    return total


def _mean_width(
    structure: Structure, kept: dict[str, Counts], present: Counts
) -> NDArray[np.float64]:
    names = list(structure.groups)
    alive = np.zeros((len(present), len(names)), dtype=np.int64)
    for column, layer in enumerate(structure.layers):
        if layer.output:
            alive[:, names.index(layer.output)] |= present[:, column]
    channels = np.array([kept[name] for name in names])
    dense = np.array([structure.groups[name] for name in names])
    if not names:
        return np.ones((len(present), 1))
    return (alive @ channels) / (alive @ dense)[:, None]

"""What the layers of pruned networks have to do, in the terms by which their time is foretold.

Multiply-accumulates alone say little of time: processors compute many channels at once, a layer
takes a while whatever is in it, and those of few channels wait for their pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune3d.costs.ratios import kept_blocks
from prune3d.costs.structure import Level, Structure, compose

Floats = NDArray[np.float64]
LANES = 16  # channels that are computed at once: numbers in a vector of 512 bits
TERMS = (
    "macs of kernels of one pixel",
    "the same, channels in whole vectors",
    "macs of larger kernels",
    "the same, channels in whole vectors",
    "macs of a channel each, in whole vectors",
    "outputs",
    "weights",
    "layers",
)


@dataclass(frozen=True)
class Work:
    """Networks pruned from one, each with what it has to do for an image.

    Attributes
    ----------
    structure
        Of the dense network.
    removal_order
        Blocks, the first to go first.
    round_to
        See `prune3d.costs.ratios.kept_channels`.
    """

    structure: Structure
    removal_order: Sequence[str]
    round_to: int

    def at(self, depth: Floats, width: Floats, side: Floats) -> Floats:
        """Return the terms of all combinations.

        Parameters
        ----------
        depth, width, side
            Ratio of blocks, ratio of channels asked for, pixels: shapes (D,), (W,) and (S,).

        Returns
        -------
        ndarray of shape (D, W, S, terms)
            See `TERMS`.
        """
        structure = self.structure
        kept = structure.kept(width, self.round_to)
        positions = structure.arrays.positions[[structure.sides.index(int(s)) for s in side]]
        blocks = max(structure.blocks, 1)
        levels = []
        for ratio in depth:
            gone = self.removal_order[: blocks - kept_blocks(float(ratio), blocks, 1)]
            levels.append(self._terms(compose(structure, gone, kept), positions))
        return np.stack(levels)

    def _terms(self, level: Level, positions: Floats) -> Floats:
        """Return the terms of networks of one depth, shape (W, S, terms)."""
        arrays = self.structure.arrays
        area, inputs, outputs = arrays.area[:, None], level.inputs, level.outputs
        # Norms, which have neither, become parts of the layers before them.
        computes = (arrays.area > 0) & (arrays.positions[-1] > 0)
        computing = computes[:, None] & (outputs > 0)
        alone = ((arrays.fixed_reads == 1) & (arrays.reads == 0).all(axis=1))[:, None]
        pixel = area == 1
        whole = area * _whole(inputs) * _whole(outputs)
        by_layer = [
            np.where(pixel & ~alone, level.weights, 0),
            np.where(pixel & ~alone, whole, 0),
            np.where(~pixel & ~alone, level.weights, 0),
            np.where(~pixel & ~alone, whole, 0),
            np.where(alone, area * _whole(outputs), 0),
            np.where(computing, outputs, 0),
        ]
        by_side = [(positions @ values).T for values in by_layer]
        shape = by_side[0].shape
        same = [np.where(computing, level.weights, 0).sum(0), computing.sum(0)]
        by_side += [np.broadcast_to(values[:, None], shape) for values in same]
        return np.stack(by_side, axis=-1)


def _whole(channels: Floats) -> Floats:
    """Return channels rounded up to whole vectors."""
    return np.ceil(channels / LANES) * LANES

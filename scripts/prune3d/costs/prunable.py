"""From the ratios that are asked for to those of the network that is made. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prune3d.costs.ratios import kept_blocks, kept_channels, side_of
from prune3d.errors import PruningError
from prune3d.models.registry import ModelFacts
from prune3d.sampling.tree import Point

if TYPE_CHECKING:
    from prune3d.costs.structure import Structure


@dataclass(frozen=True)
class Prunable:
    """What of a network can be pruned, as far as ratios are concerned.

    Attributes
    ----------
    blocks, fewest_blocks
        Number of blocks, and how many are left when all that can go are gone.
    groups, multiples
        See `prune3d.costs.structure.Structure`.
    sides
        Image sides in pixels that the network can take, ascending, up to the dense one.
    no_width
        Why there are no groups, where there are none.
    """

    blocks: int
    fewest_blocks: int
    groups: Mapping[str, int]
    multiples: Mapping[str, int]
    sides: Sequence[int]
    no_width: str | None = None

    @classmethod
    def of_facts(cls, facts: ModelFacts, image_side: int) -> Prunable:
        """Return what is known of a registered model for images of a side in pixels.

        Raises
        ------
        PruningError
            If the images are smaller than the model takes.
        """
        if image_side < facts.smallest_side:
            raise PruningError(
                f"the images have {image_side} pixels a side; allowed is at least "
                f"{facts.smallest_side}, the least that the model takes."
            )
        kinds = [(channels, step) for channels, step, count in facts.groups for _ in range(count)]
        return cls(
            blocks=facts.blocks,
            fewest_blocks=facts.fewest_blocks,
            groups={str(i): channels for i, (channels, _) in enumerate(kinds)},
            multiples={str(i): step for i, (_, step) in enumerate(kinds)},
            sides=range(facts.smallest_side, image_side + 1),
        )

    @classmethod
    def of_structure(cls, structure: Structure) -> Prunable:
        """Return what was found out about a network."""
        return cls(
            blocks=structure.blocks,
            fewest_blocks=structure.fewest_blocks,
            groups=structure.groups,
            multiples=structure.multiples,
            sides=structure.sides,
            no_width=structure.no_width,
        )

    def depth(self, ratio: float) -> float:
        """Return the depth that a ratio gives.

        Raises
        ------
        PruningError
            If the network has not so many blocks that can be removed.
        """
        if self.fewest_blocks == self.blocks:
            if ratio == 1:
                return 1.0
            raise PruningError(
                f"depth is {ratio}, but the network has no block that can be removed; leave depth "
                "at 1 and its levels empty, then width and resolution are pruned alone."
            )
        return kept_blocks(ratio, self.blocks, self.fewest_blocks) / self.blocks

    def width(self, ratio: float, round_to: int) -> float:
        """Return the width that a ratio gives, the mean over all channels.

        Raises
        ------
        PruningError
            If the network has no channels that can be removed.
        """
        if not self.groups:
            if ratio == 1:
                return 1.0
            raise PruningError(
                f"width is {ratio}, but must be 1, and its levels empty: "
                f"{self.no_width or 'the network has no channels that can be removed.'}"
            )
        kept = kept_channels(self.groups, np.array([ratio]), round_to, self.multiples)
        return sum(int(k[0]) for k in kept.values()) / sum(self.groups.values())

    def resolution(self, ratio: float) -> float:
        """Return the resolution that a ratio gives.

        Raises
        ------
        PruningError
            If the network does not take images of that side.
        """
        image_side = self.sides[-1]
        side = side_of(ratio, image_side, self.sides[0])
        if side not in self.sides:
            near = min(self.sides, key=lambda legal: abs(legal - side))
            raise PruningError(
                f"resolution {ratio} would make {side} pixels of {image_side}, which the network "
                f"cannot take; the nearest that it takes is {near}, {near / image_side:.4g}."
            )
        return side / image_side

    def nearest(self, axis: str, ratio: float, round_to: int) -> float:
        """Return the ratio of a dimension that the network can have and that is nearest to one.

        Where nothing can be pruned along the dimension that is 1.
        """
        if axis == "depth":
            kept = min(self.blocks, max(self.fewest_blocks, int(ratio * self.blocks + 0.5)))
            return kept / self.blocks if self.blocks else 1.0
        if axis == "width":
            return self.width(ratio, round_to) if self.groups else 1.0
        image_side = self.sides[-1]
        return min(self.sides, key=lambda side: abs(side - ratio * image_side)) / image_side

    def nearest_to(self, point: Point, round_to: int) -> tuple[float, float, float]:
        """Return the ratios that the network can have and that are nearest to a point's."""
        return (
            self.nearest("depth", point.depth, round_to),
            self.nearest("width", point.width, round_to),
            self.nearest("resolution", point.resolution, round_to),
        )

    def realize(self, point: Point, round_to: int) -> tuple[float, float, float]:
        """Return the depth, width and resolution of the network that a point gives."""
        return (
            self.depth(point.depth),
            self.width(point.width, round_to),
            self.resolution(point.resolution),
        )

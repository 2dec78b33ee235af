"""The specification from which a network, pruned or not, is rebuilt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1, le=2**31)]


@dataclass(frozen=True)
class NetworkSpec:
    """How to build a network: the dense one by name, then what was removed from it.

    Attributes
    ----------
    name, num_classes, image_size, in_channels
        The dense network; `image_size` is its input side in pixels.
    side
        Input side in pixels that the network is meant for now.
    removed_blocks
        Names of the removed blocks, in the order of the dense network.
    replaced
        What stands in the place of each of their modules: ``identity`` or ``nothing``, which gives
        a tensor without channels.
    shapes
        Shape of each parameter and buffer that is not the dense one's.
    attributes
        Whole numbers that modules keep and that count channels, where they are not the dense ones;
        named ``module:attribute`` or ``module:attribute:place``.
    code
        SHA-256 of each of the user's files that build the dense network, by the file's name;
        empty for networks of packages.
    frozen
        Names of the parameters that no training changes; None means those that the network's own
        code freezes.
    keep
        Patterns of layers that are neither cut nor removed; see `prune3d.pruning.patterns`.
    """

    name: str
    num_classes: Annotated[int, Field(ge=2, le=2**20)]
    image_size: Annotated[int, Field(ge=1, le=2**15)]
    in_channels: Annotated[int, Field(ge=1, le=2**15)]
    side: Count
    removed_blocks: tuple[str, ...] = ()
    replaced: dict[str, str] = field(default_factory=dict, hash=False)
    shapes: dict[str, tuple[Count, ...]] = field(default_factory=dict, hash=False)
    attributes: dict[str, Annotated[int, Field(ge=0)]] = field(default_factory=dict, hash=False)
    code: dict[str, str] = field(default_factory=dict, hash=False)
    frozen: tuple[str, ...] | None = None
    keep: tuple[str, ...] = ()

    def dense(self) -> NetworkSpec:
        """Return the specification of the unpruned network."""
        return NetworkSpec(
            self.name,
            self.num_classes,
            self.image_size,
            self.in_channels,
            self.image_size,
            code=self.code,
            keep=self.keep,
        )

    def __post_init__(self) -> None:
        if self.side > self.image_size:
            raise ValueError(f"side is {self.side}, but image_size is {self.image_size}")

"""The specification from which a network, pruned or not, is rebuilt."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from prune3d.errors import CheckpointError


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
        Shape of each layer that is not the dense one's: of its weight, or of a norm's channels.
    """

    name: str
    num_classes: int
    image_size: int
    in_channels: int
    side: int
    removed_blocks: tuple[str, ...] = ()
    replaced: dict[str, str] = field(default_factory=dict, hash=False)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict, hash=False)

    def dense(self) -> NetworkSpec:
        """Return the specification of the unpruned network."""
        return NetworkSpec(
            self.name, self.num_classes, self.image_size, self.in_channels, self.image_size
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> NetworkSpec:
        """Read what `to_dict` gave.

        Raises
        ------
        CheckpointError
            If keys are missing or unknown, or a value has the wrong type.
        """
        try:
            shapes = {str(k): tuple(int(n) for n in v) for k, v in value["shapes"].items()}
            removed = tuple(str(name) for name in value["removed_blocks"])
            replaced = {str(k): str(v) for k, v in value["replaced"].items()}
            pruned = {"removed_blocks": removed, "replaced": replaced, "shapes": shapes}
            return cls(**{**value, **pruned})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the specification of the network cannot be read ({error})."
            ) from None

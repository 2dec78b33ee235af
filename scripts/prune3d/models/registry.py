"""The models that can be named, and the facts about them that need no torch."""

from __future__ import annotations

from dataclasses import dataclass

from prune3d.errors import UserError


@dataclass(frozen=True)
class ModelFacts:
    """What can be known of a model without building it.

    Attributes
    ----------
    factory
        ``module:function`` that builds it from (*arguments, num_classes, in_channels).
    arguments
        The factory's first arguments.
    blocks
        Number of blocks that depth counts.
    removable
        How many of them can be removed: those whose input and output shapes agree.
    groups
        Channels of each group of layers that must keep the same channels.
    smallest_side
        Smallest image side in pixels that the network takes.
    """

    factory: str
    arguments: tuple[int, ...]
    blocks: int
    removable: int
    groups: tuple[int, ...]
    smallest_side: int = 1

    @property
    def fewest_blocks(self) -> int:
        """Blocks that are left when every removable one is gone."""
        return self.blocks - self.removable


def _cifar_resnet(layers: int) -> ModelFacts:
    blocks = (layers - 2) // 2
    # In each stage the residual stream, and the inside of every block.
    groups = tuple(width for width in (16, 32, 64) for _ in range(blocks // 3 + 1))
    return ModelFacts("prune3d.models.cifar_resnet:resnet", (layers,), blocks, blocks - 2, groups)


MODELS: dict[str, ModelFacts] = {
    f"resnet{layers}": _cifar_resnet(layers) for layers in (8, 14, 20, 32, 44, 56, 110)
}


def facts(name: str) -> ModelFacts:
    """Return the facts of a registered model.

    Raises
    ------
    UserError
        If there is no model of that name.
    """
    if name not in MODELS:
        raise UserError(f"unknown model '{name}'; registered are: {', '.join(MODELS)}.")
    return MODELS[name]

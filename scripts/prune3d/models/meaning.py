"""What a network's inputs and outputs mean: the classes, and how pictures become numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from prune3d.models.attached import attach, attached

if TYPE_CHECKING:
    from torch import nn

Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
# How a picture becomes a square of the network's side, the same for all networks so far.
Resize = Literal["central square, bilinear, antialiased"]
RESIZE: Resize = "central square, bilinear, antialiased"


@dataclass(frozen=True)
class Meaning:
    """What is known of it; None where nothing is.

    Attributes
    ----------
    classes
        Names of the classes, the first one that of the first logit.
    mean, spread
        Of each channel over the training images, pixels in [0, 1]; inputs are
        (pixel - mean) / spread, the spread being at least 1e-6.
    crop
        Part of a picture's shorter side that the central square keeps which becomes an image.
    stored_side
        Side in pixels of the bytes that this square becomes before it is resized to the network's
        side; None where it is resized once.
    """

    classes: tuple[str, ...] | None = None
    mean: tuple[Finite, ...] | None = None
    spread: tuple[NonNegative, ...] | None = None
    crop: Annotated[float, Field(gt=0, le=1)] | None = None
    stored_side: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @property
    def resize(self) -> Resize | None:
        """How pictures are resized, where they can become inputs."""
        return None if self.mean is None else RESIZE


def get_meaning(model: nn.Module) -> Meaning:
    """Return what is known of a network's inputs and outputs."""
    meaning: Meaning = attached(model, "meaning", Meaning())
    return meaning


def set_meaning(model: nn.Module, meaning: Meaning) -> None:
    """Attach it to a network; pruned copies and saved files keep it."""
    attach(model, "meaning", meaning)

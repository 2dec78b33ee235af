"""From picture files to a network's inputs, as in training. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.data.source import SMALLEST_SPREAD
from prune3d.errors import UserError
from prune3d.models.meaning import RESIZE


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes an input.

    Attributes
    ----------
    side, channels
        Of the input; 1 for grey, 3 for colour.
    mean, spread
        Of each channel, pixels in [0, 1].
    crop, stored_side
        See `prune3d.models.meaning.Meaning`.
    """

    side: int
    channels: int
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    crop: float = 1.0
    stored_side: int | None = None

    @classmethod
    def of(cls, known: Mapping[str, Any], side: int, channels: int, file: object) -> Preprocessing:
        """Take it from what is known of a network's inputs.

        Raises
        ------
        UserError
            If mean and spread are not known or are not those of the channels, or pictures are
            resized by another rule.
        """
        resize = known.get("resize", RESIZE)
        if resize != RESIZE:
            raise UserError(
                f"{file} says that pictures are resized by '{resize}'; this prune3d knows "
                f"'{RESIZE}' alone."
            )
        mean, spread = known.get("mean"), known.get("spread")
        if mean is None or spread is None:
            raise UserError(
                f"{file} does not say mean and spread of its training images, so that pictures "
                "cannot become its inputs; networks that prune3d trained or pruned with images do."
            )
        if not len(mean) == len(spread) == channels or channels not in (1, 3):
            raise UserError(
                f"{file} takes images of {channels} channels and tells a mean of {len(mean)} and a "
                f"spread of {len(spread)}; allowed for pictures is 1 or 3 of each."
            )
        crop = known.get("crop") or 1.0
        stored = known.get("stored_side")
        return cls(side, channels, tuple(mean), tuple(spread), crop, stored)

    def read(self, path: Path) -> NDArray[np.float32]:
        """Return a picture file as an input.

        Returns
        -------
        ndarray of float32 of shape (channels, side, side)

        Raises
        ------
        UserError
            If the file cannot be read as a picture, with its name.
        """
        from prune3d.data.pictures import decode_square

        pixels = decode_square(path, self.stored_side or self.side, self.crop)
        if self.channels == 1:
            pixels = to_grey(pixels)
        values = pixels.astype(np.float32) / np.float32(255)
        if self.stored_side not in (None, self.side):
            rows = triangles(pixels.shape[1], self.side)
            values = rows @ values @ rows.T
        mean, spread = (np.array(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.spread))
        return np.ascontiguousarray((values - mean) / np.maximum(spread, SMALLEST_SPREAD))


def triangles(size: int, side: int) -> NDArray[np.float32]:
    """Return the weights, shape (side, size), of bilinear resizing with antialiasing."""
    scale = size / side
    centres = (np.arange(side)[:, None] + 0.5) * scale
    places = np.arange(size)[None] + 0.5
    weights = np.maximum(1 - np.abs(places - centres) / max(scale, 1.0), 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def to_grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture of shape (3, height, width) in grey, shape (1, height, width)."""
    from PIL import Image

    if (pixels == pixels[:1]).all():
        return pixels[:1]
    return np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L"))[None]

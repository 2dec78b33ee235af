"""The data sets that can be named, and the facts about them that need no image. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from prune3d.errors import UserError


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is read.

    Attributes
    ----------
    reader
        ``module:function`` that returns a `prune3d.data.split.Labelled`.
    side
        Side of the square images in pixels.
    channels
        1 for grey, 3 for colour.
    classes
        Names of the classes; a label is an index into them.
    images
        Number of images, the test images included.
    """

    reader: str
    side: int
    channels: int
    classes: tuple[str, ...]
    images: int


DATASETS = {
    "digits": DatasetFacts("prune3d.data.digits:read", 8, 1, tuple("0123456789"), 1797),
}


def facts(name: str) -> DatasetFacts:
    """Return the facts of a registered data set.

    Raises
    ------
    UserError
        If there is no data set of that name.
    """
    if name not in DATASETS:
        raise UserError(f"unknown data set '{name}'; known are: {', '.join(DATASETS)}.")
    return DATASETS[name]


def held_out(fraction: float, images: int, classes: int) -> int:
    """Return how many images a fraction holds out.

    Raises
    ------
    UserError
        If a part could not have an image of each class.
    """
    held = math.ceil(fraction * images)
    if not classes <= held <= images - classes:
        raise UserError(
            f"a fraction of {fraction} of {images} images holds out {held}, but both parts need "
            f"at least one image of each of the {classes} classes."
        )
    return held

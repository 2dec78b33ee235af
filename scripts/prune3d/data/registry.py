"""The data sets that can be named, and the facts about them that need no image. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prune3d.data.folders import class_names, layout
from prune3d.data.settings import DataSettings
from prune3d.errors import UserError

# Mean and spread that torchvision's networks trained on ImageNet expect (its documentation of
# pretrained weights), of pixels in [0, 1].
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SMALLEST_GLYPHS = 8
# What `glyphs` can be told to draw, in this order: no two that look alike when turned a little.
CHARACTERS = "AEFGHKMNRXBDCJLPSTUVYZ23456789abdefghkmnqrtyQWΓΔΘΛΞΠΣΦΨΩβδζηλμξπφψω&@#%?!"


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before its images are read.

    Attributes
    ----------
    side
        Side of the square images in pixels.
    channels
        1 for grey, 3 for colour.
    classes
        Number of classes.
    images
        Number of images from which those for training and selection are taken, or None where only
        a walk through a folder tells.
    test_images
        Number of the data set's own test images, 0 where it has none, or None.
    crop
        Part of a picture's shorter side that the central square keeps, in (0, 1].
    """

    side: int
    channels: int
    classes: int
    images: int | None
    test_images: int | None
    crop: float = 1.0


@dataclass(frozen=True)
class Dataset:
    """A registered data set.

    Attributes
    ----------
    reader
        ``module:function`` from `DataSettings`, and whether files may be fetched, to a
        `prune3d.data.source.Source`.
    facts
        From `DataSettings` to the facts.
    uses
        The settings that it depends on, beside those that all do: name, ``selection_fraction``
        and ``normalization``.
    """

    reader: str
    facts: Callable[[DataSettings], DatasetFacts]
    uses: frozenset[str]

    @property
    def is_pictures(self) -> bool:
        """Whether it consists of picture files, which take long to read."""
        return self.uses >= PICTURE_FILES


def facts(settings: DataSettings) -> DatasetFacts:
    """Return the facts of a registered data set.

    Raises
    ------
    UserError
        If there is no data set of that name, or none as the settings ask for.
    """
    if settings.name not in DATASETS:
        raise UserError(f"unknown data set '{settings.name}'; known are: {', '.join(DATASETS)}.")
    known = DATASETS[settings.name].facts(settings)
    if settings.normalization == "imagenet" and known.channels != 3:
        raise UserError(
            f"normalization is 'imagenet', which is for images in colour; those of "
            f"'{settings.name}' are grey."
        )
    return known


def _always(known: DatasetFacts) -> Callable[[DataSettings], DatasetFacts]:
    """Return the facts of a data set whose images have one size."""

    def look_up(settings: DataSettings) -> DatasetFacts:
        if settings.side not in (None, known.side):
            raise UserError(
                f"side is {settings.side}, but the images of '{settings.name}' have {known.side} "
                "pixels; leave the key out."
            )
        return known

    return look_up


def _glyphs(settings: DataSettings) -> DatasetFacts:
    how = settings.glyphs
    if settings.side is None or settings.side < SMALLEST_GLYPHS:
        raise UserError(
            f"side is {settings.side}; the data set 'glyphs' is drawn at any side of at least "
            f"{SMALLEST_GLYPHS} pixels."
        )
    if how.classes > len(CHARACTERS):
        raise UserError(
            f"glyphs.classes is {how.classes}; allowed is at most {len(CHARACTERS)}, the number "
            "of characters."
        )
    if how.test_images < how.classes:
        raise UserError(
            f"glyphs.test_images is {how.test_images}; allowed is at least one of each of the "
            f"{how.classes} classes."
        )
    return DatasetFacts(settings.side, 3, how.classes, how.images, how.test_images)


def _imagenet(settings: DataSettings) -> DatasetFacts:
    return DatasetFacts(settings.side or 224, 3, 1000, 1_281_167, 50_000, crop=0.875)


def _imagefolder(settings: DataSettings) -> DatasetFacts:
    if settings.side is None:
        raise UserError("side is empty; the data set 'imagefolder' needs the side in pixels.")
    train, test = layout(Path(settings.root))
    # Only a walk through the folders would tell how many pictures there are.
    images = None
    return DatasetFacts(settings.side, 3, len(class_names(train)), images, None if test else 0)


PICTURE_FILES = frozenset({"root", "resident_gb"})
DATASETS = {
    "digits": Dataset(
        "prune3d.data.digits:read",
        _always(DatasetFacts(8, 1, 10, 1797, 0)),
        frozenset({"test_fraction"}),
    ),
    "glyphs": Dataset("prune3d.data.glyphs:read", _glyphs, frozenset({"side", "glyphs"})),
    "cifar10": Dataset(
        "prune3d.data.cifar:read",
        _always(DatasetFacts(32, 3, 10, 50_000, 10_000)),
        frozenset({"root"}),
    ),
    "cifar100": Dataset(
        "prune3d.data.cifar:read",
        _always(DatasetFacts(32, 3, 100, 50_000, 10_000)),
        frozenset({"root"}),
    ),
    "tiny-imagenet": Dataset(
        "prune3d.data.tiny_imagenet:read",
        _always(DatasetFacts(64, 3, 200, 100_000, 10_000)),
        PICTURE_FILES,
    ),
    "imagenet": Dataset("prune3d.data.imagenet:read", _imagenet, PICTURE_FILES | {"side"}),
    "imagefolder": Dataset(
        "prune3d.data.folders:read", _imagefolder, PICTURE_FILES | {"side", "test_fraction"}
    ),
}


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
            f"at least one image of each of the {classes} classes; "
            + _fractions_allowed(images, classes)
        )
    return held


def _fractions_allowed(images: int, classes: int) -> str:
    least, most = classes / images, 1 - classes / images
    if least > most:
        return f"give at least {2 * classes} images."
    # Rounded down: a fraction holds out the next whole number of images.
    ends = (math.floor(end * 10**7) / 10**7 for end in (least, most))
    return "allowed is a fraction from {} to {}, or more images.".format(*ends)

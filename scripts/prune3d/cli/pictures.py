"""Folders of pictures as they are named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prune3d.data.folders import class_names, layout, list_pictures
from prune3d.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from prune3d.data.images import ImageSplits


def parts_of(folder: Path) -> tuple[Path, Path | None]:
    """Return the folders of training and of test pictures, see `prune3d.data.folders.layout`.

    Raises
    ------
    UserError
        If it is no folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give one that holds a folder for each class.")
    return layout(folder)


def labelled(
    folder: Path, classes: Sequence[str] | None, num_classes: int
) -> tuple[list[Path], NDArray[np.int64]]:
    """Return the pictures of class folders with the labels that a network gives them.

    Parameters
    ----------
    folder
        Holds a folder of each class, or ``train`` and ``test`` (or ``val``), of which the latter is
        taken.
    classes
        Names of the classes in the order of the logits, or None for the folders in order.
    num_classes
        Number of logits.

    Raises
    ------
    UserError
        If a folder is no class of the network, or the names are not known and their number differs.
    """
    train, test = parts_of(folder)
    place = test or train
    if test is None and train != folder:
        raise UserError(f"{folder} has a folder 'train' and neither 'test' nor 'val'; give one.")
    names = class_names(place)
    order = _places(names, classes, num_classes, place)
    found = list_pictures(place, place, names)
    paths = [found.path(i) for i in range(len(found.names))]
    return paths, np.array(order, np.int64)[found.labels]


def _places(
    names: Sequence[str], classes: Sequence[str] | None, num_classes: int, place: Path
) -> list[int]:
    if classes is None:
        if len(names) != num_classes:
            raise UserError(
                f"{place} has {len(names)} class folders, but the network gives {num_classes} "
                "logits and does not tell the names of its classes."
            )
        return list(range(num_classes))
    strange = next((name for name in names if name not in classes), None)
    if strange is not None:
        shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        raise UserError(f"{place / strange} is no class of the network; its classes are: {shown}.")
    return [list(classes).index(name) for name in names]


def some_inputs(file: Path, folder: Path) -> list[NDArray[np.float32]]:
    """Return training pictures, evenly spaced over the classes, as inputs of an ONNX file."""
    from prune3d.export.classifier import open_classifier
    from prune3d.export.int8 import CALIBRATED

    classifier = open_classifier(file)
    train, _ = parts_of(folder)
    found = list_pictures(train, train, class_names(train))
    chosen = np.linspace(0, len(found.names) - 1, min(len(found.names), CALIBRATED))
    return [classifier.read(found.path(int(i))) for i in chosen]


def splits_for(model: nn.Module, folder: Path, normalization: str) -> ImageSplits:
    """Read training and selection pictures as a network takes them; what it lacks it is told.

    A fifth of the training pictures are for the selection. Test pictures are not looked at.

    Raises
    ------
    UserError
        If the pictures cannot be read, or their classes are not the network's.
    """
    import torch

    from prune3d.data.images import ImageSet, ImageSplits
    from prune3d.data.settings import DataSettings
    from prune3d.data.source import Labelled
    from prune3d.data.split import Fractions, prepare, statistics
    from prune3d.export.preprocessing import to_grey
    from prune3d.models.assembly import get_spec
    from prune3d.models.meaning import get_meaning, set_meaning

    parts_of(folder)
    spec, meaning = get_spec(model), get_meaning(model)
    if spec.in_channels not in (1, 3):
        raise UserError(
            f"{spec.name} takes images of {spec.in_channels} channels; allowed for pictures is 1 "
            "(grey) or 3 (colour)."
        )
    is_grey = spec.in_channels == 1
    settings = DataSettings(
        "imagefolder", str(folder), spec.image_size, float("inf"), normalization
    )
    found = prepare(settings, Fractions(0.2, 0.2), seed=0)
    about = found.about
    places = _places(about.classes, meaning.classes, spec.num_classes, folder)
    read: dict[str, Labelled] = {}
    for name in ("train", "selection"):
        part = found.parts[name]
        assert isinstance(part, Labelled)
        pixels = np.stack([to_grey(image) for image in part.images]) if is_grey else part.images
        read[name] = Labelled(pixels, np.array(places)[part.labels])
    if meaning.mean is None or meaning.spread is None:
        if is_grey and normalization != "own":
            raise UserError(
                f"{spec.name} takes grey images; --normalization {normalization} is of colours."
            )
        mean, spread = statistics(read["train"]) if is_grey else (about.mean, about.spread)
        meaning = replace(
            meaning,
            classes=meaning.classes or about.classes,
            mean=mean,
            spread=spread,
            crop=about.crop,
            stored_side=about.side,
        )
        set_meaning(model, meaning)
    mean, spread = meaning.mean or (), meaning.spread or ()
    parts = {
        name: ImageSet(torch.from_numpy(part.images), torch.from_numpy(part.labels), mean, spread)
        for name, part in read.items()
    }
    return ImageSplits(**parts)

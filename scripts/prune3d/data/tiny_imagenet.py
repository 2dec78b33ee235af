"""Tiny ImageNet (Stanford CS231n, 2015): 200 classes of ImageNet at 64x64 pixels.

Its validation images are the test images here; its own test images have no published labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prune3d.data.archives import Archive, unpacked
from prune3d.data.folders import entries, list_pictures
from prune3d.data.settings import DataSettings
from prune3d.data.source import Listed, Source
from prune3d.errors import UserError

FOLDER = "tiny-imagenet-200"
# The source publishes no checksum; this one is Avalanche's (avalanche-lib, tiny_imagenet.py).
ARCHIVE = Archive(
    "tiny-imagenet-200.zip",
    "90528d7ca1a48142e341f4ef8d21d0de",
    248_100_043,
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
)


def read(settings: DataSettings, download: bool) -> Source:
    """List the pictures; labels of the validation images come from val_annotations.txt."""
    root = Path(settings.root)
    folder = unpacked(root, FOLDER, ARCHIVE, download)
    classes = tuple(sorted(_lines(folder / "wnids.txt")))
    train = list_pictures(root, folder / "train", classes, "images")
    return Source(train, list_validation(root, folder / "val", classes), classes)


def list_validation(root: Path, folder: Path, classes: tuple[str, ...]) -> Listed:
    """List the validation images in the order of val_annotations.txt.

    Raises
    ------
    UserError
        If a line names an unknown class, or pictures and lines do not match.
    """
    annotations = folder / "val_annotations.txt"
    labels = {}
    for number, line in enumerate(_lines(annotations), start=1):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0]
        if label not in classes:
            raise UserError(f"{annotations}, line {number}: there is no class '{label}'.")
        labels[name] = classes.index(label)
    pictures = {path.name for path in entries(folder / "images")}
    for name in sorted(pictures ^ labels.keys()):
        where = "a picture without a line" if name in pictures else "a line without a picture"
        raise UserError(f"{folder / 'images' / name} is {where} in {annotations}.")
    prefix = (folder / "images").relative_to(root)
    names = tuple(str(prefix / name) for name in labels)
    return Listed(root, names, np.array(list(labels.values()), np.int64))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise UserError(f"{path} cannot be read; unpack the data set again.") from None

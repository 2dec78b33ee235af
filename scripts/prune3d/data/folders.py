"""Picture files in class folders, and the data set `imagefolder`: one's own classes.

Nothing is left out silently, as torchvision's ImageFolder leaves out files by their ending: what is
not understood is refused by name. Only entries that begin with a dot are passed over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prune3d.errors import UserError

if TYPE_CHECKING:
    from prune3d.data.settings import DataSettings
    from prune3d.data.source import Listed, Source

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TEST_FOLDERS = ("test", "val")


def read(settings: DataSettings, download: bool) -> Source:
    """List the pictures of `imagefolder`; see `layout`."""
    from prune3d.data.source import Source

    root = Path(settings.root)
    train_folder, test_folder = layout(root)
    classes = class_names(train_folder)
    train = list_pictures(root, train_folder, classes)
    if test_folder is None:
        return Source(train, None, classes)
    check_same_classes(train_folder, classes, test_folder)
    return Source(train, list_pictures(root, test_folder, classes), classes)


def layout(root: Path) -> tuple[Path, Path | None]:
    """Return the folders with the classes of training and test images.

    Either ``root/{train,test or val}/{class}/...`` or, with no test images of its own,
    ``root/{class}/...``.

    Raises
    ------
    UserError
        If there is no such folder, or it mixes the two.
    """
    if not root.is_dir():
        raise UserError(f"root is {root}, which is no folder.")
    folders = {path.name for path in entries(root) if path.is_dir()}
    if "train" not in folders:
        return root, None
    strange = sorted(folders - {"train", *TEST_FOLDERS})
    if strange:
        raise UserError(
            f"{root} has a folder 'train' and also '{strange[0]}'; allowed beside 'train' are "
            "'test' or 'val'."
        )
    tests = sorted(folders - {"train"})
    if len(tests) > 1:
        raise UserError(
            f"{root} has both 'test' and 'val'; selection images are a part of 'train', so keep "
            "one of the two for the test and move the other's images into 'train' or away."
        )
    return root / "train", root / tests[0] if tests else None


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders, sorted: a label is an index into them.

    Raises
    ------
    UserError
        If there are less than two, or a file lies beside them.
    """
    inside = entries(folder)
    loose = next((path for path in inside if not path.is_dir()), None)
    if loose is not None:
        raise UserError(f"{loose} lies beside the class folders; move it into one or away.")
    if len(inside) < 2:
        raise UserError(f"{folder} has {len(inside)} class folders; at least two are needed.")
    return tuple(path.name for path in inside)


def check_same_classes(train: Path, classes: tuple[str, ...], test: Path) -> None:
    """Refuse test images of other classes than the training images."""
    for name in class_names(test):
        if name not in classes:
            raise UserError(f"{test / name} is no class of {train}; there is no such folder there.")
    for name in classes:
        if not (test / name).is_dir():
            raise UserError(f"{test / name} does not exist, but {train / name} does.")


def list_pictures(root: Path, folder: Path, classes: tuple[str, ...], inside: str = "") -> Listed:
    """List the pictures of every class, also those in folders within the class folder.

    Parameters
    ----------
    root
        Folder that the listed names start from.
    folder
        Holds a folder of each class.
    classes
        Names of the class folders.
    inside
        Folder within each class folder that holds its pictures.

    Raises
    ------
    UserError
        If a class has no picture, or a file is no picture by its name.
    """
    from prune3d.data.source import Listed

    names: list[str] = []
    counts = []
    for name in classes:
        found = _pictures_in(folder / name / inside)
        counts.append(len(found))
        names += (os.path.relpath(path, root) for path in found)
    return Listed(root, tuple(names), np.repeat(np.arange(len(classes), dtype=np.int64), counts))


def _pictures_in(folder: Path) -> list[str]:
    found = []
    for place, inner, files in os.walk(folder, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for file in sorted(name for name in files if not name.startswith(".")):
            path = os.path.join(place, file)  # noqa: PTH118 - a million Paths take seconds
            if not file.lower().endswith(PICTURES):
                raise UserError(
                    f"{path} is no picture by its name; allowed in a class folder are "
                    f"{', '.join(PICTURES)}."
                )
            found.append(path)
    if not found:
        raise UserError(f"{folder} is a class folder without a picture; fill or remove it.")
    return found


def entries(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name, but for names that begin with a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))

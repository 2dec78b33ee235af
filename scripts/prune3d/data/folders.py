"""Picture files in class folders, and the data set `imagefolder`: one's own classes.

Nothing is left out silently, as torchvision's ImageFolder leaves out files by their ending: what is
not understood is refused by name. Only entries that begin with a dot are passed over.

A label is the place of its class in the names sorted as text, as torchvision does: ``10`` comes
before ``2``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prune3d.errors import UserError

if TYPE_CHECKING:
    from prune3d.data.settings import DataSettings
    from prune3d.data.source import Listed, Source

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TEST_FOLDERS = ("test", "val")
# What the parts of a data set are called, less figures, signs and words such as "set".
PART_NAMES = frozenset(
    (
        *("train", "training", "trn", "trainval", "dev", "holdout", "heldout"),
        *("val", "valid", "validate", "validating", "validation"),
        *("test", "testing", "tst", "eval", "evaluate", "evaluation"),
    )
)
_FILLERS = re.compile(r"[\W\d_]+|data|folder|images?|imgs?|pictures?|sets?|splits?|subsets?", re.I)
# What systems leave in folders of pictures; thumbnails in them would pass for pictures.
LITTER = frozenset({"@eadir", "#recycle", "$recycle.bin", "__macosx", "lost+found"})


def read(settings: DataSettings, download: bool) -> Source:
    """List the pictures of `imagefolder`; see `layout`."""
    from prune3d.data.source import Source

    root = Path(settings.root)
    train_folder, test_folder = layout(root)
    classes = class_names(train_folder)
    seen: dict[str, str] = {}
    train = list_pictures(root, train_folder, classes, seen=seen)
    if test_folder is None:
        return Source(train, None, classes)
    check_same_classes(train_folder, classes, test_folder)
    return Source(train, list_pictures(root, test_folder, classes, seen=seen), classes)


def layout(root: Path) -> tuple[Path, Path | None]:
    """Return the folders with the classes of training and test images.

    Either ``root/{train,test or val}/{class}/...`` or, with no test images of its own,
    ``root/{class}/...``.

    Raises
    ------
    UserError
        If there is no such folder, or it mixes the two, or its folders are named like parts of a
        data set in another way.
    """
    if not root.is_dir():
        raise UserError(f"root is {root}, which is no folder.")
    folders = {path.name for path in entries(root) if path.is_dir()}
    if "train" not in folders:
        for name in sorted(folders):
            if names_a_part(name):
                raise UserError(
                    f"{root / name} is named like a part of a data set, not like a class; allowed "
                    "are the folders 'train' and 'test' (or 'val'), written so, or classes alone."
                )
        return root, None
    strange = sorted(folders - {"train", *TEST_FOLDERS})
    if strange:
        raise UserError(
            f"{root} has a folder 'train' and also '{strange[0]}'; allowed beside 'train' are "
            "'test' or 'val' (if it is a class, put all classes into one more folder 'train')."
        )
    tests = sorted(folders - {"train"})
    if len(tests) > 1:
        raise UserError(
            f"{root} has both 'test' and 'val'; selection images are a part of 'train', so keep "
            "one of the two for the test and move the other's images into 'train' or away."
        )
    return root / "train", root / tests[0] if tests else None


def names_a_part(name: str) -> bool:
    """Tell whether a folder's name means a part of a data set, as ``Training`` does.

    >>> [names_a_part(n) for n in ("Training", "val2017", "TEST-images", "trainers", "set")]
    [True, True, True, False, False]
    """
    return _FILLERS.sub("", name).lower() in PART_NAMES


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders, sorted as text: a label is an index into them.

    Raises
    ------
    UserError
        If there are less than two, a file lies beside them, or one is no class by its name.
    """
    inside = entries(folder)
    loose = next((path for path in inside if not path.is_dir()), None)
    if loose is not None:
        raise UserError(f"{loose} lies beside the class folders; move it into one or away.")
    if len(inside) < 2:
        raise UserError(
            f"{folder} has {len(inside)} class folders; at least two are needed"
            + (f" (if they are in {inside[0]}, give that as root)." if inside else ".")
        )
    for path in inside:
        _refuse_litter(path)
    if all(names_a_part(path.name) for path in inside):
        raise UserError(
            f"{folder} holds parts of a data set ('{inside[0].name}', '{inside[1].name}'), not "
            "classes; allowed in root are 'train' and 'test' (or 'val') with the classes in both."
        )
    return tuple(path.name for path in inside)


def check_same_classes(train: Path, classes: tuple[str, ...], test: Path) -> None:
    """Refuse test images of other classes than the training images."""
    for name in class_names(test):
        if name not in classes:
            raise UserError(f"{test / name} is no class of {train}; there is no such folder there.")
    for name in classes:
        if not (test / name).is_dir():
            raise UserError(f"{test / name} does not exist, but {train / name} does.")


def list_pictures(
    root: Path,
    folder: Path,
    classes: tuple[str, ...],
    inside: str = "",
    seen: dict[str, str] | None = None,
) -> Listed:
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
    seen
        Folders that were listed before, of another part of the data set: by real path, how they
        were named. Added to.

    Raises
    ------
    UserError
        If a class has no picture, a file is no picture by its name, or a folder is met twice.
    """
    from prune3d.data.source import Listed

    names: list[str] = []
    counts = []
    seen = {} if seen is None else seen
    for name in classes:
        found = _pictures_in(folder / name / inside, seen)
        counts.append(len(found))
        names += (os.path.relpath(path, root) for path in found)
    return Listed(root, tuple(names), np.repeat(np.arange(len(classes), dtype=np.int64), counts))


def _pictures_in(folder: Path, seen: dict[str, str]) -> list[str]:
    """Return the pictures below a folder; `seen` has the folders that were listed already."""
    found = []
    for place, inner, files in _walk(folder, seen):
        for file in files:
            path = os.path.join(place, file)  # noqa: PTH118 - a million Paths take seconds
            if not file.lower().endswith(PICTURES):
                raise UserError(
                    f"{path} is no picture by its name; allowed in a class folder are "
                    f"{', '.join(PICTURES)}."
                )
            found.append(path)
        if place == str(folder) and inner and not files:
            raise UserError(
                f"{folder} is a class folder that holds only folders, such as '{inner[0]}'; put "
                "pictures into it, or give the folder of the classes as root."
            )
    if not found:
        raise UserError(f"{folder} is a class folder without a picture; fill or remove it.")
    return found


def _walk(folder: Path, seen: dict[str, str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk through a folder and what is linked in it, each folder once, in the order of names.

    Raises
    ------
    UserError
        If a folder cannot be read, is litter, or was met before, as a link can lead back to it.
    """
    for place, inner, files in os.walk(folder, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(place)
        if real in seen:
            raise UserError(
                f"{place} is the same folder as {seen[real]}, so that its pictures would count "
                "twice; remove the link."
            )
        seen[real] = place
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in inner:
            _refuse_litter(Path(place) / name)
        yield place, inner, sorted(name for name in files if not name.startswith("."))


def _refuse_litter(path: Path) -> None:
    if path.name.lower() in LITTER:
        raise UserError(f"{path} was left by a system and is no folder of pictures; remove it.")


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read ({error.strerror}).") from None


def entries(folder: Path) -> list[Path]:
    """Return what a folder holds, sorted by name, but for names that begin with a dot.

    Raises
    ------
    UserError
        If the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}).") from None

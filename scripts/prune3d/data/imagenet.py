"""ImageNet (ILSVRC 2012): 1,000 classes, 1,281,167 training and 50,000 validation images.

Its validation images are the test images here; its own test images have no published labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prune3d.data.archives import Archive, make_once, not_published
from prune3d.data.folders import check_same_classes, class_names, list_pictures
from prune3d.data.settings import DataSettings
from prune3d.data.source import Source
from prune3d.errors import UserError

# Bytes of the archives; names and checksums are known to torchvision.
SIZES = {"train": 147_897_477_120, "val": 6_744_924_160, "devkit": 2_568_145}


def read(settings: DataSettings, download: bool) -> Source:
    """List the pictures in ``train/{class}`` and ``val/{class}``, unpacking the archives first.

    The folders are those that torchvision makes of the archives, and everybody else too.
    """
    root = Path(settings.root)
    train_folder, test_folder = root / "train", root / "val"
    if not (train_folder.is_dir() and test_folder.is_dir()):
        unpack(root)
    classes = class_names(train_folder)
    check_same_classes(train_folder, classes, test_folder)
    train = list_pictures(root, train_folder, classes)
    return Source(train, list_pictures(root, test_folder, classes), classes)


def archives() -> dict[str, Archive]:
    """Return the three archives."""
    from torchvision.datasets.imagenet import ARCHIVE_META

    return {
        part: Archive(ARCHIVE_META[part][0], ARCHIVE_META[part][1], SIZES[part]) for part in SIZES
    }


def unpack(root: Path) -> None:
    """Unpack the archives by torchvision's functions, which verify their checksums.

    Raises
    ------
    UserError
        If an archive is missing or is not the published one.
    """
    from torchvision.datasets import imagenet

    known = archives()
    missing = [archive for archive in known.values() if not (root / archive.name).exists()]
    if missing:
        raise UserError(
            f"{root} has not the folders train and val with a folder of pictures for each class, "
            f"and to make them misses {', '.join(map(str, missing))}; they are at "
            "https://image-net.org/download for those who register."
        )
    paths = {part: str((root / archive.name).resolve()) for part, archive in known.items()}

    def make_train(place: Path) -> None:
        with _telling(root, known["train"]):
            imagenet.parse_train_archive(place, paths["train"])
        (place / "train").rename(root / "train")

    def make_val(place: Path) -> None:
        with _telling(root, known["devkit"]):
            imagenet.parse_devkit_archive(place, paths["devkit"])
        labels = imagenet.load_meta_file(place)[1]
        with _telling(root, known["val"]):
            imagenet.parse_val_archive(place, paths["val"], labels)
        (place / "val").rename(root / "val")

    make_once(root, root / "train", make_train)
    make_once(root, root / "val", make_val)


@contextmanager
def _telling(root: Path, archive: Archive) -> Iterator[None]:
    try:
        yield
    except RuntimeError:
        raise not_published(root, archive) from None

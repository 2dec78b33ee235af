"""CIFAR-10 and CIFAR-100 (A. Krizhevsky, 2009): 60,000 colour images of 32x32 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from prune3d.data.archives import Archive, unpacked
from prune3d.data.settings import DataSettings
from prune3d.data.source import Labelled, Source
from prune3d.errors import UserError

# Bytes of the archives; everything else is known to torchvision.
SIZES = {"cifar10": 170_498_071, "cifar100": 169_001_437}


def read(settings: DataSettings, download: bool) -> Source:
    """Return all images, by torchvision's reader, which checks the MD5 of every file."""
    from torchvision.datasets import CIFAR10, CIFAR100

    kind: Any = {"cifar10": CIFAR10, "cifar100": CIFAR100}[settings.name]
    root = Path(settings.root)
    archive = Archive(kind.filename, kind.tgz_md5, SIZES[settings.name], kind.url)
    check_files(unpacked(root, kind.base_folder, archive, download), kind)
    train, test = kind(root, train=True), kind(root, train=False)
    return Source(_labelled(train), _labelled(test), tuple(train.classes))


def check_files(folder: Path, kind: Any) -> None:
    """Refuse a file that is missing or has another checksum than the published one.

    The files are pickles, which must not be read before their checksum is known.
    """
    from torchvision.datasets.utils import check_md5

    published = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    for name, md5 in published:
        path = folder / name
        if not path.exists():
            raise UserError(f"{path} does not exist; remove {folder} and unpack it again.")
        if not check_md5(str(path), md5):
            raise UserError(
                f"{path} has not the published MD5 {md5}; remove {folder} and unpack it again."
            )


def _labelled(data: Any) -> Labelled:
    pixels = np.ascontiguousarray(np.asarray(data.data, np.uint8).transpose(0, 3, 1, 2))
    return Labelled(pixels, np.asarray(data.targets, np.int64))

"""Small data sets in the formats of published ones, for tests."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WNIDS = ("n01443537", "n01629819", "n04399382")
CIFAR_CLASSES = ("a", "b", "c", "d")


def md5(path: Path) -> str:
    """Return a file's checksum."""
    return hashlib.md5(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Cifar:
    """What was written in the place of CIFAR's files.

    Attributes
    ----------
    folder
        Where they lie.
    known
        The attributes of torchvision's class that tell files and checksums.
    written
        For the training and the test images the label of each one's bytes.
    """

    folder: Path
    known: dict[str, Any]
    written: dict[str, dict[bytes, int]]


def write_cifar(root: Path, kind: Any, images: int = 8) -> Cifar:
    """Write the files of torchvision's CIFAR10 or CIFAR100, with some images in each."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    key = "labels" if kind.meta["key"] == "label_names" else "fine_labels"
    written: dict[str, dict[bytes, int]] = {"train": {}, "test": {}}

    def write(file: str, split: str) -> list[str]:
        pixels = rng.integers(0, 256, (images, 3 * 32 * 32), dtype=np.uint8)
        labels = [i % len(CIFAR_CLASSES) for i in range(images)]
        written[split].update({p.tobytes(): n for p, n in zip(pixels, labels, strict=True)})
        (folder / file).write_bytes(pickle.dumps({"data": pixels, key: labels}, protocol=2))
        return [file, md5(folder / file)]

    meta = folder / kind.meta["filename"]
    meta.write_bytes(pickle.dumps({kind.meta["key"]: list(CIFAR_CLASSES)}, protocol=2))
    known = {
        "train_list": [write(file, "train") for file, _ in kind.train_list],
        "test_list": [write(file, "test") for file, _ in kind.test_list],
        "meta": {**kind.meta, "md5": md5(meta)},
    }
    return Cifar(folder, known, written)


def jpeg(colour: int, mode: str = "RGB", side: int = 64) -> bytes:
    """Return a picture of one grey."""
    stream = io.BytesIO()
    value = (colour,) * 3 if mode == "RGB" else colour
    Image.new(mode, (side, side), value).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def write_tiny_imagenet(root: Path, images: int = 4) -> Path:
    """Write Tiny ImageNet's folder: some training images of each class, two for validation.

    Images of a class are of nearly the same grey.
    """
    folder = root / "tiny-imagenet-200"
    (folder / "val/images").mkdir(parents=True)
    (folder / "test/images").mkdir(parents=True)
    (folder / "test/images/test_0.JPEG").write_bytes(jpeg(9))
    # Their order is not the alphabet's.
    (folder / "wnids.txt").write_text("\n".join(reversed(WNIDS)) + "\n")
    for label, wnid in enumerate(WNIDS):
        pictures = folder / "train" / wnid / "images"
        pictures.mkdir(parents=True)
        for i in range(images):
            # A few of the real ones are grey.
            content = jpeg(80 * label + 10 * i, "L" if i == 3 else "RGB")
            (pictures / f"{wnid}_{i}.JPEG").write_bytes(content)
        boxes = pictures.parent / f"{wnid}_boxes.txt"
        boxes.write_text(f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    lines = []
    for i in range(2 * len(WNIDS)):
        (folder / f"val/images/val_{i}.JPEG").write_bytes(jpeg(80 * (i % 3) + 5))
        lines.append(f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t32\t44\t62")
    (folder / "val/val_annotations.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_imagenet(root: Path, images: int) -> None:
    """Write ImageNet's folders as they are once unpacked, two images of each class in ``val``."""
    for part, count in (("train", images), ("val", 2)):
        for label, wnid in enumerate(WNIDS):
            (root / part / wnid).mkdir(parents=True)
            for i in range(count):
                name = f"{wnid}_{i}" if part == "train" else f"ILSVRC2012_val_{3 * i + label:08d}"
                content = jpeg(80 * label + 10 * i, side=250 + i)
                (root / part / wnid / f"{name}.JPEG").write_bytes(content)

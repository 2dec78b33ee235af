"""Small data sets in the formats of published ones, and a workflow that takes them for these."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision import datasets

from prune3d.data.registry import DatasetFacts
from running import Project

WNIDS = ("n01443537", "n01629819", "n04399382", "n02085620")
CLASSES, TRAIN, TEST = len(WNIDS), 40, 8


def cifar(name: str) -> Callable[[Path], tuple[DatasetFacts, str]]:
    """Return what writes CIFAR's files, whose checksums are told to torchvision's reader."""

    def write(root: Path) -> tuple[DatasetFacts, str]:
        kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
        key = {"cifar10": "labels", "cifar100": "fine_labels"}[name]
        folder = root / kind.base_folder
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)

        def batch(file: str, count: int) -> list[str]:
            pixels = rng.integers(0, 256, (count, 3 * 32 * 32), dtype=np.uint8)
            return dump(file, {"data": pixels, key: [i % CLASSES for i in range(count)]})

        def dump(file: str, content: dict[str, object]) -> list[str]:
            (folder / file).write_bytes(pickle.dumps(content, protocol=2))
            return [file, hashlib.md5((folder / file).read_bytes()).hexdigest()]

        train = [batch(file, TRAIN // len(kind.train_list)) for file, _ in kind.train_list]
        test = [batch(file, TEST) for file, _ in kind.test_list]
        _, digest = dump(kind.meta["filename"], {kind.meta["key"]: list(WNIDS)})
        known = {"train_list": train, "test_list": test, "meta": {**kind.meta, "md5": digest}}
        told = "".join(
            f"torchvision.datasets.{kind.__name__}.{key} = {value!r}\n"
            for key, value in known.items()
        )
        return DatasetFacts(32, 3, CLASSES, TRAIN, TEST), f"import torchvision.datasets\n{told}"

    return write


def picture(path: Path, side: int, label: int) -> None:
    """Write a JPEG of noise around a grey."""
    rng = np.random.default_rng(label)
    pixels = 50 * label + rng.integers(0, 50, (side, side + 16, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).resize((side, side)).save(path, "JPEG")


def tiny_imagenet(root: Path) -> tuple[DatasetFacts, str]:
    """Write Tiny ImageNet's folder."""
    folder = root / "tiny-imagenet-200"
    lines = []
    for label, wnid in enumerate(WNIDS):
        for i in range(TRAIN // CLASSES):
            picture(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 64, label)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(
            f"{wnid}_0.JPEG\t0\t10\t63\t58\n"
        )
    for i in range(TEST):
        picture(folder / "val/images" / f"val_{i}.JPEG", 64, i % CLASSES)
        lines.append(f"val_{i}.JPEG\t{WNIDS[i % CLASSES]}\t0\t32\t44\t62\n")
    (folder / "val/val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return DatasetFacts(64, 3, CLASSES, TRAIN, TEST), ""


def imagenet(root: Path) -> tuple[DatasetFacts, str]:
    """Write ImageNet's folders as they are once unpacked."""
    for label, wnid in enumerate(WNIDS):
        for i in range(TRAIN // CLASSES):
            picture(root / "train" / wnid / f"{wnid}_{i}.JPEG", 260 + i, label)
        for i in range(TEST // CLASSES):
            name = f"ILSVRC2012_val_{TEST // CLASSES * label + i + 1:08d}.JPEG"
            picture(root / "val" / wnid / name, 250 + i, label)
    return DatasetFacts(224, 3, CLASSES, TRAIN, TEST, crop=0.875), ""


WRITERS = {
    "cifar10": cifar("cifar10"),
    "cifar100": cifar("cifar100"),
    "tiny-imagenet": tiny_imagenet,
    "imagenet": imagenet,
}


def give(project: Project, name: str) -> Path:
    """Write a data set into a project, and make its library take it for the published one."""
    root = project.folder / "pictures"
    known, reader = WRITERS[name](root)
    library = project.folder / "scripts/prune3d/data"
    with (library / "registry.py").open("a", encoding="utf-8") as stream:
        stream.write(
            "\nfrom dataclasses import replace\n"
            f"DATASETS[{name!r}] = replace(DATASETS[{name!r}], facts=lambda settings: {known!r})\n"
        )
    with (library / "cifar.py").open("a", encoding="utf-8") as stream:
        stream.write(reader)
    return root

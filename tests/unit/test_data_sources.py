"""Standard data sets from small files in their formats on disk, which the tests make."""

from __future__ import annotations

import dataclasses
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets
from torchvision.datasets import imagenet as torchvision_imagenet

from prune3d.data import tiny_imagenet
from prune3d.data.archives import make_once
from prune3d.data.registry import DATASETS, DatasetFacts
from prune3d.data.settings import DataSettings
from prune3d.data.source import Labelled, Listed
from prune3d.data.split import Fractions, prepare
from prune3d.errors import UserError
from published import WNIDS, jpeg, md5, write_cifar, write_tiny_imagenet

FRACTIONS = Fractions(0.5, 0.5)


def smaller(monkeypatch: pytest.MonkeyPatch, name: str, known: DatasetFacts) -> None:
    """Let a data set have fewer classes and images than the published one."""
    small = dataclasses.replace(DATASETS[name], facts=lambda settings: known)
    monkeypatch.setitem(DATASETS, name, small)


def images_of(part: Any) -> dict[bytes, int]:
    """Return the label of each image's bytes."""
    assert isinstance(part, Labelled)
    return {i.tobytes(): int(n) for i, n in zip(part.images, part.labels, strict=True)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve a folder over HTTP."""
    (tmp_path / "served").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    """CIFAR's files with 8 images each and 4 classes, their checksums made known."""
    name: str = request.param
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    files = write_cifar(tmp_path / "root", kind)
    archive = tmp_path / kind.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(files.folder, kind.base_folder)
    for key, value in files.known.items():
        monkeypatch.setattr(kind, key, value)
    monkeypatch.setattr(kind, "tgz_md5", md5(archive))
    smaller(monkeypatch, name, DatasetFacts(32, 3, 4, 8 * len(kind.train_list), 8))
    return SimpleNamespace(
        settings=DataSettings(name, root=str(tmp_path / "root")),
        root=tmp_path / "root",
        folder=files.folder,
        archive=archive,
        kind=kind,
        written=files.written,
        first=files.folder / kind.train_list[0][0],
    )


def remove(folder: Path) -> None:
    """Remove a folder with its files."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def check_cifar(cifar: SimpleNamespace, download: bool = False) -> None:
    """Compare with what was written."""
    splits = prepare(cifar.settings, FRACTIONS, 0, download=download)
    found = {name: images_of(part) for name, part in splits.parts.items()}
    assert found["test"] == cifar.written["test"]
    assert found["train"] | found["selection"] == cifar.written["train"]
    assert len(found["train"]) == len(found["selection"])
    assert splits.about.classes == ("a", "b", "c", "d")


def test_cifar_is_read_from_its_folder(cifar: SimpleNamespace) -> None:
    check_cifar(cifar)


def test_cifar_is_unpacked_from_its_archive(cifar: SimpleNamespace) -> None:
    remove(cifar.folder)
    cifar.archive.rename(cifar.root / cifar.archive.name)
    check_cifar(cifar)


def test_cifar_is_fetched_where_that_is_allowed(
    cifar: SimpleNamespace, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove(cifar.folder)
    cifar.root.rmdir()
    monkeypatch.setattr(cifar.kind, "url", f"{server}/{cifar.archive.name}")
    with pytest.raises(UserError, match=r"cannot be fetched from http") as caught:
        prepare(cifar.settings, FRACTIONS, 0, download=True)
    assert "\n" not in str(caught.value)
    served = tmp_path / "served" / cifar.archive.name
    served.write_bytes(cifar.archive.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"cannot be fetched from http"):
        prepare(cifar.settings, FRACTIONS, 0, download=True)
    assert {path.name for path in cifar.root.iterdir()} <= {".prune3d.lock"}
    cifar.archive.rename(served)
    check_cifar(cifar, download=True)


def test_without_cifars_files_it_is_told_which_where_and_how_large(cifar: SimpleNamespace) -> None:
    remove(cifar.folder)
    with pytest.raises(UserError) as caught:
        prepare(cifar.settings, FRACTIONS, 0)
    size = {"cifar10": "170 MB", "cifar100": "169 MB"}[cifar.settings.name]
    told = str(caught.value)
    for part in (str(cifar.folder), cifar.kind.filename, size, cifar.kind.url, "data.download"):
        assert part in told
    assert "\n" not in told


def test_a_changed_file_or_archive_of_cifar_is_refused_by_name(cifar: SimpleNamespace) -> None:
    content = cifar.first.read_bytes()
    cifar.first.write_bytes(content[:-1] + b"x")
    with pytest.raises(UserError, match=rf"{cifar.first.name} has not the published MD5"):
        prepare(cifar.settings, FRACTIONS, 0)
    cifar.first.unlink()
    with pytest.raises(UserError, match=rf"{cifar.first.name} does not exist; remove"):
        prepare(cifar.settings, FRACTIONS, 0)
    remove(cifar.folder)
    (cifar.root / cifar.archive.name).write_bytes(cifar.archive.read_bytes()[:-1])
    # Also where it could be fetched: what lies there may be somebody's.
    for download in (False, True):
        with pytest.raises(UserError, match=rf"{cifar.archive.name} has \d+ bytes, and the pub"):
            prepare(cifar.settings, FRACTIONS, 0, download=download)
    assert not cifar.folder.exists()


def test_the_published_checksums_of_cifar_are_those_of_their_page() -> None:
    # From https://www.cs.toronto.edu/~kriz/cifar.html
    assert datasets.CIFAR10.tgz_md5 == "c58f30108f718f92721af3b95e74349a"
    assert datasets.CIFAR100.tgz_md5 == "eb9058c3a382ffc7106e4002c42a8d85"


def test_a_folder_is_made_once_by_all_who_need_it(tmp_path: Path) -> None:
    made = []

    def make(place: Path) -> None:
        made.append(place)
        (place / "x").mkdir()
        (place / "x").rename(tmp_path / "x")

    threads = [
        threading.Thread(target=make_once, args=(tmp_path, tmp_path / "x", make)) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["x"]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny ImageNet's folder with 3 classes: 4 training images each, 6 for validation."""
    folder = write_tiny_imagenet(tmp_path)
    smaller(monkeypatch, "tiny-imagenet", DatasetFacts(64, 3, 3, 12, 6))
    return folder


def tiny_settings(folder: Path, **changes: Any) -> DataSettings:
    return DataSettings("tiny-imagenet", root=str(folder.parent), **changes)


@pytest.mark.parametrize("resident_gb", [1.0, 0.0])
def test_tiny_imagenet_has_its_classes(tiny: Path, resident_gb: float) -> None:
    splits = prepare(tiny_settings(tiny, resident_gb=resident_gb), FRACTIONS, 0)
    assert splits.about.classes == WNIDS
    assert {name: len(part.labels) for name, part in splits.parts.items()} == {
        "train": 6,
        "selection": 6,
        "test": 6,
    }
    for name, part in splits.parts.items():
        assert isinstance(part, Labelled if resident_gb else Listed)
        for i, label in enumerate(part.labels):
            if isinstance(part, Labelled):
                brightness = part.images[i].mean()
                assert part.images[i].shape == (3, 64, 64)
            else:
                brightness = np.asarray(Image.open(part.path(i)).convert("L")).mean()
            assert 80 * label <= brightness + 2 < 80 * label + 40, name


def test_tiny_imagenet_is_unpacked_from_its_archive(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tiny.parent / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(tiny.rglob("*")):
            file.write(path, path.relative_to(tiny.parent))
    tiny.rename(tiny.parent / "aside")
    with pytest.raises(UserError, match=r"the MD5 90528d7ca1a48142e341f4ef8d21d0de; get it again"):
        prepare(tiny_settings(tiny), FRACTIONS, 0)
    known = dataclasses.replace(tiny_imagenet.ARCHIVE, md5=md5(archive))
    monkeypatch.setattr(tiny_imagenet, "ARCHIVE", known)
    assert len(prepare(tiny_settings(tiny), FRACTIONS, 0).parts["test"].labels) == 6
    assert not list(tiny.parent.glob(".prune3d.?*[!k]"))


def drop_line(folder: Path) -> None:
    path = folder / "val/val_annotations.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def rename_label(folder: Path) -> None:
    path = folder / "val/val_annotations.txt"
    path.write_text(path.read_text().replace(WNIDS[1], "n99999999", 1))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (drop_line, r"val_5\.JPEG is a picture without a line in .*val_annotations\.txt"),
        (rename_label, r"val_annotations\.txt, line 2: there is no class 'n99999999'"),
        (
            lambda folder: (folder / "val/images/val_2.JPEG").unlink(),
            r"val_2\.JPEG is a line without a picture",
        ),
        (
            lambda folder: (folder / f"train/{WNIDS[0]}/images/{WNIDS[0]}_1.JPEG").unlink(),
            r"has 11 training images where 12 are expected",
        ),
        (
            lambda folder: (folder / f"train/{WNIDS[2]}/images/{WNIDS[2]}_1.JPEG").write_bytes(
                jpeg(3)[:-100]
            ),
            r"n04399382_1\.JPEG is not a readable picture",
        ),
        (lambda folder: (folder / "wnids.txt").unlink(), r"wnids\.txt cannot be read; unpack"),
    ],
)
def test_what_is_wrong_with_tiny_imagenet_is_told_by_name(
    tiny: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(tiny)
    for resident_gb in (1.0, 0.0):
        with pytest.raises(UserError, match=told) as caught:
            prepare(tiny_settings(tiny, resident_gb=resident_gb), FRACTIONS, 0)
        assert "\n" not in str(caught.value)


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to an archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def devkit(labels: list[int]) -> bytes:
    """Return the development kit: classes, their ids, and those of the validation images."""
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")
    # Ids are not in the order of the names, and inner nodes of WordNet follow the classes.
    rows = [(i + 1, WNIDS[2 - i], f"name {i}, other", "-", 0) for i in range(3)]
    rows.append((4, "n00000001", "root", "-", 3))
    synsets = np.array(rows, dtype=[(field, object) for field in fields])
    stream = io.BytesIO()
    savemat(stream, {"synsets": synsets})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        prefix = "ILSVRC2012_devkit_t12/data"
        add(tar, f"{prefix}/meta.mat", stream.getvalue())
        truth = "".join(f"{label}\n" for label in labels).encode()
        add(tar, f"{prefix}/ILSVRC2012_validation_ground_truth.txt", truth)
    return packed.getvalue()


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three archives of ImageNet with 3 classes, their checksums made known."""
    with tarfile.open(tmp_path / "ILSVRC2012_img_train.tar", "w") as tar:
        for label, wnid in enumerate(WNIDS):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as one:
                for i in range(4):
                    add(one, f"{wnid}_{i}.JPEG", jpeg(80 * label + 10 * i, side=90 + i))
            add(tar, f"{wnid}.tar", inner.getvalue())
    # Images 1 to 6 are of ids 3 1 2 3 1 2, which are classes 0 2 1 0 2 1.
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as tar:
        for i, label in enumerate([0, 2, 1, 0, 2, 1], start=1):
            add(tar, f"ILSVRC2012_val_{i:08d}.JPEG", jpeg(80 * label + 5))
    (tmp_path / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(devkit([3, 1, 2, 3, 1, 2]))
    names = {part: name for part, (name, _) in torchvision_imagenet.ARCHIVE_META.items()}
    known = {part: (name, md5(tmp_path / name)) for part, name in names.items()}
    monkeypatch.setattr(torchvision_imagenet, "ARCHIVE_META", known)
    smaller(monkeypatch, "imagenet", DatasetFacts(48, 3, 3, 12, 6, crop=0.875))
    return tmp_path


def test_imagenet_is_unpacked_from_its_archives(imagenet: Path) -> None:
    settings = DataSettings("imagenet", root=str(imagenet), resident_gb=0.0)
    for _ in range(2):
        splits = prepare(settings, FRACTIONS, 0)
        assert splits.about.classes == WNIDS
        for part in splits.parts.values():
            assert isinstance(part, Listed)
            assert len(part.labels) == 6
            for i, label in enumerate(part.labels):
                brightness = np.asarray(Image.open(part.path(i)).convert("L")).mean()
                assert 80 * label <= brightness + 2 < 80 * label + 40
        # The second time from the folders alone, as most people have it.
        for path in [*imagenet.glob("ILSVRC2012*"), *imagenet.glob(".prune3d*")]:
            path.unlink()
    assert sorted(path.name for path in imagenet.iterdir()) == ["train", "val"]


def test_without_imagenets_files_it_is_told_which_and_how_large(imagenet: Path) -> None:
    settings = DataSettings("imagenet", root=str(imagenet))
    (imagenet / "ILSVRC2012_img_train.tar").unlink()
    for download in (False, True):
        with pytest.raises(UserError, match=r"misses ILSVRC2012_img_train\.tar \(148 GB\); they"):
            prepare(settings, FRACTIONS, 0, download=download)


@pytest.mark.parametrize("part", ["train", "val", "devkit"])
def test_a_damaged_archive_of_imagenet_leaves_no_half_unpacked_folder(
    imagenet: Path, part: str
) -> None:
    name = torchvision_imagenet.ARCHIVE_META[part][0]
    content = (imagenet / name).read_bytes()
    (imagenet / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=rf"{name} has \d+ bytes, and the published file has"):
        prepare(DataSettings("imagenet", root=str(imagenet)), FRACTIONS, 0)
    folders = {path.name for path in imagenet.iterdir() if path.is_dir()}
    assert folders == ({"train"} if part != "train" else set())


def test_an_unpacking_that_was_killed_is_done_again(
    imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    settings = DataSettings("imagenet", root=str(imagenet))
    with monkeypatch.context() as patched:
        patched.setattr(torchvision_imagenet.shutil, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(settings, FRACTIONS, 0)
    assert not (imagenet / "val").exists()
    assert len(prepare(settings, FRACTIONS, 0).parts["test"].labels) == 6

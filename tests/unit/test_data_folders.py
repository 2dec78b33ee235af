"""One's own classes in folders: layouts, what is refused, and what stays in its files."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import prune3d
from prune3d.data.images import ImageFiles, ImageSet, load_images
from prune3d.data.pictures import decode_square
from prune3d.data.registry import facts
from prune3d.data.settings import DataSettings
from prune3d.data.source import Labelled, Listed
from prune3d.data.split import Fractions, prepare, read_checked, split
from prune3d.data.storage import Description, load_source, save_part, save_source
from prune3d.errors import UserError
from prune3d.train.evaluate import evaluate
from prune3d.train.loop import train
from prune3d.train.recipe import Recipe

FRACTIONS = Fractions(test=0.25, selection=0.25)
CLASSES = ("Ähre", "bird", "cat")


def fill(folder: Path, count: int, offset: int = 0) -> None:
    """Write pictures of three classes: brightness tells the class, size and place differ."""
    rng = np.random.default_rng(offset)
    for label, name in enumerate(sorted(CLASSES)):
        for i in range(count):
            place = folder / name / ("more" if i % 3 == 2 else "")
            place.mkdir(parents=True, exist_ok=True)
            height, width = rng.integers(20, 40, 2)
            noise = rng.integers(0, 40, (height, width, 3))
            picture = Image.fromarray((noise + 80 * label).astype(np.uint8))
            # A name that torchvision would know, and one in capitals.
            picture.save(place / f"{offset + i}{'.JPG' if i % 2 else '.png'}")


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """Classes with no test images of their own."""
    fill(tmp_path / "own", 12)
    return tmp_path / "own"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Classes with test images of their own."""
    fill(tmp_path / "own/train", 12)
    fill(tmp_path / "own/test", 4, offset=100)
    return tmp_path / "own"


def own(root: Path, **changes: object) -> DataSettings:
    """Return settings for a folder."""
    return DataSettings("imagefolder", root=str(root), side=16, **changes)  # type: ignore[arg-type]


def test_folders_give_classes_and_parts(one: Path) -> None:
    splits = prepare(own(one), FRACTIONS, 0)
    assert splits.about.classes == tuple(sorted(CLASSES))
    sizes = {name: len(part.labels) for name, part in splits.parts.items()}
    assert sizes == {"train": 20, "selection": 7, "test": 9}
    for part in splits.parts.values():
        assert isinstance(part, Labelled)
        brightness = part.images.mean((1, 2, 3))
        assert np.array_equal(part.labels, (brightness // 80).astype(int))


def test_every_picture_is_in_one_part(one: Path) -> None:
    splits = prepare(own(one, resident_gb=0.0), FRACTIONS, 0)
    listed = [str(part.path(i)) for part in splits.parts.values() for i in range(len(part.labels))]
    written = [str(p) for p in one.rglob("*") if p.is_file()]
    assert sorted(listed) == sorted(written)
    other = prepare(own(one, resident_gb=0.0), FRACTIONS, 1)
    assert other.parts["test"].names == splits.parts["test"].names
    assert other.parts["selection"].names != splits.parts["selection"].names


@pytest.mark.parametrize("test_folder", ["test", "val"])
def test_own_test_images_are_the_test_images(two: Path, test_folder: str) -> None:
    (two / "test").rename(two / test_folder)
    splits = prepare(own(two, resident_gb=0.0), FRACTIONS, 0)
    test = splits.parts["test"]
    assert isinstance(test, Listed)
    assert len(test.names) == 12
    assert all(name.startswith(f"{test_folder}/") for name in test.names)
    rest = (*splits.parts["train"].names, *splits.parts["selection"].names)
    assert len(rest) == 36
    assert all(name.startswith("train/") for name in rest)


def test_pictures_in_files_are_those_in_memory(two: Path, tmp_path: Path) -> None:
    loaded = []
    for kept in (1.0, 0.0):
        splits = prepare(own(two, resident_gb=kept), FRACTIONS, 0)
        save_part(tmp_path / "train", splits.parts["train"], splits.about)
        loaded.append(load_images(tmp_path / "train"))
    memory, files = loaded
    assert isinstance(memory, ImageSet) and isinstance(files, ImageFiles)
    assert torch.equal(files.take(torch.arange(len(files))), memory.images)
    assert torch.equal(files.labels, memory.labels)
    # With fewer pictures than are counted at most, statistics agree too.
    assert files.mean == memory.mean and files.spread == memory.spread
    assert torch.equal(next(files.batches(16, 100)), next(memory.batches(16, 100)))


def test_images_are_normalized_as_networks_trained_on_imagenet_expect(two: Path) -> None:
    from torchvision.models import ResNet18_Weights

    about = prepare(own(two, normalization="imagenet"), FRACTIONS, 0).about
    expected = ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert about.mean == tuple(expected.mean) and about.spread == tuple(expected.std)


def test_a_network_is_trained_and_judged_on_pictures_in_files(two: Path, tmp_path: Path) -> None:
    results = []
    for kept in (1.0, 0.0):
        splits = prepare(own(two, resident_gb=kept), FRACTIONS, 0)
        for name, part in splits.parts.items():
            save_part(tmp_path / name, part, splits.about)
        torch.manual_seed(0)
        model = prune3d.build("resnet8", 3, 16, 3)
        recipe = Recipe(2, 8, 0.05, 0.5, 0.9, 0.0, shift=1, flip=True)
        train(model, load_images(tmp_path / "train"), recipe, seed=1)
        results.append(evaluate(model, load_images(tmp_path / "selection")))
    assert results[0] == pytest.approx(results[1], abs=1e-6)


def write(path: str) -> Callable[[Path], None]:
    """Return what puts a file of text at a path."""

    def spoil(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("text")

    return spoil


def truncate(path: str) -> Callable[[Path], None]:
    """Return what cuts a picture short."""

    def spoil(root: Path) -> None:
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: len(content) - 30])

    return spoil


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (write("train/bird/notes.txt"), r"notes\.txt is no picture by its name; allowed in"),
        (write("train/readme.md"), r"readme\.md lies beside the class folders"),
        (lambda root: (root / "train/dog").mkdir(), r"dog is a class folder without a picture"),
        (write("test/dog/1.png"), r"test/dog is no class of .*train"),
        (lambda root: shutil.rmtree(root / "test/bird"), r"test/bird does not exist, but .*train"),
        (write("more/1.png"), r"has a folder 'train' and also 'more'"),
        (lambda root: (root / "val").mkdir(), r"has both 'test' and 'val'"),
        (write("train/cat/2.png"), r"cat/2\.png is not a readable picture"),
        (truncate("train/cat/0.png"), r"cat/0\.png is not a readable picture"),
        # Found before anything is trained, although no statistic is taken of it.
        (truncate("test/cat/101.JPG"), r"cat/101\.JPG is not a readable picture"),
        (lambda root: (root / "train/cat/a.png").symlink_to("gone"), r"cat/a\.png does not exist"),
        (
            lambda root: Image.new("F", (9, 9)).save(root / "test/cat/deep.tif"),
            r"deep\.tif has pixels of Pillow's mode 'F'",
        ),
    ],
)
@pytest.mark.parametrize("kept", [1.0, 0.0])
def test_what_is_wrong_with_a_folder_is_told_by_name(
    two: Path, spoil: Callable[[Path], None], told: str, kept: float
) -> None:
    spoil(two)
    with pytest.raises(UserError, match=told) as caught:
        prepare(own(two, resident_gb=kept), FRACTIONS, 0, threads=2)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_hidden_files_are_passed_over(one: Path) -> None:
    for path in (".DS_Store", "bird/.thumbs/a.png", "cat/.note"):
        write(path)(one)
    assert len(prepare(own(one), FRACTIONS, 0).parts["test"].labels) == 9


def test_what_can_be_known_of_a_folder_is_known_without_its_pictures(
    two: Path, tmp_path: Path
) -> None:
    for path in two.rglob("*.*"):
        path.write_bytes(b"")
    known = facts(own(two))
    assert (known.side, known.channels, known.classes) == (16, 3, 3)
    with pytest.raises(UserError, match=r"root is .*nowhere, which is no folder"):
        facts(own(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"'imagefolder' needs the side"):
        facts(DataSettings("imagefolder", root=str(two)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty has 0 class folders; at least two"):
        facts(own(tmp_path / "empty"))


def rename(*names: str) -> Callable[[Path], None]:
    """Return what makes class folders of `bird` and `cat` with other names."""

    def change(root: Path) -> None:
        shutil.rmtree(root / "Ähre")
        for old, new in zip(("bird", "cat"), names, strict=True):
            (root / old).rename(root.parent / "moved")
            (root / new).parent.mkdir(parents=True, exist_ok=True)
            (root.parent / "moved").rename(root / new)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename("Training", "Testing"), r"Testing is named like a part .* 'train' and 'test'"),
        (rename("Train", "Test"), r"Test is named like a part"),
        (rename("training", "validation"), r"training is named like a part"),
        (rename("train_set", "test-images"), r"test-images is named like a part"),
        (rename("train2017", "val2017"), r"train2017 is named like a part"),
        (rename("all/Training", "all/Testing"), r"own has 1 class folders.* give that as root"),
        (rename("bird/jays", "cat"), r"bird is a class folder that holds only folders.*'jays'"),
        (rename("train/TRAIN", "train/Valid"), r"holds parts of a data set \('TRAIN', 'Valid'\)"),
        (rename("train", "cat"), r"and also 'cat'.*into one more folder 'train'"),
        (rename("@eaDir", "cat"), r"@eaDir was left by a system"),
        (rename("__MACOSX", "cat"), r"__MACOSX was left by a system"),
        (lambda root: (root / "cat/@eaDir").mkdir(), r"cat/@eaDir was left by a system"),
        (lambda root: (root / "cat/all").symlink_to(root), r"cat/all.* is the same folder as"),
        (lambda root: (root / "dog").symlink_to(root / "cat"), r"dog is the same folder as .*cat"),
    ],
)
def test_folders_that_are_no_classes_are_refused(
    one: Path, change: Callable[[Path], None], told: str
) -> None:
    change(one)
    with pytest.raises(UserError, match=told) as caught:
        prepare(own(one), FRACTIONS, 0)
    assert len(str(caught.value)) < 500


def test_a_class_may_be_called_train_within_the_layout(two: Path) -> None:
    for part in ("train", "test"):
        (two / part / "bird").rename(two / part / "train")
    assert "train" in prepare(own(two), FRACTIONS, 0).about.classes


def test_a_class_linked_from_elsewhere_is_read(one: Path, tmp_path: Path) -> None:
    (one / "cat").rename(tmp_path / "felines")
    (one / "cat").symlink_to(tmp_path / "felines")
    assert prepare(own(one), FRACTIONS, 0).about.classes == tuple(sorted(CLASSES))


def test_test_images_that_are_training_images_are_refused(two: Path) -> None:
    shutil.rmtree(two / "test")
    (two / "test").symlink_to(two / "train")
    with pytest.raises(UserError, match=r"test/bird is the same folder as .*train/bird"):
        prepare(own(two), FRACTIONS, 0)


def test_a_name_that_is_no_utf8_is_told_and_can_be_logged(one: Path) -> None:
    with open(os.fsencode(one / "cat") + b"/caf\xe9\n.txt", "wb"):  # noqa: PTH123
        pass
    with pytest.raises(UserError, match=r"caf\\udce9 .*txt is no picture by its name") as caught:
        prepare(own(one), FRACTIONS, 0)
    str(caught.value).encode("utf-8")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_told(one: Path) -> None:
    (one / "cat/more").chmod(0)
    with pytest.raises(UserError, match=r"cat/more cannot be read"):
        prepare(own(one), FRACTIONS, 0)
    one.chmod(0)
    with pytest.raises(UserError, match=r"own cannot be read"):
        facts(own(one))


def test_pictures_are_read_once_for_all_seeds(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own(two, resident_gb=0.0, normalization="imagenet")
    save_source(tmp_path / "pictures", read_checked(settings))
    monkeypatch.setattr("prune3d.data.split.decode_square", None)
    for seed in (0, 1):
        splits = split(load_source(tmp_path / "pictures"), settings, FRACTIONS, seed)
        monkeypatch.undo()
        at_once = prepare(settings, FRACTIONS, seed)
        monkeypatch.setattr("prune3d.data.split.decode_square", None)
        for name, part in splits.parts.items():
            assert part.names == at_once.parts[name].names
            assert np.array_equal(part.labels, at_once.parts[name].labels)


@pytest.mark.parametrize("left", [1, 2])
def test_a_class_with_too_few_pictures_is_told(one: Path, left: int) -> None:
    for path in sorted((one / "bird").rglob("*.*"))[left:]:
        path.unlink()
    told = rf"class 'bird' has too few images, [1-{left}], to hold out a fraction of 0\.25 of them"
    with pytest.raises(UserError, match=told):
        prepare(own(one), FRACTIONS, 0)


def test_an_index_as_large_as_imagenet_holds_no_pictures(tmp_path: Path) -> None:
    count = 1_281_167
    names = tuple(f"train/n{i % 1000:08d}/n{i % 1000:08d}_{i}.JPEG" for i in range(count))
    picture = tmp_path / names[count - 1]
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (300, 250), (10, 200, 30)).save(picture)
    listed = Listed(tmp_path, names, np.arange(count, dtype=np.int64) % 1000)
    about = Description(224, 3, tuple(map(str, range(1000))), (0.5,) * 3, (0.2,) * 3, 0.875)
    save_part(tmp_path / "index", listed, about)
    tracemalloc.start()
    images = load_images(tmp_path / "index")
    assert isinstance(images, ImageFiles)
    subset = images.subset(50_000, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Names of 36 bytes, ends and labels of 8: 66 MB.
    assert peak < 200e6
    assert len(images) == count and len(subset) == 50_000
    assert os.fspath(images.path(7)) == os.fspath(tmp_path / names[7])
    found = images.decode(count - 1, 96)
    assert np.array_equal(found.numpy(), decode_square(picture, 96, 0.875))

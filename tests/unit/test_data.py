"""Splits, statistics, normalization and augmentation against scikit-learn, Pillow and numpy."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils._python_dispatch import TorchDispatchMode

from prune3d.data.augment import Augmentation, augment
from prune3d.data.images import ImageSet, ImageSplits, load_images
from prune3d.data.registry import facts, held_out
from prune3d.data.settings import DataSettings
from prune3d.data.source import Labelled, Source
from prune3d.data.split import Fractions, check, prepare, split_off, statistics
from prune3d.data.storage import Description, describe, save_part
from prune3d.errors import CheckpointError, UserError
from prune3d.tensors import read_header

FRACTIONS = Fractions(test=0.2, selection=0.25)
DIGITS = DataSettings("digits")

COUNTLESS = dataclasses.replace(facts(DIGITS), images=None, test_images=None)


def split_digits(fractions: Fractions, seed: int) -> dict[str, Labelled]:
    """Return the three parts of the digits."""
    return prepare(DIGITS, fractions, seed).parts


def save(path: Path, data: Labelled) -> None:
    """Write a split with its own statistics."""
    mean, spread = statistics(data)
    channels, side = data.images.shape[1:3]
    save_part(path, data, Description(side, channels, tuple("abcdef"), mean, spread))


def rows(data: Labelled) -> list[bytes]:
    """Return each image with its label as bytes."""
    pairs = zip(data.images, data.labels, strict=True)
    return [image.tobytes() + bytes([label]) for image, label in pairs]


def random_set(count: int, channels: int, side: int) -> ImageSet:
    """Return random bytes, each channel with its own statistics."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, channels, side, side), generator=generator).byte()
    labels = torch.arange(count) % 3
    mean = tuple(0.2 + 0.1 * c for c in range(channels))
    return ImageSet(images, labels, mean, tuple(0.5 + 0.1 * c for c in range(channels)))


def test_the_digits_are_those_of_scikit_learn_on_255_levels() -> None:
    data = split_digits(FRACTIONS, 0)
    pixels = np.concatenate([part.images for part in data.values()])
    original = load_digits().images
    assert pixels.shape == (1797, 1, 8, 8)
    assert pixels.dtype == np.uint8
    assert set(np.unique(pixels)) == {round(value * 255 / 16) for value in range(17)}
    # Every level of grey as often as in the original.
    found = np.bincount(pixels.ravel(), minlength=256)
    assert all(found[round(v * 255 / 16)] == np.sum(original == v) for v in range(17))


def test_the_splits_are_disjoint_and_cover_everything() -> None:
    data = split_digits(FRACTIONS, 5)
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    everything = sorted(rows(Labelled(images, digits.target.astype(np.int64))))
    assert sorted(row for part in data.values() for row in rows(part)) == everything
    sizes = {name: len(part.labels) for name, part in data.items()}
    assert sizes == {"train": 1077, "selection": 360, "test": 360}


def test_every_class_has_its_proportion_in_every_part() -> None:
    whole = np.bincount(load_digits().target) / 1797
    for part in split_digits(FRACTIONS, 1).values():
        shares = np.bincount(part.labels) / len(part.labels)
        assert np.all(np.abs(shares - whole) * len(part.labels) <= 1.5)


def test_the_test_images_are_the_same_for_every_seed_and_the_selection_images_are_not() -> None:
    parts = [split_digits(FRACTIONS, seed) for seed in (0, 1, 2, 0)]
    assert all(rows(part["test"]) == rows(parts[0]["test"]) for part in parts)
    selections = [set(rows(part["selection"])) for part in parts]
    assert selections[0] == selections[3]
    assert len(selections[0] & selections[1]) < len(selections[0]) / 2
    assert selections[1] != selections[2]


def test_the_selection_fraction_does_not_move_the_test_images() -> None:
    other = dataclasses.replace(FRACTIONS, selection=0.5)
    first, second = split_digits(FRACTIONS, 0), split_digits(other, 0)
    assert rows(first["test"]) == rows(second["test"])


@pytest.mark.parametrize("fractions", [Fractions(0.2, 0.001), Fractions(0.999, 0.2)])
def test_a_fraction_that_leaves_a_class_out_is_told_in_one_sentence(fractions: Fractions) -> None:
    with pytest.raises(UserError) as caught:
        split_digits(fractions, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fraction", "images", "classes"),
    [(0.2, 1797, 10), (0.001, 1797, 1), (1 / 3, 9, 3), (0.5, 21, 10), (0.3, 10, 3)],
)
def test_as_many_images_are_held_out_as_scikit_learn_does(
    fraction: float, images: int, classes: int
) -> None:
    kept, held = train_test_split(np.arange(images), test_size=fraction)
    assert held_out(fraction, images, classes) == len(held) == images - len(kept)


@pytest.mark.parametrize(
    ("fraction", "images", "classes", "held"),
    [(0.1, 20, 3, 2), (0.9, 20, 3, 18), (0.005, 1797, 10, 9)],
)
def test_a_part_with_fewer_images_than_classes_is_refused(
    fraction: float, images: int, classes: int, held: int
) -> None:
    told = rf"{fraction} of {images} images holds out {held}, .* each of the {classes} classes;"
    with pytest.raises(UserError, match=told):
        held_out(fraction, images, classes)


@pytest.mark.parametrize(("images", "classes"), [(20, 3), (1_281_167, 1000), (2001, 1000), (6, 3)])
def test_fractions_that_are_told_to_be_allowed_are(images: int, classes: int) -> None:
    with pytest.raises(UserError) as caught:
        held_out(0.99999, images, classes)
    ends = re.search(r"from ([\d.]+) to ([\d.]+), or more images\.$", str(caught.value))
    assert ends is not None
    for end in ends.groups():
        assert held_out(float(end), images, classes) >= classes


def test_too_few_images_for_any_fraction_are_told_by_number() -> None:
    with pytest.raises(UserError, match=r"give at least 2000 images\.$"):
        held_out(0.2, 1000, 1000)


@pytest.mark.parametrize(("fraction", "images", "classes"), [(0.15, 20, 3), (0.85, 20, 3)])
def test_a_part_with_as_many_images_as_classes_is_accepted(
    fraction: float, images: int, classes: int
) -> None:
    assert held_out(fraction, images, classes) in (classes, images - classes)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_of_numpy(channels: int) -> None:
    rng = np.random.default_rng(0)
    # More images than are counted at a time.
    pixels = rng.integers(0, 256, (5000, channels, 3, 3), dtype=np.uint8)
    pixels[:, 0] //= 2
    mean, spread = statistics(Labelled(pixels, np.zeros(5000, np.int64)))
    assert mean == pytest.approx((pixels / 255).mean((0, 2, 3)), abs=1e-9)
    assert spread == pytest.approx((pixels / 255).std((0, 2, 3)), abs=1e-9)


def test_statistics_are_of_the_training_images_alone() -> None:
    splits = prepare(DIGITS, FRACTIONS, 0)
    train = splits.parts["train"].images / 255
    assert splits.about.mean == pytest.approx([train.mean()], abs=1e-9)
    assert splits.about.spread == pytest.approx([train.std()], abs=1e-9)
    everything = np.concatenate([part.images for part in splits.parts.values()]) / 255
    assert abs(everything.mean() - train.mean()) > 1e-6


def test_a_split_tells_of_its_data_set_without_its_pixels(digits_files: dict[str, Path]) -> None:
    about = [describe(path) for path in digits_files.values()]
    assert about[0] == about[1] == about[2]
    assert (about[0].side, about[0].channels) == (8, 1)
    assert about[0].classes == tuple("0123456789")


def test_training_images_are_normalized_to_mean_0_and_spread_1(digits: ImageSplits) -> None:
    inputs = torch.cat(list(digits.train.batches(8)))
    assert float(inputs.mean()) == pytest.approx(0, abs=1e-4)
    assert float(inputs.std()) == pytest.approx(1, abs=1e-3)


def test_images_and_labels_survive_their_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(6, dtype=np.int64)
    data = Labelled(rng.integers(0, 256, (6, 1, 3, 3), dtype=np.uint8), labels)
    save(tmp_path / "a", data)
    loaded = load_images(tmp_path / "a")
    assert loaded.images.numpy().tobytes() == data.images.tobytes()
    assert loaded.images.dtype == torch.uint8
    assert loaded.labels.tolist() == labels.tolist()


def test_images_of_a_file_have_its_digest_until_they_are_others(tmp_path: Path) -> None:
    data = Labelled(np.zeros((6, 1, 3, 3), np.uint8), np.arange(6, dtype=np.int64))
    save(tmp_path / "a", data)
    loaded = load_images(tmp_path / "a")
    assert loaded.digest() == read_header(tmp_path / "a")["digest"]
    assert loaded.with_batches_on(torch.device("cpu")).digest() == loaded.digest()
    others = [
        loaded.subset(3, seed=0),
        dataclasses.replace(loaded, labels=loaded.labels.flip(0)),
        dataclasses.replace(loaded, images=loaded.images + 1),
        dataclasses.replace(loaded, mean=(0.25,)),
    ]
    assert len({loaded.digest(), *(images.digest() for images in others)}) == 5
    # By content alone, whatever the order of memory.
    bare, copied = (dataclasses.replace(loaded, images=loaded.images.clone()) for _ in range(2))
    assert bare.digest() == copied.digest()
    turned = loaded.images.to(memory_format=torch.channels_last)
    assert dataclasses.replace(loaded, images=turned).digest() == bare.digest()


def test_the_digest_of_images_copies_few_of_them() -> None:
    pixels = torch.zeros(200_000, 2, 16, 16, dtype=torch.uint8)
    turned = pixels.to(memory_format=torch.channels_last)
    images = ImageSet(turned, torch.zeros(len(turned)).long(), (0.5,) * 2, (0.3,) * 2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = memory("VmRSS")
    images.digest()
    assert memory("VmHWM") < before + 20_000


def memory(kind: str) -> int:
    """Return how much memory this process has, in kB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{kind}:")[2].split()[0])


def test_a_file_that_holds_no_images_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=str(tmp_path / "a")):
        load_images(tmp_path / "a")


@pytest.mark.parametrize("side", [16, 11, 8, 5, 1])
def test_resizing_is_pillows_and_normalization_is_by_hand(side: int) -> None:
    images = random_set(3, 2, 16)
    found = images.normalize(images.images, side)
    assert found.shape == (3, 2, side, side)
    assert found.dtype == torch.float32
    for n in range(3):
        for c in range(2):
            plane = Image.fromarray(images.images[n, c].numpy().astype(np.float32))
            resized = np.asarray(plane.resize((side, side), Image.Resampling.BILINEAR)) / 255
            expected = (resized - images.mean[c]) / images.spread[c]
            np.testing.assert_allclose(found[n, c].numpy(), expected, atol=2e-5)


def test_normalizing_does_not_change_the_images() -> None:
    images = random_set(3, 1, 8)
    before = images.images.clone()
    images.normalize(images.images, 8)
    assert torch.equal(images.images, before)


def test_a_channel_of_one_value_gives_finite_inputs() -> None:
    images = dataclasses.replace(random_set(3, 1, 8), spread=(0.0,))
    assert torch.isfinite(images.normalize(images.images, 4)).all()


@pytest.mark.parametrize(
    ("size", "lengths"), [(2, [3, 2, 2]), (3, [4, 3]), (4, [7]), (7, [7]), (100, [7])]
)
def test_batches_are_equal_parts_that_hold_every_image_once_in_order(
    size: int, lengths: list[int]
) -> None:
    images = random_set(7, 2, 4)
    batches = list(images.batches(4, size))
    assert [len(batch) for batch in batches] == lengths
    assert torch.equal(torch.cat(batches), images.normalize(images.images, 4))


def test_a_subset_is_distinct_images_with_their_labels_by_seed() -> None:
    images = random_set(50, 1, 8)
    label_of = dict(zip([i.numpy().tobytes() for i in images.images], images.labels, strict=True))
    part = images.subset(20, seed=3)
    found = [image.numpy().tobytes() for image in part.images]
    assert len(set(found)) == len(part) == 20
    assert all(label_of[f] == label for f, label in zip(found, part.labels, strict=True))
    assert torch.equal(part.images, images.subset(20, seed=3).images)
    assert not torch.equal(part.images, images.subset(20, seed=4).images)
    assert len(images.subset(50, seed=0)) == len(images.subset(99, seed=0)) == 50


class Moved(TorchDispatchMode):
    """Counts the images in what is put on another device at a time."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device, self.most = device, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        elsewhere = [a for a in args if isinstance(a, torch.Tensor) and a.device != self.device]
        if elsewhere and isinstance(result, torch.Tensor) and result.device == self.device:
            self.most = max([self.most, *(len(part) for part in elsewhere if part.dim() == 4)])
        return result


def test_no_more_than_a_batch_is_put_on_the_device_at_a_time() -> None:
    # Torch's device without memory stands for a GPU's.
    device, images = torch.device("meta"), random_set(40, 3, 8)
    splits = ImageSplits(images, images)
    with Moved(device) as moved:
        probe = splits.probe(20, seed=3).with_batches_on(device)
        assert moved.most == 0
        for part, count in ((probe.train, 20), (probe.selection, 40)):
            assert isinstance(part, ImageSet)
            assert part.images.device == torch.device("cpu")
            batches = list(part.batches(4, size=5))
            assert [(len(b), b.device) for b in batches] == [(5, device)] * (count // 5)
            assert part.take(torch.arange(3)).device == part.labels.device == device
        assert moved.most == 5


def crops(image: np.ndarray, largest: int) -> dict[bytes, tuple[int, int]]:
    """Return every crop of a reflection-padded image, by numpy, with its offsets."""
    side = image.shape[-1]
    padded = np.pad(image, ((0, 0), (largest, largest), (largest, largest)), mode="reflect")
    return {
        padded[:, y : y + side, x : x + side].tobytes(): (y, x)
        for y in range(2 * largest + 1)
        for x in range(2 * largest + 1)
    }


@pytest.mark.parametrize("largest", [1, 2, 3])
def test_every_shift_of_the_reflected_image_occurs_equally_often(largest: int) -> None:
    image = torch.arange(2 * 5 * 5, dtype=torch.uint8).reshape(1, 2, 5, 5)
    expected = crops(image[0].numpy(), largest)
    kinds = (2 * largest + 1) ** 2
    assert len(expected) == kinds
    copies = image.repeat(100 * kinds, 1, 1, 1)
    shifted = augment(copies, Augmentation(largest, False), torch.Generator().manual_seed(0))
    offsets = [expected[each.numpy().tobytes()] for each in shifted]
    counts = np.array([offsets.count(offset) for offset in expected.values()])
    # Each count is binomial with mean 100 and spread 10.
    assert np.all(np.abs(counts - 100) < 50)
    assert shifted.shape == copies.shape
    assert shifted.dtype == torch.uint8


def test_the_largest_shift_is_the_side_less_one() -> None:
    images = random_set(20, 1, 5).images
    shifted = augment(images, Augmentation(4, False), torch.Generator().manual_seed(0))
    pairs = zip(images, shifted, strict=True)
    assert all(each.numpy().tobytes() in crops(image.numpy(), 4) for image, each in pairs)


def test_each_image_is_shifted_on_its_own() -> None:
    images = random_set(300, 1, 6).images
    shifted = augment(images, Augmentation(1, False), torch.Generator().manual_seed(0))
    found = [
        crops(image.numpy(), 1)[each.numpy().tobytes()]
        for image, each in zip(images, shifted, strict=True)
    ]
    assert set(found) == {(y, x) for y in range(3) for x in range(3)}


def test_half_of_the_images_are_mirrored_left_to_right() -> None:
    images = random_set(2000, 2, 4).images
    changed = augment(images, Augmentation(0, True), torch.Generator().manual_seed(0)).numpy()
    mirrored = (changed == images.numpy()[..., ::-1]).all((1, 2, 3))
    same = (changed == images.numpy()).all((1, 2, 3))
    assert np.all(mirrored ^ same)
    # Binomial: the spread is 22.
    assert abs(mirrored.sum() - 1000) < 110


def test_no_augmentation_changes_nothing() -> None:
    images = random_set(5, 1, 4).images
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, Augmentation(0, False), generator), images)


def test_augmentation_follows_the_generator_and_leaves_its_input() -> None:
    images = random_set(20, 1, 8).images
    before = images.clone()
    how = Augmentation(2, True)
    first, second, other = (
        augment(images, how, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)


def test_the_facts_of_the_digits_agree_with_their_images() -> None:
    known = facts(DIGITS)
    parts = split_digits(FRACTIONS, 0)
    assert sum(len(part.labels) for part in parts.values()) == known.images
    data = parts["train"]
    assert data.images.shape[1:] == (known.channels, known.side, known.side)
    assert set(data.labels) == set(range(known.classes))


def test_another_side_than_the_data_set_has_is_refused() -> None:
    assert facts(DataSettings("digits", side=8)) == facts(DIGITS)
    with pytest.raises(UserError, match=r"side is 9, but the images of 'digits' have 8 pixels"):
        facts(DataSettings("digits", side=9))


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (4, 1, 8, 9), (4, 8, 8), (4, 1, 7, 7)])
def test_images_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    data = Labelled(np.zeros(shape, np.uint8), np.zeros(4, np.int64))
    with pytest.raises(UserError, match=r"'digits' have shape .* not \(1, 8, 8\)"):
        check("digits", Source(data, None, ()), COUNTLESS)


@pytest.mark.parametrize("label", [-1, 10])
@pytest.mark.parametrize("where", ["train", "test"])
def test_labels_out_of_range_are_refused(label: int, where: str) -> None:
    images = np.zeros((2, 1, 8, 8), np.uint8)
    parts = {name: Labelled(images, np.array([0, 1])) for name in ("train", "test")}
    parts[where] = Labelled(images, np.array([0, label]))
    with pytest.raises(UserError, match=r"outside 0 to 9"):
        check("digits", Source(**parts, classes=()), COUNTLESS)


@pytest.mark.parametrize(("images", "test_images"), [(3, 2), (2, 3)])
def test_another_number_of_images_than_published_is_refused(images: int, test_images: int) -> None:
    part = Labelled(np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1]))
    known = dataclasses.replace(facts(DIGITS), images=images, test_images=test_images)
    with pytest.raises(UserError, match=r"'digits' has 2 (training|test) images where 3 are"):
        check("digits", Source(part, part, ()), known)


def test_an_unknown_data_set_is_told_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'mnist'; known are: digits"):
        facts(DataSettings("mnist"))


def test_held_out_images_keep_their_order() -> None:
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    kept, held = split_off(Labelled(images, np.arange(100) % 2), 0.3, 0, "ab")
    for part in (kept, held):
        assert np.all(np.diff(part.images.ravel().astype(int)) > 0)
        assert np.array_equal(part.images.ravel() % 2, part.labels)
    assert len(held.labels) == 30

"""Training batches: against torchvision's transforms, and from files against from memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor

from prune3d.data.augment import Augmentation, Draw, apply, augment, draw
from prune3d.data.images import ImageFiles, ImageSet, load_images
from prune3d.data.loader import Batch, Layout, Shard, TrainingLoader
from prune3d.data.pictures import _random_box, decode_crop
from prune3d.data.source import Listed
from prune3d.data.storage import Description, save_part
from prune3d.errors import UserError

CPU = torch.device("cpu")
NOTHING = Augmentation(0, False)
ABOUT = Description(16, 3, tuple(f"class {i}" for i in range(40)), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


def image_set(count: int = 23, side: int = 16) -> ImageSet:
    """Return random images, the label of each its number."""
    pixels = torch.randint(
        0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0)
    )
    return ImageSet(pixels.byte(), torch.arange(count), ABOUT.mean, ABOUT.spread)


def epoch(loader: TrainingLoader, seed: int = 0) -> list[Batch]:
    """Return all batches of an epoch."""
    return list(loader.epoch(torch.Generator().manual_seed(seed)))


def counts(images: Tensor) -> Counter[bytes]:
    """Count equal images."""
    return Counter(image.numpy().tobytes() for image in images)


def chi_square(found: Counter[bytes], expected: Counter[bytes]) -> float:
    """Return the statistic of two samples of one size over its degrees of freedom."""
    kinds = set(found) | set(expected)
    return sum((found[k] - expected[k]) ** 2 / (found[k] + expected[k]) for k in kinds) / (
        len(kinds) - 1
    )


@pytest.mark.parametrize("kind", ["shift", "flip", "shift and flip", "cutout"])
def test_augmentation_has_the_distribution_of_torchvisions(kind: str) -> None:
    from torchvision.transforms import v2

    n, side = 4000, 5
    image = torch.arange(2 * side * side, dtype=torch.uint8).reshape(1, 2, side, side) + 1
    crop = v2.RandomCrop(side, padding=2, padding_mode="reflect")
    how, theirs = {
        "shift": (Augmentation(2, False), [crop]),
        "flip": (Augmentation(0, True), [v2.RandomHorizontalFlip()]),
        "shift and flip": (Augmentation(2, True), [crop, v2.RandomHorizontalFlip()]),
        "cutout": (
            Augmentation(0, False, 2),
            [v2.RandomErasing(1.0, scale=(4 / 25, 4 / 25), ratio=(1, 1), value=0)],
        ),
    }[kind]
    torch.manual_seed(1)
    transform = v2.Compose(theirs)
    expected = counts(torch.cat([transform(image) for _ in range(n)]))
    found = counts(augment(image.repeat(n, 1, 1, 1), how, torch.Generator().manual_seed(2)))
    assert set(found) == set(expected)
    # About 1 for equal distributions; a kind that is 1.5 times as likely would give 2.
    assert chi_square(found, expected) < 1.8


def assert_boxes_like_torchvisions(found: np.ndarray, height: int, width: int) -> None:
    """Compare boxes of area 0.08 or more (top, left, height, width; shape (4, n)) in pixels."""
    from torchvision.transforms import v2

    torch.manual_seed(1)
    crop, image = v2.RandomResizedCrop(8), torch.zeros(1, height, width)
    made = [crop.make_params([image]) for _ in range(found.shape[1])]
    keys = ("top", "left", "height", "width")
    expected = np.array([[params[key] for params in made] for key in keys])
    for boxes in (found, expected):
        assert boxes.min() >= 0
        assert (boxes[0] + boxes[2]).max() <= height + 1e-3
        assert (boxes[1] + boxes[3]).max() <= width + 1e-3
    for measure in (lambda b: b[2] * b[3], lambda b: b[2] / b[3], lambda b: b[0], lambda b: b[1]):
        assert ks_2samp(measure(found), measure(expected)).pvalue > 1e-3


def test_random_crops_have_the_distribution_of_torchvisions() -> None:
    how = Augmentation(0, False, 0, 0.08)
    boxes = draw(how, 2000, 8, torch.Generator().manual_seed(0)).boxes
    assert boxes is not None
    assert_boxes_like_torchvisions(1000 * boxes.numpy(), 1000, 1000)
    of_pictures = [_random_box(900, 600, 0.08, random.Random(seed)) for seed in range(2000)]
    left, top, right, bottom = np.array(of_pictures).T
    assert_boxes_like_torchvisions(np.stack((top, left, bottom - top, right - left)), 600, 900)


def smooth() -> Tensor:
    """Return a picture of 48 x 64 pixels without edges, uint8."""
    rows, columns = torch.arange(48.0)[:, None], torch.arange(64.0)
    waves = torch.stack([torch.sin(rows / 9 + i) * torch.cos(columns / 11 - i) for i in range(3)])
    return (127 + 120 * waves).round().byte()


def test_a_random_crop_is_what_torchvision_enlarges(tmp_path: Path) -> None:
    from torchvision.transforms.v2.functional import resized_crop

    image = smooth()[:, :48, :48]
    boxes = torch.tensor([[0, 0, 48, 48], [8, 20, 24, 16]]).T / 48
    how = Augmentation(0, False, 0, 0.08)
    found = apply(image.expand(2, -1, -1, -1), how, Draw(None, None, None, boxes))
    expected = resized_crop(image, 8, 20, 24, 16, [48, 48], antialias=True)
    assert torch.equal(found[0], image)
    # At the edge ours looks at pixels outside of the box, too.
    apart = (found[1].int() - expected.int()).abs()
    assert apart[:, 2:-2, 2:-2].max() <= 1
    assert apart.max() <= 6
    Image.fromarray(smooth().permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    for seed in range(5):
        left, top, right, bottom = map(round, _random_box(64, 48, 0.5, random.Random(seed)))
        expected = resized_crop(smooth(), top, left, bottom - top, right - left, [20, 20])
        crop = torch.from_numpy(decode_crop(tmp_path / "a.png", 20, 0.5, seed))
        # The box is rounded to pixels here.
        assert (crop.int() - expected.int()).abs().float().mean() < 6


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_crop_of_a_jpeg_decoded_at_a_part_of_its_size_looks_the_same(
    tmp_path: Path, orientation: int
) -> None:
    pixels = smooth().permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[274] = orientation
    stored = picture.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else picture
    stored.save(tmp_path / "a.jpg", quality=95, exif=exif)
    picture.save(tmp_path / "a.png")
    sizes = []
    for seed in range(8):
        left, top, right, bottom = _random_box(640, 480, 0.3, random.Random(seed))
        sizes.append(min(right - left, bottom - top))
        for side in (30, 200, 400):
            found = decode_crop(tmp_path / "a.jpg", side, 0.3, seed).astype(int)
            whole = decode_crop(tmp_path / "a.png", side, 0.3, seed)
            assert np.abs(found - whole).max() <= 8
    # At an eighth, at a half, and whole.
    assert max(sizes) / 30 > 8 and max(sizes) / 200 > 2 and min(sizes) < 400


def test_a_draw_for_a_batch_is_the_draws_for_its_parts() -> None:
    images = image_set().images
    how = Augmentation(3, True, 5, 0.2)
    drawn = draw(how, len(images), 16, torch.Generator().manual_seed(0))
    whole = apply(images, how, drawn)
    parts = [slice(0, 9), slice(9, 9), slice(9, 23)]
    assert torch.equal(torch.cat([apply(images[p], how, drawn.at(p)) for p in parts]), whole)


@pytest.mark.parametrize("size", [1, 5, 16])
def test_cutout_fills_one_square_with_the_mean_colour(size: int) -> None:
    images = image_set(200)
    fill = torch.tensor([1, 2, 3], dtype=torch.uint8)
    how = Augmentation(0, False, size)
    changed = augment(images.images, how, torch.Generator().manual_seed(0), fill)
    for before, after in zip(images.images, changed, strict=True):
        rows, columns = np.nonzero((after == fill[:, None, None]).all(0).numpy())
        hole = np.zeros((16, 16), bool)
        # Its corners, unless random pixels have just this colour.
        hole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        assert hole.sum() == size**2
        assert torch.equal(before[:, ~hole], after[:, ~hole])


def test_erased_rectangles_have_the_distribution_of_torchvisions() -> None:
    from torchvision.transforms import v2

    n, side = 3000, 20
    how = Augmentation(0, False, erasing=0.6)
    erased = draw(how, n, side, torch.Generator().manual_seed(0)).erased
    assert erased is not None
    present = erased[2] > 0
    assert 0.57 < present.float().mean() < 0.63
    assert not erased[2:, ~present].any()
    torch.manual_seed(1)
    theirs, image = v2.RandomErasing(1.0), torch.zeros(3, side, side)
    made = [theirs.make_params([image]) for _ in range(n)]
    expected = np.array([[params[key] for params in made] for key in "ijhw"])
    found = erased[:, present].numpy()
    for measure in (lambda b: b[2] * b[3], lambda b: b[2] / b[3], lambda b: b[0], lambda b: b[1]):
        assert ks_2samp(measure(found), measure(expected)).pvalue > 1e-3


def test_an_erased_rectangle_has_the_mean_colour_and_the_rest_stays() -> None:
    images = image_set(50)
    fill = torch.tensor([1, 2, 3], dtype=torch.uint8)
    how = Augmentation(0, False, erasing=1.0)
    drawn = draw(how, 50, 16, torch.Generator().manual_seed(0))
    assert drawn.erased is not None
    changed = apply(images.images, how, drawn, fill)
    for i, (top, left, height, width) in enumerate(drawn.erased.T.tolist()):
        hole = torch.zeros(16, 16, dtype=torch.bool)
        hole[top : top + height, left : left + width] = True
        assert (changed[i][:, hole] == fill[:, None]).all()
        assert torch.equal(changed[i][:, ~hole], images.images[i][:, ~hole])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["randaugment", "trivialaugment"])
def test_policies_are_torchvisions_with_a_seed_for_each_image(kind: str, workers: int) -> None:
    from torchvision.transforms import InterpolationMode, v2

    images = image_set(9)
    layout = Layout(4, 16, NOTHING, workers=workers, auto_augment=kind)
    generator = torch.Generator().manual_seed(3)
    batches = list(TrainingLoader(images, layout, CPU).epoch(generator))
    generator.manual_seed(3)
    order = torch.randperm(9, generator=generator)
    parts = order.split(4)
    parts = [parts[0], torch.cat(parts[1:])]  # the ninth image joins them
    seeds = [torch.randint(2**62, (len(part),), generator=generator) for part in parts]
    policy = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}[kind](
        interpolation=InterpolationMode.BILINEAR, fill=[102, 128, 153]
    )
    expected = []
    for index, seed in zip(order.tolist(), torch.cat(seeds).tolist(), strict=True):
        torch.manual_seed(seed)
        expected.append(policy(images.images[index]))
    found = torch.cat([batch.inputs for batch in batches])
    assert torch.equal(found, images.normalize(torch.stack(expected), 16))
    assert not torch.equal(found, images.normalize(images.images[order], 16))


def test_a_policy_for_pictures_without_colours_is_refused() -> None:
    pixels = torch.zeros(4, 5, 8, 8, dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(4), (0.0,) * 5, (1.0,) * 5)
    with pytest.raises(UserError, match=r"auto_augment is randaugment.* have 5 channels; allowed"):
        TrainingLoader(images, Layout(2, 8, NOTHING, auto_augment="randaugment"), CPU)


def test_every_image_is_seen_once_with_its_label_and_normalized() -> None:
    images = image_set()
    batches = epoch(TrainingLoader(images, Layout(8, 16, NOTHING), CPU))
    labels = torch.cat([batch.labels for batch in batches])
    assert [len(batch.labels) for batch in batches] == [8, 8, 7] == [b.size for b in batches]
    assert sorted(labels.tolist()) == list(range(23))
    assert labels.tolist() != list(range(23))
    expected = images.normalize(images.images, 16)[labels]
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), expected)


def test_augmentation_precedes_the_resizing_of_images_in_memory() -> None:
    images = image_set()
    how = Augmentation(4, True)
    (batch,) = epoch(TrainingLoader(images, Layout(23, 8, how), CPU), seed=5)
    generator = torch.Generator().manual_seed(5)
    order = torch.randperm(23, generator=generator)
    expected = images.normalize(augment(images.images[order], how, generator), 8)
    assert torch.equal(batch.inputs, expected)


def test_a_teacher_sees_the_same_images_at_its_side() -> None:
    images = image_set()
    layout = Layout(23, 8, Augmentation(4, True), teacher_side=16)
    (batch,) = epoch(TrainingLoader(images, layout, CPU))
    assert batch.teacher_inputs is not None
    resized = torch.nn.functional.interpolate(
        batch.teacher_inputs, (8, 8), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(resized, batch.inputs, atol=1e-4, rtol=1e-4)


def test_inputs_have_the_memory_format_that_is_wanted() -> None:
    layout = Layout(8, 16, NOTHING, memory_format=torch.channels_last)
    for batch in epoch(TrainingLoader(image_set(), layout, CPU)):
        assert batch.inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("processes", [2, 3])
def test_shards_put_together_are_the_batches_of_one_process(processes: int) -> None:
    how = Augmentation(2, True, 3)
    whole = epoch(TrainingLoader(image_set(), Layout(8, 16, how), CPU))
    shards = [
        epoch(TrainingLoader(image_set(), Layout(8, 16, how, Shard(rank, processes)), CPU))
        for rank in range(processes)
    ]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert torch.equal(torch.cat([part.inputs for part in parts]), batch.inputs)
        assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
        assert {part.size for part in parts} == {batch.size}


@pytest.fixture
def files(tmp_path: Path) -> Callable[[int], ImageFiles]:
    """Return a maker of picture files, all pixels of a picture its number."""

    def make(count: int) -> ImageFiles:
        (tmp_path / "p").mkdir()
        for i in range(count):
            Image.new("RGB", (20, 18), (i, 2 * i, 3 * i)).save(tmp_path / f"p/{i}.png")
        names = tuple(f"{i}.png" for i in range(count))
        save_part(tmp_path / "index", Listed(tmp_path / "p", names, np.arange(count)), ABOUT)
        loaded = load_images(tmp_path / "index")
        assert isinstance(loaded, ImageFiles)
        return loaded

    return make


@pytest.mark.parametrize("workers", [0, 2])
def test_picture_files_come_in_the_order_of_images_in_memory(
    files: Callable[[int], ImageFiles], workers: int
) -> None:
    in_files = files(23)
    side, how = 12, Augmentation(4, True, 4)
    in_memory = ImageSet(
        torch.stack([in_files.decode(i, side) for i in range(23)]),
        torch.arange(23),
        ABOUT.mean,
        ABOUT.spread,
    )
    # Lengths are those of the dense network's images.
    smaller = Augmentation(3, True, 3)
    streamed = TrainingLoader(in_files, Layout(8, side, how, workers=workers), CPU)
    resident = TrainingLoader(in_memory, Layout(8, side, smaller), CPU)
    for seed in (0, 1):
        for one, other in zip(epoch(streamed, seed), epoch(resident, seed), strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert torch.equal(one.labels, other.labels)
    assert list(streamed.sizes) == [8, 8, 7]


def test_picture_files_are_cropped_alike_whoever_decodes_them(tmp_path: Path) -> None:
    names = tuple(f"{i}.png" for i in range(5))
    for name in names:
        Image.fromarray(smooth().permute(1, 2, 0).numpy()).save(tmp_path / name)
    save_part(tmp_path / "index", Listed(tmp_path, names, np.arange(5)), ABOUT)
    pictures = load_images(tmp_path / "index")
    how = Augmentation(0, False, 0, 0.2)
    inputs = {
        (workers, seed): torch.cat([b.inputs for b in epoch(loader, seed)])
        for workers in (0, 2)
        for loader in [TrainingLoader(pictures, Layout(2, 16, how, workers=workers), CPU)]
        for seed in (0, 1)
    }
    assert torch.equal(inputs[0, 0], inputs[2, 0])
    assert torch.equal(inputs[0, 1], inputs[2, 1])
    # All are one picture: no part of it is taken twice.
    every = torch.cat([inputs[0, 0], inputs[0, 1]]).flatten(1)
    assert torch.cdist(every, every).fill_diagonal_(1.0).min() > 1e-3
    shards = [
        TrainingLoader(pictures, Layout(2, 16, how, Shard(rank, 2)), CPU) for rank in range(2)
    ]
    parts = [part.inputs for pair in zip(*map(epoch, shards), strict=True) for part in pair]
    assert torch.equal(torch.cat(parts), inputs[0, 0])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_told_by_name_in_one_sentence(
    files: Callable[[int], ImageFiles], workers: int
) -> None:
    in_files = files(5)
    in_files.path(3).write_bytes(b"nonsense")
    loader = TrainingLoader(in_files, Layout(2, 16, NOTHING, workers=workers), CPU)
    with pytest.raises(UserError, match=r"3\.png") as caught:
        epoch(loader)
    assert "\n" not in str(caught.value)

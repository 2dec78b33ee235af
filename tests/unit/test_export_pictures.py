"""Files for devices: pictures inside, and 8-bit integers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

import prune3d
from prune3d.data.images import ImageSet, ImageSplits
from prune3d.data.pictures import read_picture
from prune3d.errors import UserError
from prune3d.export import export
from prune3d.export.classifier import open_classifier
from prune3d.export.int8 import quantize
from prune3d.export.pictures_inside import take_pictures
from prune3d.models.meaning import Meaning, set_meaning

MEAN, SPREAD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SIZES = [(16, 16), (40, 31), (13, 90), (64, 64), (7, 5), (301, 200)]


def draw(size: tuple[int, int], path: Path) -> np.ndarray:
    pixels = np.random.default_rng(size[0]).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("crop", "stored", "channels"), [(1.0, None, 3), (0.875, None, 3), (1.0, 16, 3), (0.9, 16, 1)]
)
def test_pictures_become_the_inputs_of_the_library(
    size: tuple[int, int],
    crop: float,
    stored: int | None,
    channels: int,
    tmp_path: Path,
    make_network: Callable[..., nn.Module],
) -> None:
    model = prune3d.prune(make_network("resnet8", channels=channels), resolution=0.75)
    set_meaning(model, Meaning(None, MEAN[:channels], SPREAD[:channels], crop, stored))
    export(model, tmp_path / "model.onnx")
    take_pictures(tmp_path / "model.onnx", tmp_path / "pictures.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "pictures.onnx"), full_check=True)
    pixels = draw(size, tmp_path / "one.png")
    session = onnxruntime.InferenceSession(tmp_path / "pictures.onnx")
    (found,) = session.run(None, {"pictures": np.stack([pixels, pixels])})
    (expected,) = open_classifier(tmp_path / "model.onnx").logits([tmp_path / "one.png"])
    # A byte that is rounded the other way is a hundredth of a spread.
    np.testing.assert_allclose(found, np.repeat(expected, 2, 0), atol=0.02, rtol=0.01)
    assert np.median(np.abs(found - expected)) < 2e-3
    told = session.get_modelmeta().custom_metadata_map
    assert (
        told
        == onnxruntime.InferenceSession(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    )


@pytest.mark.parametrize("subsampling", [0, 2], ids=["4:4:4", "4:2:0"])
@pytest.mark.parametrize("size", [(600, 800), (1200, 900)], ids=str)
def test_a_large_jpeg_file_is_decoded_at_a_part_of_its_size_and_differs_little(
    size: tuple[int, int],
    subsampling: int,
    tmp_path: Path,
    make_network: Callable[..., nn.Module],
) -> None:
    model = make_network("resnet8")
    side = model.spec.side
    set_meaning(model, Meaning(None, (0.0,) * 3, (1 / 255,) * 3))  # inputs are levels of 255
    export(model, tmp_path / "model.onnx")
    take_pictures(tmp_path / "model.onnx", tmp_path / "pictures.onnx")
    draw_scene(size).save(tmp_path / "one.jpg", quality=90, subsampling=subsampling)
    whole = read_picture(tmp_path / "one.jpg")
    assert whole.size == size[::-1] > read_picture(tmp_path / "one.jpg", side).size
    whole.save(tmp_path / "whole.png")
    classifier = open_classifier(tmp_path / "model.onnx")
    exact, drafted = (classifier.read(tmp_path / name) for name in ("whole.png", "one.jpg"))
    apart = np.abs(exact - drafted)
    assert 0 < apart.mean() < 3 and apart.max() < 40
    (expected,) = classifier.logits([tmp_path / "whole.png"])
    session = onnxruntime.InferenceSession(tmp_path / "pictures.onnx")
    (found,) = session.run(None, {"pictures": np.asarray(whole)[None]})
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


def draw_scene(size: tuple[int, int]) -> Image.Image:
    """Draw discs with sharp edges on a ground that changes slowly."""
    rng = np.random.default_rng(0)
    height, width = size
    ground = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    picture = Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y, radius = rng.integers(0, width), rng.integers(0, height), rng.integers(4, 150)
        colour = tuple(int(level) for level in rng.integers(0, 256, 3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


def test_a_file_that_does_not_tell_its_mean_takes_no_pictures(
    tmp_path: Path, make_network: Callable[..., nn.Module]
) -> None:
    export(make_network("resnet8"), tmp_path / "model.onnx")
    with pytest.raises(UserError, match="does not say mean and spread"):
        take_pictures(tmp_path / "model.onnx", tmp_path / "pictures.onnx")
    assert not (tmp_path / "pictures.onnx").exists()


@pytest.mark.slow
def test_int8_is_small_and_keeps_the_accuracy(
    tmp_path: Path, digits: ImageSplits, trained_state: dict[str, torch.Tensor]
) -> None:
    model = prune3d.build("resnet14", 10, 8, 1)
    model.load_state_dict(trained_state)
    export(model.eval(), tmp_path / "model.onnx")
    train, judged = digits.train, digits.selection
    assert isinstance(train, ImageSet) and isinstance(judged, ImageSet)
    inputs = list(train.normalize(train.images[:256], 8).numpy())
    for name in ("int8", "again"):
        quantize(tmp_path / "model.onnx", tmp_path / f"{name}.onnx", inputs)
    small, large = (tmp_path / f"{name}.onnx" for name in ("int8", "model"))
    assert small.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    assert small.stat().st_size < 0.4 * large.stat().st_size
    kinds = [node.op_type for node in onnx.load(small).graph.node]
    assert kinds.count("QuantizeLinear") > 10
    asked = judged.normalize(judged.images, 8).numpy()
    right = {}
    for path in (small, large):
        session = onnxruntime.InferenceSession(path)
        (logits,) = session.run(None, {"images": asked})
        right[path] = float((logits.argmax(1) == judged.labels.numpy()).mean())
    assert right[large] > 0.9
    assert right[small] > right[large] - 0.02


def test_int8_needs_images(tmp_path: Path, make_network: Callable[..., nn.Module]) -> None:
    export(make_network("resnet8"), tmp_path / "model.onnx")
    with pytest.raises(UserError, match="without images to calibrate on"):
        quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", [])
    assert not (tmp_path / "int8.onnx").exists()

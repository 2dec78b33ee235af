"""Decoders of JPEG pictures, each doing the same work: a part of a picture as a square, as bytes.

Part of `make bench` and `make bench-gpu`; alone: `python tests/bench/decoders.py`.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

# Of ImageNet's pictures, about.
SIZE, BYTES, AREA, KEPT = (500, 375), 110_000, 0.08, 0.875
ROUNDS, PICTURES = 5, 64
# From a picture's file, the side of the square and a seed to what is decoded.
Decoder = Callable[[Path, int, int], Any]


def write_pictures(folder: Path, count: int = PICTURES) -> list[Path]:
    """Write pictures of ImageNet's usual size in pixels and bytes: smooth, with noise on it."""
    rng, paths = np.random.default_rng(0), []
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
        noise = rng.normal(0, 15, smooth.shape)
        picture = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
        paths.append(folder / f"{i}.jpg")
        picture.save(paths[-1], "JPEG", quality=90)
    return paths


def ours_cropped(path: Path, side: int, seed: int) -> Any:
    """Decode what a training takes."""
    from prune3d.data.pictures import decode_crop

    return decode_crop(path, side, AREA, seed)


def ours_centred(path: Path, side: int, seed: int) -> Any:
    """Decode what an evaluation takes."""
    from prune3d.data.pictures import decode_square

    return decode_square(path, side, KEPT)


def box_of(seed: int | None) -> tuple[float, float, float, float]:
    """Return the part that `ours_cropped` takes, or without a seed `ours_centred`."""
    from prune3d.data.pictures import _random_box

    width, height = SIZE
    if seed is not None:
        return _random_box(width, height, AREA, random.Random(seed))
    edge = KEPT * min(SIZE)
    left, top = (width - edge) / 2, (height - edge) / 2
    return left, top, left + edge, top + edge


def pillow_whole(path: Path, side: int, seed: int, centred: bool) -> Any:
    """Decode all pixels by Pillow."""
    with Image.open(path) as file:
        picture = file.convert("RGB")
    box = box_of(None if centred else seed)
    square = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def torchvision_whole(path: Path, side: int, seed: int, centred: bool) -> Any:
    """Decode all pixels by torchvision.io, and resize bytes by torch."""
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2.functional import resized_crop

    left, top, right, bottom = (round(v) for v in box_of(None if centred else seed))
    pixels = decode_jpeg(read_file(str(path)), mode=ImageReadMode.RGB)
    part = (top, left, bottom - top, right - left)
    return resized_crop(pixels, *part, size=[side, side], antialias=True)


WORKS: dict[str, dict[str, Decoder]] = {
    "random part, resized": {
        "prune3d": ours_cropped,
        "Pillow, all pixels": partial(pillow_whole, centred=False),
        "torchvision.io": partial(torchvision_whole, centred=False),
    },
    "centre, resized": {
        "prune3d": ours_centred,
        "Pillow, all pixels": partial(pillow_whole, centred=True),
        "torchvision.io": partial(torchvision_whole, centred=True),
    },
}


def rates(decoders: dict[str, Decoder], paths: list[Path], side: int) -> dict[str, float]:
    """Return pictures a second of one core, medians of rounds in which the decoders take turns."""
    for decode in decoders.values():
        decode(paths[0], side, 0)
    found: dict[str, list[float]] = {name: [] for name in decoders}
    for _ in range(ROUNDS):
        for name, decode in decoders.items():
            begun = time.process_time()
            for seed, path in enumerate(paths):
                decode(path, side, seed)
            found[name].append(len(paths) / (time.process_time() - begun))
    return {name: statistics.median(each) for name, each in found.items()}


def bench_decoders(say: Callable[[str], None] = print, count: int = PICTURES) -> None:
    """Compare the decoders at the full side and at smaller ones of pruned networks."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), count)
        size = sum(path.stat().st_size for path in paths) / len(paths) / 1000
        say(f"JPEG of {SIZE[0]}x{SIZE[1]}, {size:.0f} kB: pictures a second of one core")
        for work, decoders in WORKS.items():
            for side in (224, 160, 112):
                found = rates(decoders, paths, side)
                shown = ", ".join(f"{name} {rate:,.0f}" for name, rate in found.items())
                say(f"  {work} to {side}: {shown}")
    torch.set_num_threads(threads)


if __name__ == "__main__":
    bench_decoders()

"""Files of images: splits, what all seeds share, and pictures."""

from __future__ import annotations

import io
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from campaign import Target
from mutate import damaged_bytes, damaged_safetensors, put_together, take_apart
from prune3d.data.images import ImageFiles, Images, load_images
from prune3d.data.pictures import decode_square
from prune3d.data.source import Labelled, Listed, Part, Source
from prune3d.data.storage import Description, load_source, save_part, save_source
from prune3d.tensors import KEY, digest

SIDE = 8


def split_target(folder: Path) -> Target:
    """Return the target of split files, of pixels and of names."""
    about = Description(SIDE, 3, ("bird", "cat"), (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    parts = _parts(folder)
    originals = [_written(lambda path, p=part: save_part(path, p, about)) for part in parts]
    return Target(
        folder / "train.safetensors",
        tuple(originals),
        damaged_safetensors(_reseal),
        load_images,
        _as_written(originals, load_images, _same_images),
    )


def source_target(folder: Path) -> Target:
    """Return the target of the file that all seeds share."""
    sources = [Source(p, t, ("bird", "cat")) for p in _parts(folder) for t in (None, p)]
    originals = [_written(lambda path, s=source: save_source(path, s)) for source in sources]
    return Target(
        folder / "pictures.safetensors",
        tuple(originals),
        damaged_safetensors(_reseal),
        load_source,
        _as_written(originals, load_source, lambda a, b: a.classes == b.classes),
    )


def picture_target(folder: Path) -> Target:
    """Return the target of picture files of every format, compression and kind of pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
    colour = Image.fromarray(pixels)
    grey = colour.convert("L")
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    palette = colour.convert("P", palette=Image.Palette.ADAPTIVE)
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((colour, kind, {}) for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")),
        (grey, "PNG", {}),
        (grey, "JPEG", {"progressive": True}),
        (deep, "PNG", {}),
        (deep, "TIFF", {}),
        (palette, "GIF", {}),
        (palette, "PNG", {"transparency": 0}),
        (palette, "TIFF", {}),
        (palette, "BMP", {}),
        (colour, "WEBP", {"lossless": True}),
        *(
            (colour, "TIFF", {"compression": name})
            for name in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg")
        ),
        (colour.convert("RGBA"), "PNG", {}),
        (colour.convert("CMYK"), "JPEG", {}),
    ]
    originals = []
    for picture, kind, options in kinds:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        originals.append(stream.getvalue())
    return Target(
        folder / "picture.png",
        tuple(originals),
        _damaged_picture,
        lambda path: decode_square(path, SIDE),
        # Formats without checksums cannot tell another pixel from a damaged one.
        lambda square, content: square.shape == (3, SIDE, SIDE) and square.dtype == np.uint8,
    )


def _damaged_picture(content: bytes, rng: random.Random) -> bytes:
    """Damage a picture, more often in the numbers of its header than elsewhere."""
    if rng.random() < 0.5:
        return damaged_bytes(content, rng)
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        changed[rng.randrange(min(len(changed), 200))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def _parts(folder: Path) -> list[Part]:
    rng = np.random.default_rng(0)
    labels = np.arange(6) % 2
    pixels = rng.integers(0, 256, (6, 3, SIDE, SIDE)).astype(np.uint8)
    names = tuple(f"{'cat' if label else 'bird'}/{i}.png" for i, label in enumerate(labels))
    return [Labelled(pixels, labels), Listed(folder, names, labels)]


def _written(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        write(Path(place) / "a")
        return (Path(place) / "a").read_bytes()


def _reseal(content: bytes) -> bytes:
    """Give a split file the digest of its changed content."""
    from safetensors.numpy import load

    header, data = take_apart(content)
    own = json.loads(header["__metadata__"][KEY])
    rest = {name: value for name, value in own.items() if name not in ("digest", "format")}
    own["digest"] = digest(rest, load(content))
    header["__metadata__"][KEY] = json.dumps(own)
    return put_together(header, data)


def _as_written(
    originals: list[bytes], read: Callable[[Path], Any], same: Callable[[Any, Any], bool]
) -> Callable[[Any, bytes], bool]:
    """Return what tells whether a file with an original's digest was read as the original."""
    wanted = {_digest(content): content for content in originals}

    def right(value: Any, content: bytes) -> bool:
        original = wanted.get(_digest(content))
        if original is None:
            return True  # sealed anew: as consistent as any other file
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "a").write_bytes(original)
            return same(value, read(Path(place) / "a"))

    return right


def _digest(content: bytes) -> str:
    try:
        return str(json.loads(take_apart(content)[0]["__metadata__"][KEY])["digest"])
    except Exception:
        return ""


def _same_images(one: Images, other: Images) -> bool:
    if one.labels.tolist() != other.labels.tolist() or one.mean != other.mean:
        return False
    if isinstance(one, ImageFiles) or isinstance(other, ImageFiles):
        return _paths(one) == _paths(other)
    return torch.equal(one.images, other.images)


def _paths(images: Images) -> list[str]:
    paths = isinstance(images, ImageFiles)
    return [str(images.path(i)) for i in range(len(images))] if paths else []

"""The file of one split: images as bytes, or an index of picture files. Needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.data.source import Labelled, Listed, Part
from prune3d.tensors import read_header, write_arrays

FORMAT = "prune3d images 2"


@dataclass(frozen=True)
class Description:
    """What a split's file tells of its data set.

    Attributes
    ----------
    side
        Side in pixels of the square images that the dense network is to see.
    channels
        1 for grey, 3 for colour.
    classes
        Names of the classes; a label is an index into them.
    mean, spread
        Of each channel over the training images, pixels in [0, 1].
    crop
        Part of a picture's shorter side that its central square keeps; see `pictures`.
    """

    side: int
    channels: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    crop: float = 1.0


def save_part(path: str | Path, part: Part, about: Description) -> None:
    """Write a split: the pixels it holds, or the names of its picture files."""
    header = {
        "side": about.side,
        "channels": about.channels,
        "classes": list(about.classes),
        "mean": [round(value, 6) for value in about.mean],
        "spread": [round(value, 6) for value in about.spread],
        "crop": about.crop,
    }
    arrays: dict[str, NDArray[Any]] = {"labels": part.labels}
    if isinstance(part, Labelled):
        arrays["images"] = part.images
    else:
        arrays["names"], arrays["ends"] = pack(part)
        header["root"] = str(part.root)
    write_arrays(path, arrays, FORMAT, header)


def describe(path: str | Path) -> Description:
    """Read what a split's file tells of its data set, not its images.

    Raises
    ------
    prune3d.errors.CheckpointError
        If it is no such file.
    """
    return description_of(read_header(path, FORMAT))


def description_of(header: dict[str, Any]) -> Description:
    """Return the description in a split file's header."""
    known = {name: header[name] for name in Description.__dataclass_fields__}
    lists = {name: tuple(v) for name, v in known.items() if isinstance(v, list)}
    return Description(**{**known, **lists})


def pack(files: Listed) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all names in one array of bytes, and where each ends.

    A million names are then two arrays, which worker processes share, and not a million objects.
    """
    encoded = [os.fsencode(name) for name in files.names]
    ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), ends

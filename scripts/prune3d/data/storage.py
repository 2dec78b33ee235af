"""The files of images: one for each split, and one for what all seeds share. Needs no torch.

Images are bytes, or an index of picture files. What a file says is checked when it is read, by its
digest too: a file that was changed is refused.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Never, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from prune3d.data.source import Labelled, Listed, Part, Source
from prune3d.errors import CheckpointError
from prune3d.tensors import digest, read_arrays, read_header, write_arrays

FORMAT = "prune3d images 3"
SOURCE_FORMAT = "prune3d pictures 1"
AGAIN = "delete it and give the same command again"

T = TypeVar("T")
Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


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

    side: Annotated[int, Field(ge=1, le=100_000)]
    channels: Annotated[int, Field(ge=1, le=1_000)]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    mean: tuple[Unit, ...]
    spread: tuple[Unit, ...]
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.spread) == self.channels:
            raise ValueError("it needs a mean and a spread for each channel")

    def rounded(self) -> Description:
        """Return it with six digits of mean and spread."""
        mean, spread = (tuple(round(v, 6) for v in values) for values in (self.mean, self.spread))
        return replace(self, mean=mean, spread=spread)


@dataclass(frozen=True)
class Index:
    """Picture files and their labels, in as few objects as possible.

    A million names are two arrays, which worker processes share, and not a million objects.

    Attributes
    ----------
    root
        Folder that the names start from.
    names, ends
        All names one after another as bytes, uint8, and where each ends, int64, shape (N,).
    labels
        int64, shape (N,), indices of classes.
    """

    root: Path
    names: NDArray[np.uint8]
    ends: NDArray[np.int64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, files: Listed) -> Index:
        """Pack a list of names."""
        encoded = [os.fsencode(name) for name in files.names]
        ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        return cls(files.root, np.frombuffer(b"".join(encoded), np.uint8), ends, files.labels)

    def listed(self) -> Listed:
        """Return the names as they were before they were packed."""
        text, begins = self.names.tobytes(), [0, *self.ends.tolist()]
        names = (os.fsdecode(text[a:b]) for a, b in itertools.pairwise(begins))
        return Listed(self.root, tuple(names), self.labels)


def save_part(path: str | Path, part: Part, about: Description) -> None:
    """Write a split: the pixels it holds, or the names of its picture files."""
    arrays, root = _arrays(part)
    _write(path, arrays, FORMAT, {**asdict(about), **root})


def describe(path: str | Path) -> Description:
    """Read what a split's file tells of its data set, not its images.

    Raises
    ------
    CheckpointError
        If it is no such file.
    """
    return _description(path, read_header(path, FORMAT))


def holds_pixels(path: str | Path) -> bool:
    """Tell whether a split's file holds the images themselves, and not the names of pictures."""
    return "root" not in read_header(path, FORMAT)


def load_part(path: str | Path) -> tuple[Labelled | Index, Description, str]:
    """Read what `save_part` wrote, and the SHA-256 of it all that the file holds.

    Raises
    ------
    CheckpointError
        If it is no such file, or was changed.
    """
    arrays, header, known = _read(path, FORMAT)
    about = _description(path, header)
    shape = (about.channels, about.side, about.side)
    return _part(path, arrays, header, "", len(about.classes), shape), about, known


def save_source(path: str | Path, source: Source) -> None:
    """Write a data set that was read and checked, not split yet."""
    arrays, root = _arrays(source.train)
    header: dict[str, Any] = {"classes": list(source.classes), **root}
    if source.test is not None:
        own, root = _arrays(source.test)
        arrays |= {f"test_{name}": array for name, array in own.items()}
        header |= {f"test_{name}": value for name, value in root.items()}
    _write(path, arrays, SOURCE_FORMAT, header)


def load_source(path: str | Path) -> Source:
    """Read what `save_source` wrote.

    Raises
    ------
    CheckpointError
        If it is no such file, or was changed.
    """
    arrays, header, _ = _read(path, SOURCE_FORMAT)
    classes = _checked(path, TypeAdapter(tuple[str, ...]), header.get("classes"))
    parts = [
        _part(path, arrays, header, prefix, len(classes))
        for prefix in ("", "test_")
        if f"{prefix}labels" in arrays or not prefix
    ]
    train, *test = (p.listed() if isinstance(p, Index) else p for p in parts)
    return Source(train, test[0] if test else None, classes)


def _arrays(part: Part) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return a part's arrays, and the folder of its pictures for the header."""
    if isinstance(part, Labelled):
        return {"labels": part.labels, "images": part.images}, {}
    index = Index.of(part)
    arrays: dict[str, NDArray[Any]] = {"labels": index.labels, "names": index.names}
    return {**arrays, "ends": index.ends}, {"root": str(part.root)}


def _write(
    path: str | Path, arrays: dict[str, NDArray[Any]], form: str, header: dict[str, Any]
) -> None:
    write_arrays(path, arrays, form, {**header, "digest": digest(header, arrays)})


def _read(path: str | Path, form: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any], str]:
    arrays, header = read_arrays(path, form)
    said = header.pop("digest", None)
    content = {name: value for name, value in header.items() if name != "format"}
    known = digest(content, arrays)
    if said != known:
        _refuse(path, "its digest is not that of its content")
    return arrays, header, known


def _part(
    path: str | Path,
    arrays: Mapping[str, NDArray[Any]],
    header: Mapping[str, Any],
    prefix: str,
    classes: int,
    shape: tuple[int, int, int] | None = None,
) -> Labelled | Index:
    """Take a part from the arrays whose names begin with a prefix, checked against the header."""
    labels = _array(path, arrays, f"{prefix}labels", np.int64, 1)
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        _refuse(path, f"a label is outside 0 to {classes - 1}")
    if f"{prefix}images" in arrays:
        images = _array(path, arrays, f"{prefix}images", np.uint8, 4)
        if len(images) != len(labels) or (shape is not None and images.shape[1:] != shape):
            _refuse(path, "its images are not those that its header tells of")
        return Labelled(images, labels)
    root = header.get(f"{prefix}root")
    if not isinstance(root, str) or not root:
        _refuse(path, "it names no folder of pictures")
    names = _array(path, arrays, f"{prefix}names", np.uint8, 1)
    ends = _array(path, arrays, f"{prefix}ends", np.int64, 1)
    lengths = np.diff(ends, prepend=0)
    if len(ends) != len(labels) or ends[-1:].sum() != len(names) or (lengths <= 0).any():
        _refuse(path, "its list of pictures does not fit its labels")
    return Index(Path(root), names, ends, labels)


def _array(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], name: str, kind: type, dimensions: int
) -> NDArray[Any]:
    array = arrays.get(name)
    if array is None or array.dtype != kind or array.ndim != dimensions:
        _refuse(path, f"'{name}' is missing or of another kind")
    return array


def _description(path: str | Path, header: Mapping[str, Any]) -> Description:
    known = {n: header[n] for n in Description.__dataclass_fields__ if n in header}
    return _checked(path, TypeAdapter(Description), known)


def _checked(path: str | Path, kind: TypeAdapter[T], value: Any) -> T:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "header"
        _refuse(path, f"{place}: {first['msg']}")


def _refuse(path: str | Path, why: str) -> Never:
    raise CheckpointError(f"{path} is damaged or was changed ({why}); {AGAIN}.")

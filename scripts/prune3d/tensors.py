"""The project's safetensors files: one JSON header, every failure told by the file's name.

The header is a single metadata entry, since safetensors writes several in random order and the same
content should give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from prune3d.errors import CheckpointError
from prune3d.files import atomic_path, unwritable

Header = dict[str, Any]
KEY = "prune3d"
AGAIN = "delete it and run again what wrote it, such as the same snakemake command"
# Of files that may be the user's own.
OTHER = f"name another, or, if prune3d wrote it, {AGAIN}"
T = TypeVar("T")


def write_arrays(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], file_format: str, header: Header
) -> None:
    """Write arrays and a JSON header atomically.

    Parameters
    ----------
    path
        Name of the file.
    arrays
        Arrays by name.
    file_format
        Kind and version, such as ``prune3d model 1``.
    header
        Plain values for JSON.
    """
    text = json.dumps({**header, "format": file_format}, sort_keys=True)
    # A scalar would become a vector of one element.
    contiguous = {n: np.ascontiguousarray(a).reshape(a.shape) for n, a in arrays.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(contiguous, temporary, metadata={KEY: text})
        except SafetensorError as error:
            raise unwritable(path, error) from None


def read_arrays(path: str | Path, file_format: str) -> tuple[dict[str, NDArray[Any]], Header]:
    """Read all arrays and the header of a file in one of prune3d's formats.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, or of another version.
    """
    with _open(path) as file:
        header = _header(path, file.metadata())
        _check_format(path, header, file_format)
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return arrays, header


def read_header(path: str | Path, file_format: str | None = None) -> Header:
    """Read the header alone; empty in a foreign file unless a format is asked for.

    See `read_arrays` for the errors.
    """
    with _open(path) as file:
        header = _header(path, file.metadata())
    if file_format is not None:
        _check_format(path, header, file_format)
    return header


def digest(content: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of a header's content and of the arrays, which are not copied."""
    sha = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name]).reshape(np.shape(arrays[name]))
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def parse_as(schema: TypeAdapter[T], header: Header, path: str | Path) -> T:
    """Return a header as what its schema makes of it.

    Raises
    ------
    CheckpointError
        If keys are missing or unknown, or a value has the wrong type or is out of range.
    """
    try:
        # As from JSON: lists become tuples, but no text becomes a number.
        return schema.validate_json(json.dumps(header), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = " ".join(first["msg"].split())[:200]
        raise CheckpointError(
            f"{path} has a header that cannot be read ({where[:100]!a}: {said}); {AGAIN}."
        ) from None


def in_short(error: BaseException) -> str:
    """Return what an error says of a damaged file, as it can be part of a sentence."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text[:200])


def _check_format(path: str | Path, header: Header, file_format: str) -> None:
    kind, _, version = file_format.rpartition(" ")
    found = str(header.get("format", ""))[:60]
    if not found.startswith(f"{kind} "):
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of '{file_format}'; {OTHER}."
        )
    if found != file_format:
        raise CheckpointError(
            f"{path} has format {found!a}, but this prune3d reads version {version}: it was "
            f"written by another version of prune3d; {AGAIN}."
        )


def _header(path: str | Path, metadata: Mapping[str, str] | None) -> Header:
    try:
        header = json.loads(
            (metadata or {}).get(KEY, "{}"),
            object_pairs_hook=_once,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise CheckpointError(
            f"{path} has a damaged header (nested too deeply); {AGAIN}."
        ) from None
    except ValueError as error:
        raise CheckpointError(
            f"{path} has a damaged header ({in_short(error)}); {AGAIN}."
        ) from None
    return header if isinstance(header, dict) else {}


def _once(pairs: list[tuple[str, Any]]) -> Header:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is there twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


@contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({in_short(error)}); {OTHER}."
        ) from None

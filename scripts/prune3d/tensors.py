"""Reading safetensors files, with every failure told by the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from prune3d.errors import CheckpointError


def read_tensors(path: str | Path, expected: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors and the metadata of a file in one of prune3d's formats.

    Parameters
    ----------
    path
        A safetensors file.
    expected
        The format and version that its metadata must name, such as ``prune3d model 1``.

    Returns
    -------
    tuple
        Tensors by name, on the CPU, and metadata.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, or of another version.
    """
    with _open(path) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = metadata.get("format", "")
    kind, _, version = expected.rpartition(" ")
    if not found.startswith(f"{kind} "):
        raise CheckpointError(f"{path} is a safetensors file, but not one of '{expected}'.")
    if found != expected:
        raise CheckpointError(
            f"{path} has format '{found}', but this prune3d reads version {version}; "
            "it was written by another version of prune3d."
        )
    return tensors, metadata


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the metadata alone; see `read_tensors` for the errors."""
    with _open(path) as file:
        return file.metadata() or {}


@contextmanager
def _open(path: str | Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist.") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({error}); delete it and make it again."
        ) from None

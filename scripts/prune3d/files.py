"""Reading and writing the workflow's files: always complete, never half written."""

from __future__ import annotations

import contextlib
import csv
import errno
import glob
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prune3d.errors import UserError

# Larger than any file of text that the workflow reads.
MOST_BYTES = 1 << 28
# What is wrong with the place, not with the program: a full disk, a quota, a limit on the size of
# files, a broken or read-only disk, a folder that is gone or belongs to somebody else.
PLACE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ESTALE,
        errno.ENAMETOOLONG,
    }
)
PARTIAL = "partial"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that is renamed to it on success and removed on failure.

    Its content is on the disk before it gets its name. What a killed process leaves is removed by
    `remove_partial`.

    Parameters
    ----------
    path
        Final file name; its folder is made when absent.

    Yields
    ------
    Path
        Name to write to, in the same folder and with the same suffix.

    Raises
    ------
    UserError
        If the folder cannot be written, is gone, or the disk is full; the file is then as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=f".{PARTIAL}{path.suffix}", dir=path.parent
        )
    except OSError as error:
        raise unwritable(path, error.strerror) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results are for everyone the umask allows.
        temporary.chmod(_public_mode())
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        if is_of_place(error, temporary):
            raise unwritable(path, error.strerror) from None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_partial(path: str | Path) -> None:
    """Remove what killed writers of a file left; to be called where nobody else writes it."""
    path = Path(path)
    pattern = f".{glob.escape(path.name)}.*.{PARTIAL}{glob.escape(path.suffix)}"
    with contextlib.suppress(OSError):
        for left in path.parent.glob(pattern):
            left.unlink(missing_ok=True)


def _public_mode() -> int:
    """Return the permissions that the umask gives to a new file."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def is_of_place(error: OSError, path: Path) -> bool:
    """Tell whether a file cannot be written because of its place, be it full, gone or protected."""
    named = error.filename is None or os.fspath(error.filename) == os.fspath(path)
    return error.errno in PLACE and named


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def check_writable(folder: str | Path, levels: int = 2) -> None:
    """Refuse a folder in which no file can be made, or that has such folders in it.

    Parameters
    ----------
    folder
        Made when absent.
    levels
        How far down to look.

    Raises
    ------
    UserError
        If there is one.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\n")
    except OSError as error:
        raise unwritable(folder, error.strerror) from None
    for level in range(1, levels + 1):
        for path in folder.glob("/".join("*" * level)):
            if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
                raise unwritable(path, "it belongs to somebody else, or is read-only")


def unwritable(path: str | Path, reason: object) -> UserError:
    """Return the error that a file cannot be written, as on a full disk."""
    return UserError(f"{path} cannot be written ({reason}).")


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Mapping[str, Any]) -> None:
    """Write an object as indented JSON with sorted keys; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object; keys that are there twice, NaN and infinity are refused.

    Raises
    ------
    UserError
        If the file is missing, cannot be read, is not JSON or holds no object.
    """
    try:
        value = json.loads(
            read_text(path),
            object_pairs_hook=_without_repetitions,
            parse_constant=_finite,
            parse_float=_finite,
        )
    except RecursionError:
        raise damaged(path, "is not a JSON file of ours (nested too deeply)") from None
    except UserError:
        raise
    except ValueError as error:
        raise damaged(path, f"is not a JSON file ({str(error)[:200]})") from None
    if not isinstance(value, dict):
        raise damaged(path, f"holds a JSON {type(value).__name__}, not an object")
    return value


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is no finite number")
    return value


def read_text(path: str | Path) -> str:
    """Read UTF-8 text as it is, line ends included.

    Raises
    ------
    UserError
        If the file is missing, cannot be read, is no UTF-8 or far larger than any of ours.
    """
    path = Path(path)
    try:
        # A pipe or a device would keep the reader for ever.
        if path.exists() and not path.is_file():
            raise damaged(path, "is no file")
        if path.stat().st_size > MOST_BYTES:
            raise damaged(path, f"is larger than {MOST_BYTES} bytes")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise damaged(path, f"is no UTF-8 text (byte {error.start})") from None


def damaged(path: str | Path, what: str) -> UserError:
    """Return the error that a file of the workflow is not what it should be."""
    return UserError(f"{path} {what}; delete it, and the same command makes it anew.")


def shown(value: object) -> str:
    """Return a value in quotes as it can be printed in a sentence, long ones cut."""
    text = str(value)
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows as CSV; floats keep the shortest form that reads back to the same number."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

"""The archives in which standard data sets are handed out: found, fetched, verified, unpacked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from prune3d.errors import UserError


@dataclass(frozen=True)
class Archive:
    """A file as its source publishes it.

    Attributes
    ----------
    name
        File name.
    md5
        Checksum in hexadecimal digits.
    size
        In bytes.
    url
        Where it can be fetched, or None where the source wants a registration.
    """

    name: str
    md5: str
    size: int
    url: str | None = None

    def __str__(self) -> str:
        unit = "GB" if self.size >= 1e9 else "MB"
        return f"{self.name} ({self.size / (1e9 if unit == 'GB' else 1e6):.3g} {unit})"


def unpacked(root: Path, folder: str, archive: Archive, download: bool) -> Path:
    """Return the folder of a data set, unpacked from its archive if it is not there yet.

    Parameters
    ----------
    root
        Where folder and archive lie.
    folder
        Name of the folder, which is also the archive's only folder.
    archive
        What it is unpacked from.
    download
        Whether the archive may be fetched.

    Raises
    ------
    UserError
        If neither is there, or the archive is not the one that the source publishes.
    """

    def make(place: Path) -> None:
        from torchvision.datasets.utils import extract_archive

        if download and not (root / archive.name).exists():
            fetch(root, archive)
        verify(root, archive)
        extract_archive(str(root / archive.name), str(place))
        (place / folder).rename(root / folder)

    if not (root / folder).is_dir() and not (root / archive.name).exists() and not download:
        raise UserError(
            f"there is neither the folder {root / folder} nor the archive {archive} in {root}; "
            f"get it from {archive.url} or set data.download to true."
        )
    make_once(root, root / folder, make)
    return root / folder


def make_once(root: Path, target: Path, make: Callable[[Path], None]) -> None:
    """Make a folder in a temporary place beside it, one process at a time, if it is not there.

    Runs of several seeds look for the same folder at the same time.
    """
    if target.is_dir():
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".prune3d.lock"):
            if not target.is_dir():
                with tempfile.TemporaryDirectory(prefix=".prune3d.", dir=root) as place:
                    make(Path(place))
    except OSError as error:
        raise UserError(f"{target} cannot be made ({error}).") from None


def verify(root: Path, archive: Archive) -> None:
    """Refuse an archive that is missing or has another checksum than the published one."""
    from torchvision.datasets.utils import check_integrity

    if not check_integrity(str(root / archive.name), archive.md5):
        raise not_published(root, archive)


def not_published(root: Path, archive: Archive) -> UserError:
    """Return the error that an archive is not the one that its source publishes."""
    path = root / archive.name
    found = f"has {path.stat().st_size} bytes" if path.exists() else "does not exist"
    return UserError(
        f"{path} {found}, and the published file has {archive.size} bytes and the MD5 "
        f"{archive.md5}; get it again."
    )


def fetch(root: Path, archive: Archive) -> None:
    """Fetch an archive; a broken transfer leaves nothing behind.

    Raises
    ------
    UserError
        If it cannot be had.
    """
    from torchvision.datasets.utils import download_url

    with tempfile.TemporaryDirectory(prefix=".prune3d.", dir=root) as place:
        try:
            download_url(str(archive.url), place, archive.name, archive.md5)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{archive} cannot be fetched from {archive.url} ({error}); put it into {root}."
            ) from None
        (Path(place) / archive.name).rename(root / archive.name)

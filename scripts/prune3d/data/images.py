"""Images of one split: held as bytes on the device that trains, or read from their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from prune3d.data.source import SMALLEST_SPREAD, Labelled, Listed
from prune3d.data.storage import Description, Index, load_part, save_part
from prune3d.errors import UserError

BATCH = 512
# Pictures from files are larger than those that are held in memory.
FILES_BATCH = 128


@dataclass(frozen=True)
class ImageSet:
    """Images and labels of one split, in memory.

    Attributes
    ----------
    images
        uint8, shape (N, channels, side, side).
    labels
        int64, shape (N,). The device they are on is the one that batches are put on.
    mean, spread
        Of each channel over the training images, pixels in [0, 1].
    known
        The digest of the file that they were read from, which none others have; empty where they
        come from no file, or differ from it as copies by `dataclasses.replace` may.
    file
        That file; None where `known` is empty.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    known: str = field(default="", init=False)
    file: Path | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.images.shape[1]

    @property
    def side(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    def with_batches_on(self, device: torch.device) -> ImageSet:
        """Return the same images where they are, whose batches will be on a device."""
        return remember(replace(self, labels=self.labels.to(device)), self.known, self.file)

    def digest(self) -> str:
        """Return a SHA-256 of images, labels and statistics; without reading them where known."""
        return self.known or _digest((self.mean, self.spread), self.images, self.labels)

    def subset(self, count: int, seed: int) -> ImageSet:
        """Return `count` random images, or all where there are no more."""
        if count >= len(self):
            return self
        chosen = choose(count, len(self), seed)
        images, labels = (all_[chosen.to(all_.device)] for all_ in (self.images, self.labels))
        return replace(self, images=images, labels=labels)

    def take(self, indices: Tensor) -> Tensor:
        """Return some images as bytes, shape (n, channels, side, side)."""
        return self.images[indices.to(self.images.device)].to(self.labels.device)

    def normalize(self, images: Tensor, side: int) -> Tensor:
        """Turn bytes into the network's input; see `normalize`."""
        return normalize(images, side, self.mean, self.spread)

    def batches(self, side: int, size: int = BATCH) -> Iterator[Tensor]:
        """Yield all images in order, normalized and resized, in equal parts of `size` or more."""
        for part in self.images.tensor_split(max(1, len(self) // size)):
            yield self.normalize(part.to(self.labels.device), side)


@dataclass(frozen=True)
class ImageFiles:
    """Images of one split that stay in their picture files until they are needed.

    An index only: two arrays for the names, however many there are. It can be pickled for worker
    processes.

    Attributes
    ----------
    root
        Folder that the names start from.
    names, ends
        All names one after another as bytes, uint8, and where each ends, int64, shape (N,).
    labels
        int64, shape (N,). The device they are on is the one that batches are put on.
    mean, spread
        Of each channel over the training images, pixels in [0, 1].
    side
        Side in pixels of the central square that the dense network sees.
    crop
        Part of a picture's shorter side that the square keeps, in (0, 1].
    known, file
        As in `ImageSet`.
    """

    root: Path
    names: NDArray[np.uint8]
    ends: NDArray[np.int64]
    labels: Tensor
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    side: int
    crop: float
    known: str = field(default="", init=False)
    file: Path | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def channels(self) -> int:
        """3: pictures are read in colour."""
        return 3

    def with_batches_on(self, device: torch.device) -> ImageFiles:
        """Return the same images, whose batches will be on a device."""
        return remember(replace(self, labels=self.labels.to(device)), self.known, self.file)

    def digest(self) -> str:
        """Return a SHA-256 of names, labels, statistics and place, not of what the files hold."""
        about = (os.fsencode(self.root), self.mean, self.spread, self.side, self.crop)
        arrays = (torch.tensor(array) for array in (self.names, self.ends))
        return self.known or _digest(about, *arrays, self.labels)

    def subset(self, count: int, seed: int) -> ImageFiles:
        """Return `count` random images, or all where there are no more."""
        if count >= len(self):
            return self
        chosen = choose(count, len(self), seed)
        names = [self._name(int(i)) for i in chosen]
        return replace(
            self,
            names=np.frombuffer(b"".join(names), dtype=np.uint8),
            ends=np.cumsum([len(name) for name in names], dtype=np.int64),
            labels=self.labels[chosen.to(self.labels.device)],
        )

    def path(self, index: int) -> Path:
        """Return the path of one picture."""
        return self.root / os.fsdecode(self._name(index))

    def decode(self, index: int, side: int) -> Tensor:
        """Read one picture, uint8, shape (3, side, side).

        Raises
        ------
        UserError
            If its file is missing or damaged, with its name.
        """
        # Pillow is loaded only where pictures are.
        from prune3d.data.pictures import decode_square

        return torch.from_numpy(decode_square(self.path(index), side, self.crop))

    def decode_crop(self, index: int, side: int, area: float, seed: int) -> Tensor:
        """Read a random part of one picture; see `decode` and `prune3d.data.pictures`."""
        from prune3d.data.pictures import decode_crop

        return torch.from_numpy(decode_crop(self.path(index), side, area, seed))

    def take(self, indices: Tensor) -> Tensor:
        """Return some images as bytes at full side, shape (n, 3, side, side)."""
        return self._read(indices.tolist(), self.side)

    def normalize(self, images: Tensor, side: int) -> Tensor:
        """Turn bytes into the network's input; see `normalize`."""
        return normalize(images, side, self.mean, self.spread)

    def batches(self, side: int, size: int = FILES_BATCH) -> Iterator[Tensor]:
        """Yield all images in order, normalized and at a side, in equal parts of `size` or more."""
        for part in torch.arange(len(self)).tensor_split(max(1, len(self) // size)):
            yield self.normalize(self._read(part.tolist(), side), side)

    def _name(self, index: int) -> bytes:
        first = int(self.ends[index - 1]) if index else 0
        return self.names[first : int(self.ends[index])].tobytes()

    def _read(self, indices: list[int], side: int) -> Tensor:
        # Decoders let other threads run.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            squares = list(pool.map(partial(self.decode, side=side), indices))
        return torch.stack(squares).to(self.labels.device)


Images = ImageSet | ImageFiles
Some = TypeVar("Some", ImageSet, ImageFiles)


def remember(images: Some, known: str, file: Path | None) -> Some:
    """Return images with their file and its digest."""
    object.__setattr__(images, "known", known)
    object.__setattr__(images, "file", file)
    return images


def _digest(about: tuple[object, ...], *tensors: Tensor) -> str:
    """Hash plain values and tensors, a part at a time."""
    sha = hashlib.sha256(repr(about).encode())
    for tensor in tensors:
        sha.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        for part in tensor.split(BATCH):
            sha.update(part.cpu().contiguous().numpy().data)
    return sha.hexdigest()


def choose(count: int, of: int, seed: int) -> Tensor:
    """Return `count` different indices below `of` in rising order, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(of, generator=generator)[:count].sort().values


def normalize(
    images: Tensor, side: int, mean: tuple[float, ...], spread: tuple[float, ...]
) -> Tensor:
    """Turn bytes into a network's input.

    Parameters
    ----------
    images
        uint8, shape (n, channels, height, width).
    side
        Side in pixels to resize to, bilinear with antialiasing.
    mean, spread
        Of each channel, pixels in [0, 1].

    Returns
    -------
    Tensor
        float32, shape (n, channels, side, side), mean 0 and spread 1 over the training images.
    """
    return standardize(images, side, *scales(mean, spread, images.device))


def standardize(images: Tensor, side: int, mean: Tensor, spread: Tensor) -> Tensor:
    """Do what `normalize` does, with `scales` of the images' device; of floats up to 255, too."""
    x = images / 255
    if x.shape[-1] != side:
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
    return (x - mean) / spread


@lru_cache(maxsize=16)
def scales(
    mean: tuple[float, ...], spread: tuple[float, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return mean and spread on a device, shape (1, channels, 1, 1).

    Kept there: a copy for each batch would make a GPU wait.
    """
    here, there = (torch.tensor(values, device=device) for values in (mean, spread))
    return here.view(1, -1, 1, 1), there.view(1, -1, 1, 1).clamp_min(SMALLEST_SPREAD)


def split_batches(order: Tensor, size: int) -> list[Tensor]:
    """Split indices into batches; a last batch of one image joins the one before it.

    Batch norm cannot be trained on a single value per channel.
    """
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


@dataclass(frozen=True)
class ImageSplits:
    """The images that may be looked at before the final evaluation."""

    train: Images
    selection: Images

    def with_batches_on(self, device: torch.device) -> ImageSplits:
        """Return the same images where they are, whose batches will be on a device."""
        return ImageSplits(
            self.train.with_batches_on(device), self.selection.with_batches_on(device)
        )

    def probe(self, count: int, seed: int) -> ImageSplits:
        """Return the splits with the training images of `subset`: all that pruning looks at."""
        return ImageSplits(self.train.subset(count, seed), self.selection)


def load_images(path: str | Path) -> Images:
    """Read what `prune3d.data.storage.save_part` wrote: bytes, or an index of picture files.

    Raises
    ------
    prune3d.errors.CheckpointError
        If the file is not such a file, or was changed.
    UserError
        If it is an index and the pictures' folder is gone.
    """
    part, about, known = load_part(path)
    labels = torch.from_numpy(part.labels)
    if isinstance(part, Labelled):
        pixels = torch.from_numpy(part.images)
        return remember(ImageSet(pixels, labels, about.mean, about.spread), known, Path(path))
    if not part.root.is_dir():
        raise UserError(
            f"{path} lists pictures in {part.root}, which is no folder any more; put it back, or "
            "give its new place as data.root."
        )
    look = (about.mean, about.spread, about.side, about.crop)
    return remember(ImageFiles(part.root, part.names, part.ends, labels, *look), known, Path(path))


def save_images(path: str | Path, images: Images, classes: int) -> None:
    """Write images for `load_images`; their classes, as many as are given, get numbers as names."""
    labels = images.labels.cpu().numpy()
    part: Labelled | Listed
    if isinstance(images, ImageSet):
        part, crop = Labelled(images.images.cpu().numpy(), labels), 1.0
    else:
        index = Index(images.root, images.names, images.ends, labels)
        part, crop = index.listed(), images.crop
    names = tuple(str(i) for i in range(classes))
    look = (images.mean, images.spread, crop)
    save_part(path, part, Description(images.side, images.channels, names, *look))


def load_splits(train: str | Path, selection: str | Path) -> ImageSplits:
    """Read the training and the selection images."""
    return ImageSplits(load_images(train), load_images(selection))

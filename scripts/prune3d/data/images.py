"""Images held as bytes on the device that trains, and turned into batches there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from prune3d.data.split import FORMAT
from prune3d.tensors import read_arrays

BATCH = 512


@dataclass(frozen=True)
class ImageSet:
    """Images and labels of one split.

    Attributes
    ----------
    images
        uint8, shape (N, channels, side, side).
    labels
        int64, shape (N,).
    mean, spread
        Of each channel over the training images, pixels in [0, 1].
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> ImageSet:
        """Return the same images on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def subset(self, count: int, seed: int) -> ImageSet:
        """Return `count` random images, or all where there are no more."""
        if count >= len(self):
            return self
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self), generator=generator)[:count].sort().values
        chosen = chosen.to(self.labels.device)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def normalize(self, images: Tensor, side: int) -> Tensor:
        """Turn bytes into the network's input.

        Parameters
        ----------
        images
            uint8, shape (n, channels, height, width).
        side
            Side in pixels to resize to, bilinear with antialiasing.

        Returns
        -------
        Tensor
            float32, shape (n, channels, side, side), mean 0 and spread 1 over the training images.
        """
        x = images.float().div_(255)
        if x.shape[-1] != side:
            x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, device=x.device).view(shape)
        spread = torch.tensor(self.spread, device=x.device).clamp_min(1e-6).view(shape)
        return (x - mean) / spread

    def batches(self, side: int, size: int = BATCH) -> Iterator[Tensor]:
        """Yield all images in order, normalized and resized, in equal parts of `size` or more."""
        for part in self.images.tensor_split(max(1, len(self) // size)):
            yield self.normalize(part, side)


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

    train: ImageSet
    selection: ImageSet

    def to(self, device: torch.device) -> ImageSplits:
        """Return the same images on a device."""
        return ImageSplits(self.train.to(device), self.selection.to(device))


def load_images(path: str | Path) -> ImageSet:
    """Read what `prune3d.data.split.save_split` wrote.

    Raises
    ------
    prune3d.errors.CheckpointError
        If the file is not such a file.
    """
    arrays, header = read_arrays(path, FORMAT)
    return ImageSet(
        images=torch.from_numpy(arrays["images"]),
        labels=torch.from_numpy(arrays["labels"]),
        mean=tuple(header["mean"]),
        spread=tuple(header["spread"]),
    )


def load_splits(train: str | Path, selection: str | Path) -> ImageSplits:
    """Read the training and the selection images."""
    return ImageSplits(load_images(train), load_images(selection))

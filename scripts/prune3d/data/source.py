"""What a data set is read into: pixels with labels, or the names of picture files with labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# By which pixels are divided at least, however alike the training images are.
SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True)
class Labelled:
    """Images in memory and their labels.

    Attributes
    ----------
    images
        uint8, shape (N, channels, side, side).
    labels
        int64, shape (N,), indices of classes.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.intp]) -> Labelled:
        """Return some of the images, in the order of the indices."""
        return Labelled(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Listed:
    """Picture files and their labels.

    Attributes
    ----------
    root
        Folder that the names start from.
    names
        One file name for each image.
    labels
        int64, shape (N,), indices of classes.
    """

    root: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.intp]) -> Listed:
        """Return some of the files, in the order of the indices."""
        return Listed(self.root, tuple(self.names[i] for i in indices), self.labels[indices])

    def path(self, index: int) -> Path:
        """Return the path of one picture."""
        return self.root / self.names[index]


Part = Labelled | Listed


@dataclass(frozen=True)
class Source:
    """A data set as it lies on the disk, before it is split.

    Attributes
    ----------
    train
        All images that may be trained on, or all there are.
    test
        The data set's own test images, or None where it has none.
    classes
        Names of the classes; a label is an index into them.
    """

    train: Part
    test: Part | None
    classes: tuple[str, ...]

"""Train, selection and test images, and the files that hold them.

The test images are the same for every seed. The selection images are a part of the training images
that depends on the seed: labels of samples and every choice come from them, never from the test
images, which are in a file of their own that only the final evaluation reads.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune3d.data.registry import DatasetFacts, facts, held_out
from prune3d.errors import UserError
from prune3d.seeds import derive_seed
from prune3d.tensors import write_arrays

TEST_SEED = 0
FORMAT = "prune3d images 1"


@dataclass(frozen=True)
class Labelled:
    """Images and their labels.

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
class Fractions:
    """Parts of the images that are held out, each in (0, 1).

    Attributes
    ----------
    test
        Of all images, where the data set has no test images of its own.
    selection
        Of the training images.
    """

    test: float
    selection: float


def prepare(name: str, fractions: Fractions, seed: int) -> dict[str, Labelled]:
    """Read a data set and split it, each class in the same proportion.

    Returns
    -------
    dict
        ``train``, ``selection`` and ``test``, disjoint.
    """
    known = facts(name)
    module, function = known.reader.split(":")
    everything: Labelled = getattr(importlib.import_module(module), function)()
    check(name, everything, known)
    rest, test = split_off(everything, fractions.test, TEST_SEED)
    train, selection = split_off(rest, fractions.selection, derive_seed(seed, "data split"))
    return {"train": train, "selection": selection, "test": test}


def split_off(data: Labelled, fraction: float, seed: int) -> tuple[Labelled, Labelled]:
    """Return what is left and what was held out, in the original order."""
    from sklearn.model_selection import train_test_split

    held_out(fraction, len(data.labels), len(np.unique(data.labels)))
    kept, held = train_test_split(
        np.arange(len(data.labels)), test_size=fraction, stratify=data.labels, random_state=seed
    )
    return data.take(np.sort(kept)), data.take(np.sort(held))


def check(name: str, data: Labelled, known: DatasetFacts) -> None:
    """Refuse images of another shape than the registry says, and labels out of range."""
    expected = (known.channels, known.side, known.side)
    if data.images.shape[1:] != expected:
        raise UserError(
            f"the images of data set '{name}' have shape {data.images.shape[1:]}, not {expected}."
        )
    if data.labels.min() < 0 or data.labels.max() >= len(known.classes):
        raise UserError(
            f"data set '{name}' has a label outside 0 to {len(known.classes) - 1}: "
            f"{data.labels.min()} to {data.labels.max()}."
        )


def save_split(path: str | Path, data: Labelled, statistics_of: Labelled) -> None:
    """Write images and labels, with the channel means and spreads of the training images."""
    pixels = statistics_of.images.astype(np.float64) / 255
    header = {
        "mean": [round(float(value), 6) for value in pixels.mean((0, 2, 3))],
        "spread": [round(float(value), 6) for value in pixels.std((0, 2, 3))],
    }
    write_arrays(path, {"images": data.images, "labels": data.labels}, FORMAT, header)

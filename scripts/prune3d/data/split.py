"""Train, selection and test images: one rule for all data sets.

Test images are the data set's own, or a fraction of all images where it has none; they are the same
for every seed. The selection images are a part of the training images that depends on the seed:
labels of samples and every choice come from them, never from the test images, which are in a file
of their own that only the final evaluation reads.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prune3d.data.pictures import decode_square
from prune3d.data.registry import (
    DATASETS,
    IMAGENET,
    DatasetFacts,
    facts,
    held_out,
)
from prune3d.data.settings import DataSettings
from prune3d.data.source import Labelled, Part, Source
from prune3d.data.storage import Description
from prune3d.errors import UserError
from prune3d.progress import time_left
from prune3d.seeds import derive_seed

TEST_SEED = 0
# Pictures whose pixels give the mean and spread where not all are held in memory.
STATISTICS_IMAGES = 10_000
SECONDS_BETWEEN_MESSAGES = 10.0
PICTURES_A_TASK = 64
log = logging.getLogger(__name__)


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


@dataclass(frozen=True)
class Splits:
    """A data set, split.

    Attributes
    ----------
    parts
        ``train``, ``selection`` and ``test``, disjoint.
    about
        What their files tell of the data set.
    """

    parts: dict[str, Part]
    about: Description


def prepare(
    settings: DataSettings,
    fractions: Fractions,
    seed: int,
    *,
    download: bool = False,
    threads: int = 1,
) -> Splits:
    """Read a data set, check every image of it, and split it, each class in the same proportion.

    Parameters
    ----------
    settings
        Which data set.
    fractions
        What is held out.
    seed
        Of the run; the selection images depend on it.
    download
        Whether files that are missing may be fetched.
    threads
        Picture files read at a time.

    Raises
    ------
    UserError
        If files are missing or damaged, with their names, or a part would lack a class.
    """
    source = read_checked(settings, download=download, threads=threads)
    return split(source, settings, fractions, seed, threads=threads)


def read_checked(settings: DataSettings, *, download: bool = False, threads: int = 1) -> Source:
    """Read a data set and check every image of it: what all seeds have in common.

    Returns
    -------
    Source
        With the pixels where they may be held in memory, else with the names of picture files,
        each of which was decoded once.

    Raises
    ------
    UserError
        If files are missing or damaged, with their names.
    """
    known = facts(settings)
    source = read_source(settings, download)
    check(settings.name, source, known)
    images = len(source.train.labels) + (0 if source.test is None else len(source.test.labels))
    resident = fits(settings, known, images)
    train = read_pictures(source.train, known, resident, threads)
    test = source.test and read_pictures(source.test, known, resident, threads)
    return replace(source, train=train, test=test)


def split(
    source: Source, settings: DataSettings, fractions: Fractions, seed: int, *, threads: int = 1
) -> Splits:
    """Split a data set that was read and checked; see `prepare`.

    Raises
    ------
    UserError
        If a part would lack a class.
    """
    known = facts(settings)
    rest, test = source.train, source.test
    if test is None:
        rest, test = split_off(rest, fractions.test, TEST_SEED, source.classes)
    split_seed = derive_seed(seed, "data split")
    train, selection = split_off(rest, fractions.selection, split_seed, source.classes)
    measured = settings.normalization == "own"
    mean, spread = statistics(sample(train, known, threads)) if measured else IMAGENET
    about = Description(known.side, known.channels, source.classes, mean, spread, known.crop)
    return Splits({"train": train, "selection": selection, "test": test}, about)


def read_source(settings: DataSettings, download: bool) -> Source:
    """Read a data set by its registered reader."""
    module, function = DATASETS[settings.name].reader.split(":")
    source: Source = getattr(importlib.import_module(module), function)(settings, download)
    return source


def split_off(data: Part, fraction: float, seed: int, classes: Sequence[str]) -> tuple[Part, Part]:
    """Return what is left and what was held out, in the original order.

    Raises
    ------
    UserError
        If one of the two would lack a class.
    """
    from sklearn.model_selection import train_test_split

    labels = data.labels
    present = np.unique(labels)
    held_out(fraction, len(labels), len(present))
    _check_each_class(np.flatnonzero(np.bincount(labels) == 1), labels, fraction, classes)
    kept, held = train_test_split(
        np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=seed
    )
    for part in (kept, held):
        _check_each_class(np.setdiff1d(present, labels[part]), labels, fraction, classes)
    return data.take(np.sort(kept)), data.take(np.sort(held))


def _check_each_class(
    missing: NDArray[np.int64], labels: NDArray[np.int64], fraction: float, classes: Sequence[str]
) -> None:
    if len(missing):
        raise UserError(
            f"class '{classes[missing[0]]}' has too few images, {np.sum(labels == missing[0])}, to "
            f"hold out a fraction of {fraction} of them."
        )


def check(name: str, source: Source, known: DatasetFacts) -> None:
    """Refuse another number or shape of images than is known beforehand, and strange labels."""
    expected = (known.channels, known.side, known.side)
    numbers = (("training", known.images), ("test", known.test_images))
    for (kind, number), part in zip(numbers, (source.train, source.test), strict=True):
        if part is None:
            continue
        if number is not None and len(part.labels) != number:
            raise UserError(
                f"data set '{name}' has {len(part.labels)} {kind} images where {number} are "
                "expected; a part of a data set can be used as 'imagefolder'."
            )
        if isinstance(part, Labelled) and part.images.shape[1:] != expected:
            raise UserError(
                f"the images of data set '{name}' have shape {part.images.shape[1:]}, "
                f"not {expected}."
            )
        if part.labels.min() < 0 or part.labels.max() >= known.classes:
            raise UserError(
                f"data set '{name}' has a label outside 0 to {known.classes - 1}: "
                f"{part.labels.min()} to {part.labels.max()}."
            )


def fits(settings: DataSettings, known: DatasetFacts, images: int) -> bool:
    """Tell whether all images may be held in memory."""
    return images * known.channels * known.side**2 <= settings.resident_gb * 1e9


def read_pictures(part: Part, known: DatasetFacts, resident: bool, threads: int) -> Part:
    """Read every picture once, so that a damaged one is found now; keep the pixels if `resident`.

    Raises
    ------
    UserError
        With the name of the first file that cannot be read.
    """
    if isinstance(part, Labelled):
        return part
    # What is not kept is decoded as small as the file allows: that reads the whole file too.
    side = known.side if resident else 1
    pixels = np.empty((len(part.labels) if resident else 0, 3, side, side), np.uint8)

    def read(first: int) -> int:
        last = min(first + PICTURES_A_TASK, len(part.labels))
        for index in range(first, last):
            square = decode_square(part.path(index), side, known.crop)
            if resident:
                pixels[index] = square
        return last

    begun = told = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        try:
            # A million pictures are thousands of tasks, not a million.
            for done in pool.map(read, range(0, len(part.labels), PICTURES_A_TASK)):
                if time.monotonic() - told > SECONDS_BETWEEN_MESSAGES:
                    told = time.monotonic()
                    left = time_left(told - begun, done, len(part.labels))
                    log.info("%d of %d pictures read, %s", done, len(part.labels), left)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return Labelled(pixels, part.labels) if resident else part


def sample(train: Part, known: DatasetFacts, threads: int) -> Labelled:
    """Return the training images, or evenly spaced ones where they stay in their files."""
    if isinstance(train, Labelled):
        return train
    n = len(train.labels)
    chosen = np.linspace(0, n - 1, min(n, STATISTICS_IMAGES)).astype(np.intp)
    part = read_pictures(train.take(chosen), known, True, threads)
    assert isinstance(part, Labelled)
    return part


def statistics(train: Labelled) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and spread of each channel, pixels in [0, 1]."""
    channels = train.images.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    for first in range(0, len(train.images), 4096):
        for channel, plane in enumerate(train.images[first : first + 4096].swapaxes(0, 1)):
            counts[channel] += np.bincount(plane.ravel(), minlength=256)
    levels = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]) ** 2).sum(axis=1)
    return tuple(mean.tolist()), tuple(np.sqrt(variance).tolist())

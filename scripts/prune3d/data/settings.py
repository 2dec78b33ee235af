"""Which data set, and how it is to be read. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class GlyphSettings:
    """What the embedded benchmark is drawn as; see `prune3d.data.glyphs`.

    Attributes
    ----------
    classes
        Number of characters to tell apart.
    images, test_images
        How many to draw for training and selection, and for the test.
    difficulty
        In [0, 1]: contrast falls, and noise, rotation and the range of sizes grow with it.
    seed
        The same seed gives the same bytes.
    """

    classes: int = 10
    images: int = 50000
    test_images: int = 10000
    difficulty: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class DataSettings:
    """Which data set, and how it is to be read: the section ``data`` of the config.

    Attributes
    ----------
    name
        Of a registered data set.
    root
        Folder with the data set's files.
    side
        Side in pixels of the square images, or None for the data set's own.
    resident_gb
        Largest size of all images in 10^9 bytes that is held in memory; larger data sets stay in
        their picture files.
    normalization
        ``own`` for the mean and spread of the training images, ``imagenet`` for
        `prune3d.data.registry.IMAGENET`.
    glyphs
        Of the data set ``glyphs``.
    """

    name: str
    root: str = "datasets"
    side: int | None = None
    resident_gb: float = 4.0
    normalization: str = "own"
    glyphs: GlyphSettings = field(default_factory=GlyphSettings)

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> DataSettings:
        """Take what is known here from the section ``data`` of an experiment."""
        own = {f.name: section[f.name] for f in fields(cls) if section.get(f.name) is not None}
        if "glyphs" in own:
            own["glyphs"] = GlyphSettings(**own["glyphs"])
        return cls(**own)

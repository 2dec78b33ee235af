"""The data sets that can be named, and the facts about them that need no image. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from prune3d.errors import UserError


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of a data set before it is read.

    Attributes
    ----------
    reader
        ``module:function`` that returns a `prune3d.data.split.Labelled`.
    side
        Side of the square images in pixels.
    channels
        1 for grey, 3 for colour.
    classes
        Names of the classes; a label is an index into them.
    """

    reader: str
    side: int
    channels: int
    classes: tuple[str, ...]


DATASETS = {
    "digits": DatasetFacts("prune3d.data.digits:read", 8, 1, tuple("0123456789")),
}


def facts(name: str) -> DatasetFacts:
    """Return the facts of a registered data set.

    Raises
    ------
    UserError
        If there is no data set of that name.
    """
    if name not in DATASETS:
        raise UserError(f"unknown data set '{name}'; known are: {', '.join(DATASETS)}.")
    return DATASETS[name]

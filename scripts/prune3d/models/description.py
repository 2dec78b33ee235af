"""What a model file says of its network. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from prune3d.models.lineage import Step
from prune3d.models.meaning import Meaning, Resize
from prune3d.models.spec import NetworkSpec
from prune3d.tensors import parse_as, read_header

FORMAT = "prune3d model 4"
_BESIDE = ("digest", "format")  # of the header, beside what describes the network


@dataclass(frozen=True)
class Header:
    """What a model file holds beside the weights.

    Attributes
    ----------
    spec
        How the network is built.
    lineage
        What it has cost.
    meaning
        What its inputs and outputs mean.
    resize
        How pictures are resized, for whoever reads the file by other means; None where no pictures
        are known, or in files that are older than this field.
    """

    spec: NetworkSpec
    lineage: tuple[Step, ...]
    meaning: Meaning
    resize: Resize | None = None


@cache
def description_schema() -> TypeAdapter[Header]:
    """Return what checks a header."""
    return TypeAdapter(Header)


def describe(path: str | Path) -> Header:
    """Read what a model file says of its network, and build none.

    Raises
    ------
    CheckpointError
        As `prune3d.models.checkpoint.load`, if file or header are not right; weights are not read.
    """
    header = read_header(path, FORMAT)
    return parse_as(description_schema(), {k: header[k] for k in header if k not in _BESIDE}, path)

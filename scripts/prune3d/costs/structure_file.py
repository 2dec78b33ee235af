"""The files ``structure.json`` and ``blocks.json``: what can be pruned, and in what order."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from prune3d.costs.structure import Structure, dense_cost
from prune3d.errors import UserError
from prune3d.files import shown
from prune3d.records import Count, JsonKind, Name, Record

LARGEST_COST = 2**53
LARGEST_SIDE = 2**16
Units = Annotated[int, Field(ge=1, le=2**31)]
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class _Group(Record):
    name: Name
    channels: Units


class _Layer(Record):
    name: Name
    block: Name | None
    weights_per_pair: Count
    inputs: dict[str, Units]
    fixed_inputs: Count
    outputs: dict[str, Units]
    fixed_outputs: Count
    params_per_output: Count
    positions: Count
    stored: bool
    fixed_params: Count


class _Removal(Record):
    joins: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    drops: Name | None


class _Frozen(Record):
    name: Name
    channels: Units
    reason: str


class StructureRecord(Record):
    """A `Structure`; equal rows of positions are written once, as texts."""

    blocks: Annotated[int, Field(ge=0, le=2**16)]
    removable: dict[Name, _Removal]
    groups: list[_Group]
    multiples: dict[str, Units]
    sides: Annotated[list[Side], Field(min_length=1)]
    layers: Annotated[list[_Layer], Field(min_length=1)]
    positions: list[Annotated[str, Field(pattern=r"^[0-9]{1,16}( [0-9]{1,16})*\z")]]
    no_width: str | None
    no_depth: str | None
    no_onnx: str | None
    frozen: list[_Frozen]

    @model_validator(mode="after")
    def _fits_together(self) -> StructureRecord:
        groups = [group.name for group in self.groups]
        _unique("groups", groups)
        if self.sides != sorted(set(self.sides)):
            raise ValueError("sides are not ascending")
        if len(self.removable) > self.blocks:
            raise ValueError("more blocks are removable than there are")
        for row in self.positions:
            if len(row.split()) != len(self.sides):
                raise ValueError("positions are not one number for each side")
        for layer in self.layers:
            _known("layers", {*layer.inputs, *layer.outputs}, groups)
            if layer.positions >= len(self.positions):
                raise ValueError(f"layer {shown(layer.name)} has no row of positions")
        _known("multiples", self.multiples, groups)
        for name, removal in self.removable.items():
            touched = [*chain(*removal.joins), *([] if removal.drops is None else [removal.drops])]
            _known(f"removable.{shown(name)}", touched, groups)
        return self


class BlocksRecord(Record):
    """The blocks that can be removed, the first to go first, and what ranking them cost."""

    removal_order: list[Name]
    image_passes: Count
    cost_macs: Annotated[int, Field(ge=0, le=2**100)]

    @model_validator(mode="after")
    def _once(self) -> BlocksRecord:
        _unique("removal_order", self.removal_order)
        return self


STRUCTURE = JsonKind("structure", 3, StructureRecord)
BLOCKS = JsonKind("blocks", 1, BlocksRecord)


def write_structure(path: str | Path, structure: Structure) -> None:
    """Write a ``structure.json``."""
    STRUCTURE.write(path, structure.to_dict())


def read_structure(path: str | Path) -> Structure:
    """Read a ``structure.json``.

    Raises
    ------
    UserError
        If it is missing, damaged or of another format.
    """
    structure = Structure.from_dict(STRUCTURE.read(path))
    macs, params = dense_cost(structure)
    if not (0 < macs <= LARGEST_COST and 0 < params <= LARGEST_COST):
        raise UserError(
            f"{path} tells of a network with {macs:.4g} MACs and {params:.4g} parameters; delete "
            "it, and the same command makes it anew."
        )
    return structure


def read_removal_order(blocks: str | None, structure: Structure | None = None) -> list[str]:
    """Return the blocks of a ``blocks.json``, first to go first; none where there is no file.

    Parameters
    ----------
    blocks
        The file.
    structure
        Of the same network, where it is known: the file may rank its removable blocks only.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another format, or ranks other blocks.
    """
    if not blocks:
        return []
    order: list[str] = BLOCKS.read(blocks)["removal_order"]
    if structure is not None and not set(order) <= set(structure.removable):
        raise UserError(
            f"{blocks} ranks blocks that cannot be removed according to structure.json beside it; "
            "delete both, and the same command makes them anew."
        )
    return order


def _unique(key: str, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{key} has {shown(twice)} twice")


def _known(key: str, names: Collection[str], groups: list[str]) -> None:
    unknown = next((name for name in names if name not in groups), None)
    if unknown is not None:
        raise ValueError(f"{key} names {shown(unknown)}, which is no group")

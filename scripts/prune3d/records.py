"""The workflow's own JSON and CSV files: each kind has a format number, a digest and a schema.

Whatever is wrong with such a file, from a cut end to a digit that was changed, is told in one
sentence that names it and says how it is made anew.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prune3d.files import damaged, read_json, read_text, shown, write_csv, write_json

Ratio = Annotated[float, Field(gt=0, le=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
# Counts are computed with in float64, which holds them exactly up to here.
Count = Annotated[int, Field(ge=0, le=2**53)]
AtLeastOne = Annotated[int, Field(ge=1, le=2**53)]
Name = Annotated[str, Field(min_length=1)]
DIGEST = "digest"


class Record(BaseModel):
    """All that a file, or a part of it, holds."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Excerpt(Record):
    """What the workflow reads of a file; the rest is for people."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True)
class JsonKind:
    """A kind of JSON file.

    Attributes
    ----------
    name
        Such as ``structure``.
    format
        Its number is raised when what a file means changes.
    schema
        What it holds beside its format and digest.
    """

    name: str
    format: int
    schema: type[Record]

    def write(self, path: str | Path, content: Mapping[str, Any]) -> None:
        """Write an object with its format and digest."""
        write_json(path, self.sealed(content))

    def sealed(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object with its format and digest."""
        own = {**content, "format": str(self)}
        return {**own, DIGEST: _digest(own)}

    def read(self, path: str | Path) -> dict[str, Any]:
        """Return the object without format and digest.

        Raises
        ------
        UserError
            If the file is missing, damaged, of another kind or format, or was changed.
        """
        value = read_json(path)
        digest, found = value.pop(DIGEST, None), value.get("format")
        if found != str(self):
            raise damaged(path, _other_format(found, str(self)))
        if digest != _digest(value):
            raise damaged(path, "was changed after it was written, or is damaged")
        del value["format"]
        validate(self.schema, value, path)
        return value

    def __str__(self) -> str:
        """Return what the file says of itself."""
        return f"prune3d {self.name} {self.format}"


@dataclass(frozen=True)
class TableKind:
    """A kind of CSV file.

    The last column, `DIGEST`, has the format number and the digest of the whole table in every
    row; in a table without rows its name has them.

    Attributes
    ----------
    name, format
        See `JsonKind`.
    row
        What a row holds, its fields in the order of the columns. Empty cells are None.
    may_be_empty
        Whether there can be a table without rows.
    """

    name: str
    format: int
    row: type[Record]
    may_be_empty: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns but the digest's."""
        return tuple(self.row.model_fields)

    def write(self, path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows that have a value for each column, None for an empty cell."""
        unknown = sorted({name for row in rows for name in row} - set(self.columns))
        if unknown:
            raise ValueError(f"the kind of table {self.name} has no column {unknown[0]!r}")
        cells = [[_cell(row.get(column)) for column in self.columns] for row in rows]
        seal = self.seal(cells)
        columns = (*self.columns, DIGEST if rows else f"{DIGEST} {seal}")
        sealed = [dict(zip(columns, (*row, seal), strict=True)) for row in cells]
        write_csv(path, sealed, columns)

    def read(self, path: str | Path) -> list[dict[str, Any]]:
        """Return the rows without the digest, cells as what the schema says.

        Raises
        ------
        UserError
            If the file is missing, damaged, of another kind or format, or was changed.
        """
        header, *rows = _read_rows(path)
        columns, last = tuple(header[: len(self.columns)]), header[len(self.columns) :]
        name, _, seal = last[0].partition(" ") if last else (DIGEST, "", "")
        if columns != self.columns or len(last) > 1 or name != DIGEST:
            raise damaged(path, f"has not the columns of a {self.name} table of this version")
        if not last:
            raise damaged(path, "has no column 'digest'")
        if not rows and not (seal and self.may_be_empty):
            raise damaged(path, "has lost its rows")
        if rows and seal:
            raise damaged(path, "was changed after it was written, or is damaged")
        short = next((i for i, row in enumerate(rows, 2) if len(row) != len(header)), None)
        if short is not None:
            raise damaged(path, f"has another number of cells in line {short} than columns")
        cells = [row[: len(self.columns)] for row in rows]
        self._check_seals(path, cells, {row[-1] for row in rows} or {seal})
        return [self._parse(path, i, row) for i, row in enumerate(cells, 2)]

    def seal(self, cells: Sequence[Sequence[str]]) -> str:
        """Return the format number and the digest of rows of cells."""
        known = {"format": f"{self.name} {self.format}", "columns": self.columns, "rows": cells}
        return f"{self.format}:{_digest(known)[:16]}"

    def _check_seals(
        self, path: str | Path, cells: Sequence[Sequence[str]], seals: set[str]
    ) -> None:
        if seals == {self.seal(cells)}:
            return
        number = min(seals).partition(":")[0]
        if len(seals) == 1 and number.isdecimal() and number != str(self.format):
            raise damaged(path, _other_format(number, str(self.format)))
        raise damaged(path, "was changed after it was written, or is damaged")

    def _parse(self, path: str | Path, line: int, cells: Sequence[str]) -> dict[str, Any]:
        given = {name: cell for name, cell in zip(self.columns, cells, strict=True) if cell != ""}
        try:
            return self.row.model_validate_strings(given).model_dump()
        except ValidationError as error:
            raise damaged(path, f"is wrong in line {line}: {first_wrong(error)}") from None


def validate(schema: type[Record], value: Any, path: str | Path) -> None:
    """Refuse a value that is not as a schema says, naming the file that it is from.

    Raises
    ------
    UserError
        With the key of the first that is wrong.
    """
    try:
        schema.model_validate(value)
    except ValidationError as error:
        raise damaged(path, f"does not hold what it should: {first_wrong(error)}") from None


def _read_rows(path: str | Path) -> list[list[str]]:
    text = read_text(path)
    if not text.endswith("\n"):
        raise damaged(path, "is cut off" if text else "is empty")
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise damaged(path, f"is no CSV file ({error})") from None


def _cell(value: Any) -> str:
    # The shortest form that reads back to the same number.
    return "" if value is None else repr(float(value)) if isinstance(value, float) else str(value)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _other_format(found: object, expected: str) -> str:
    if found is None:
        return f"carries no format number, as files of earlier versions; expected is '{expected}'"
    return f"is of the format {shown(found)}, but this version reads '{expected}'"


def first_wrong(error: ValidationError) -> str:
    """Return the first thing that is wrong, such as ``layers[3].name: should be a string``."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ""
    for part in first["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    said = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{shown(place.lstrip('.'))}: {said[:300]}" if place else said[:300]

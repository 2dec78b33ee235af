"""The workflow's own files: read back as written, and refused in one sentence when they are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from prune3d.errors import UserError
from prune3d.records import Count, JsonKind, Name, Ratio, Record, TableKind


class Inner(Record):
    """A part."""

    name: Name
    ratios: list[Ratio]


class Whole(Record):
    """A file."""

    count: Count
    part: Inner | None


class Row(Record):
    """A row."""

    name: Name
    ratio: Ratio
    count: Annotated[int, Field(ge=0)] | None = None


JSON, LATER = JsonKind("whole", 1, Whole), JsonKind("whole", 2, Whole)
CSV, LATER_CSV = TableKind("rows", 1, Row), TableKind("rows", 2, Row)
MAY_BE_EMPTY = TableKind("rows", 1, Row, may_be_empty=True)
CONTENT: dict[str, Any] = {"count": 3, "part": {"name": "é", "ratios": [1 / 3, 1.0]}}
ROWS: list[dict[str, Any]] = [
    {"name": "a,b", "ratio": 1 / 3, "count": 7},
    {"name": "c", "ratio": 1.0, "count": None},
]


def refusal(kind: JsonKind | TableKind, path: Path) -> str:
    """Return the one sentence with which a file is refused."""
    with pytest.raises(UserError) as caught:
        kind.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith(".")
    assert message.isprintable() and len(message) < 1000
    return message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a JSON file."""
    JSON.write(tmp_path / "whole.json", CONTENT)
    return tmp_path / "whole.json"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a CSV file."""
    CSV.write(tmp_path / "rows.csv", ROWS)
    return tmp_path / "rows.csv"


def test_json_reads_back_and_carries_its_format(file: Path) -> None:
    assert JSON.read(file) == CONTENT
    assert json.loads(file.read_text())["format"] == "prune3d whole 1"
    before = file.read_bytes()
    JSON.write(file, JSON.read(file))
    assert file.read_bytes() == before


def test_rows_read_back_and_carry_their_format(table: Path) -> None:
    assert CSV.read(table) == ROWS
    header, first, _ = table.read_text().splitlines()
    assert header == "name,ratio,count,digest"
    assert first.startswith('"a,b",0.3333333333333333,7,1:')


def test_line_ends_and_blanks_of_json_do_not_matter(file: Path, table: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text())))
    assert JSON.read(file) == CONTENT
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    assert CSV.read(table) == ROWS


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a JSON file"),
        (b"[1]", "list, not an object"),
        (b"{}", "no format number"),
        (b'{"format": "prune3d whole 7"}', "'prune3d whole 7', but this version reads"),
        (b'{"format": "prune3d blocks 1"}', "'prune3d blocks 1', but this version reads"),
        (b'{"format": ["\\n"]}', "but this version reads"),
        (b'{"format": "prune3d whole 1", "format": 1}', "'format' is there twice"),
        (b'{"a": NaN}', "'NaN' is no finite number"),
        (b'{"a": -Infinity}', "no finite number"),
        (b'{"a": 1e999}', "no finite number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a JSON file"),
        (b"\xff\xfe{}", "no UTF-8 text (byte 0)"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_such_json_file_is_told(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    assert told in refusal(JSON, file)


def test_every_cut_and_every_changed_character_of_json_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    for end in range(len(whole) - 1):
        file.write_bytes(whole[:end])
        refusal(JSON, file)
    for i, byte in enumerate(whole.rstrip()):
        if bytes([byte]).isspace():
            continue
        file.write_bytes(whole[:i] + bytes([byte ^ 1]) + whole[i + 1 :])
        refusal(JSON, file)


def test_every_cut_and_every_changed_character_of_a_table_is_noticed(table: Path) -> None:
    whole = table.read_bytes()
    for end in range(len(whole)):
        table.write_bytes(whole[:end])
        refusal(CSV, table)
    for i, byte in enumerate(whole):
        table.write_bytes(whole[:i] + bytes([byte ^ 1]) + whole[i + 1 :])
        refusal(CSV, table)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"count": "3"}, "'count': should be a valid integer"),
        ({"count": 2.5}, "'count': should be a valid integer"),
        ({"count": True}, "'count': should be a valid integer"),
        ({"count": 2**70}, "'count': should be less than or equal to 9007199254740992"),
        ({"part": {"name": "", "ratios": []}}, "'part.name'"),
        ({"part": {"name": "a", "ratios": [0.5, 1.5]}}, "'part.ratios[1]'"),
        ({"part": {"name": "a"}}, "'part.ratios': Field required"),
        ({"part": {"name": "\ud800", "ratios": []}}, "'part.name'"),
        ({"more": 1}, "'more': Extra inputs are not permitted"),
        ({"a" * 5000 + "\n": 1}, "Extra inputs are not permitted"),
    ],
)
def test_content_of_a_right_digest_must_be_as_the_schema_says(
    file: Path, change: dict[str, Any], told: str
) -> None:
    JSON.write(file, {**CONTENT, **change})
    assert told in refusal(JSON, file)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": None}, "line 3: 'name': Field required"),
        ({"ratio": 0}, "line 3: 'ratio'"),
        ({"ratio": "inf"}, "line 3: 'ratio'"),
        ({"count": "x"}, "line 3: 'count'"),
        ({"count": -1}, "line 3: 'count'"),
    ],
)
def test_rows_of_a_right_digest_must_be_as_the_schema_says(
    table: Path, change: dict[str, Any], told: str
) -> None:
    CSV.write(table, [ROWS[0], {**ROWS[1], **change}])
    assert told in refusal(CSV, table)


def test_a_file_of_another_version_is_told_so(file: Path, table: Path) -> None:
    LATER.write(file, CONTENT)
    assert "'prune3d whole 2', but this version reads 'prune3d whole 1'" in refusal(JSON, file)
    LATER_CSV.write(table, ROWS)
    assert "'2', but this version reads '1'" in refusal(CSV, table)


def test_rows_that_were_lost_moved_or_doubled_are_noticed(table: Path) -> None:
    header, one, two = table.read_text().splitlines(keepends=True)
    for lines in ([header, one], [header, two, one], [header, one, two, two], [one, two]):
        table.write_text("".join(lines))
        refusal(CSV, table)
    table.write_text(header)
    assert "lost its rows" in refusal(MAY_BE_EMPTY, table)
    table.write_text(header.replace(",digest", ""))
    assert "no column 'digest'" in refusal(MAY_BE_EMPTY, table)


def test_only_some_tables_may_be_without_rows(table: Path) -> None:
    MAY_BE_EMPTY.write(table, [])
    assert MAY_BE_EMPTY.read(table) == []
    header = table.read_text()
    CSV.write(table, ROWS)
    table.write_text(header + table.read_text().partition("\n")[2])
    assert "was changed" in refusal(MAY_BE_EMPTY, table)
    table.write_text(header)
    assert "lost its rows" in refusal(CSV, table)
    TableKind("rows", 2, Row, may_be_empty=True).write(table, [])
    assert "'2', but this version reads '1'" in refusal(MAY_BE_EMPTY, table)


def test_a_table_of_another_kind_is_noticed(table: Path) -> None:
    TableKind("other", 1, Row).write(table, ROWS)
    assert "was changed" in refusal(CSV, table)


def test_a_table_has_no_other_columns_than_its_kind(table: Path) -> None:
    with pytest.raises(ValueError, match="no column 'more'"):
        CSV.write(table, [{**ROWS[0], "more": 1}])


def test_folders_missing_files_and_pipes_are_told_at_once(tmp_path: Path) -> None:
    import os

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for kind in (JSON, CSV):
        assert "no file" in refusal(kind, tmp_path / "folder")
        assert "no file" in refusal(kind, tmp_path / "pipe")
        assert "does not exist" in refusal(kind, tmp_path / "nothing")

"""Files appear whole or not at all, and errors name the file."""

from __future__ import annotations

import csv
import errno
import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prune3d.errors import UserError
from prune3d.files import (
    atomic_path,
    check_writable,
    read_json,
    remove_partial,
    write_csv,
    write_json,
    write_text,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def names(folder: Path) -> list[str]:
    """Return the names of all files in a folder."""
    return [path.name for path in folder.iterdir()]


def test_a_failure_midway_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(file) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_midway_makes_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("x")
        raise RuntimeError
    assert names(tmp_path) == []


def test_the_final_name_appears_only_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "a.pdf"
    with atomic_path(file) as temporary:
        assert temporary.parent == file.parent
        assert temporary.suffix == ".pdf"
        temporary.write_text("x")
        assert not file.exists()
    assert names(file.parent) == ["a.pdf"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "ours", "x")
        (tmp_path / "plain").write_text("x")
    finally:
        assert os.umask(before) == mask
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_text_is_utf8_on_every_machine(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "± é\n")
    assert (tmp_path / "a").read_bytes() == b"\xc2\xb1 \xc3\xa9\n"


def test_json_has_sorted_keys_and_a_last_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": {"d": None, "c": 0.1}})
    expected = '{\n  "a": {\n    "c": 0.1,\n    "d": null\n  },\n  "b": 1\n}\n'
    assert (tmp_path / "a.json").read_text() == expected


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_what_is_not_a_number_and_keeps_the_old_file(
    tmp_path: Path, value: float
) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": value})
    assert read_json(tmp_path / "a.json") == {"a": 1}


@pytest.mark.parametrize("content", [None, b"", b'{"a": 1', b"\xff\xfe{}", b"[1, 2]", b"3"])
def test_json_errors_are_one_sentence_with_the_file_name(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "optimum.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(file)
    message = str(caught.value)
    assert str(file) in message
    assert message.endswith(".")
    assert "\n" not in message


def test_csv_floats_read_back_to_the_same_number(tmp_path: Path) -> None:
    numbers = [0.1, 1 / 3, 1e-300, 123456789.123456789, 2**0.5, 5e-324, 0.1 + 0.2]
    write_csv(tmp_path / "a.csv", [{"x": x, "name": "a,b"} for x in numbers], ["name", "x"])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["x"]) for row in rows] == numbers
    assert rows[0] == {"name": "a,b", "x": "0.1"}
    assert (tmp_path / "a.csv").read_bytes().startswith(b'name,x\n"a,b",0.1\n')


def test_csv_refuses_a_column_that_was_not_announced(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="y"):
        write_csv(tmp_path / "a.csv", [{"x": 1, "y": 2}], ["x"])
    assert names(tmp_path) == []


KILLED = """
import os, signal, sys
from prune3d.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_leaves_is_removed_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "model[1].safetensors"
    kept = [".model[1].safetensors.lock", "model[1].resume.safetensors", ".model1.safetensors.x"]
    for name in kept:
        (tmp_path / name).touch()
    subprocess.run([sys.executable, "-c", KILLED, str(file)], cwd=SCRIPTS, check=False)
    assert len(names(tmp_path)) == len(kept) + 1
    remove_partial(file)
    assert sorted(names(tmp_path)) == sorted(kept)
    remove_partial(tmp_path / "no/such/folder/file")


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), sync(handle)))
    monkeypatch.setattr(
        Path, "replace", lambda path, target: (done.append("rename"), rename(path, target))
    )
    write_text(tmp_path / "a", "text")
    assert done == ["sync", "rename"]


@pytest.mark.parametrize("damage", ["removed", "a file", "a folder"])
def test_a_place_that_goes_bad_while_writing_is_told_in_one_sentence(
    tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "results/a.json"
    with pytest.raises(UserError, match="cannot be written") as caught:  # noqa: SIM117
        with atomic_path(file) as temporary:
            temporary.write_text("new")
            shutil.rmtree(file.parent)
            if damage == "a file":
                file.parent.touch()
            elif damage == "a folder":
                file.parent.mkdir()
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_no_more_is_told_in_one_sentence(tmp_path: Path, number: int) -> None:
    with pytest.raises(UserError, match="cannot be written"), atomic_path(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert names(tmp_path) == []


def test_another_file_that_is_missing_is_not_blamed_on_the_one_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="input"), atomic_path(tmp_path / "a"):
        (tmp_path / "input").read_bytes()
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"a\nb", b"a\r\n  b", "a\u2028b".encode()])
def test_errors_are_one_line_of_unicode_whatever_the_names(tmp_path: Path, name: bytes) -> None:
    error = UserError(f"{os.fsdecode(name)} is no picture.")
    assert len(str(error).splitlines()) == 1
    str(error).encode("utf-8")
    assert pickle.loads(pickle.dumps(error)).args == error.args


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "results/digits/seed0").mkdir(parents=True)
    check_writable(tmp_path / "results")
    check_writable(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "digits",
        "new",
        "results",
        "seed0",
    ]


@pytest.mark.parametrize("place", ["results", "results/digits", "results/digits/seed0"])
def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "results/digits/seed0").mkdir(parents=True)
    locked, access = tmp_path / place, os.access
    if place == "results":
        locked.rename(tmp_path / "elsewhere")
        locked.touch()
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: path != locked and access(path, mode))
    with pytest.raises(UserError, match="cannot be written") as caught:
        check_writable(tmp_path / "results")
    assert str(caught.value).startswith(f"{locked} ")

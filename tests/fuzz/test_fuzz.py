"""Damaged files of every kind are refused in one sentence, or read right."""

from __future__ import annotations

import json
import os
import runpy
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import campaign
from campaign import Target, content_of, run
from kinds import KINDS, target
from mutate import damaged_bytes, damaged_csv, damaged_json
from prune3d.errors import UserError
from prune3d.files import read_json


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_2000_damaged_files_are_refused_or_read_right(kind: str, tmp_path: Path) -> None:
    findings = run(target(kind, tmp_path), 2000)
    assert not findings.faults, str(findings)
    assert findings.counts["refused"] > 200


def test_all_kinds_are_damaged_where_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    parse = runpy.run_path(str(Path(__file__).with_name("run.py")))["parse"]
    assert parse([]).kinds == []
    assert parse(["split", "--seed", "3"]).kinds == ["split"]
    with pytest.raises(SystemExit):
        parse(["nothing"])
    assert "no such kind: nothing; there are: configs, " in capsys.readouterr().err


def aim(folder: Path, read: Any) -> Target:
    """Return a target of small JSON files with a reader."""
    original = json.dumps({"a": 1, "b": [1, 2.5, {"c": "d"}]}).encode()
    return Target(folder / "a.json", (original,), damaged_json, read, lambda value, content: True)


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    made = aim(tmp_path, read_json)
    first = [content_of(made, i, 0) for i in range(300)]
    assert first == [content_of(made, i, 0) for i in range(300)]
    assert len(set(first)) > 200
    assert first != [content_of(made, i, 1) for i in range(300)]


@pytest.mark.parametrize("damage", [damaged_bytes, damaged_csv])
def test_damage_changes_nearly_every_file(damage: Any, tmp_path: Path) -> None:
    original = b"name,value\na,1\nb,2.5\n"
    made = Target(tmp_path / "a", (original,), damage, read_json, lambda value, content: True)
    assert sum(content_of(made, i, 0) != original for i in range(300)) > 250


def refuse(path: Path) -> None:
    raise UserError(f"{path} is damaged.")


def refuse_in_lines(path: Path) -> None:
    raise UserError(f"{path} is damaged:\nhere")


def refuse_without_a_name(path: Path) -> None:
    raise UserError("the file is damaged.")


def fail(path: Path) -> None:
    raise KeyError("a")


def end(path: Path) -> None:
    raise SystemExit(2)


def crash(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(path: Path) -> None:
    time.sleep(60)


def allocate(path: Path) -> None:
    # Far above the limit: in a process where tests ran, memory may be free already.
    bytearray(8 * 2**30)


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (refuse_in_lines, "no single sentence"),
        (refuse_without_a_name, "the file is not named"),
        (fail, "KeyError"),
        (end, "SystemExit"),
        (crash, "status -9"),
        (hang, "no answer within 6 seconds"),
        (allocate, "MemoryError"),
    ],
)
def test_every_fault_of_a_reader_is_found(
    read: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "SECONDS", 6)
    findings = run(aim(tmp_path, read), 2)
    assert sorted(findings.faults) == [0, 1]
    assert all(told in text for text in findings.faults.values()), str(findings)


def test_what_is_read_is_compared(tmp_path: Path) -> None:
    assert run(aim(tmp_path, refuse), 3).counts == {"refused": 3}
    wrong = Target(
        tmp_path / "b", (b"x",), damaged_bytes, Path.read_bytes, lambda value, content: value == b""
    )
    assert "accepted with other content" in run(wrong, 20).faults.values()

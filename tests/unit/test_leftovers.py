"""Asking SLURM for jobs that an earlier run left, where it does not answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prune3d.errors import UserError
from prune3d.workflow import leftovers


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that puts a shell script in the place of a program."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))

    def put(name: str, script: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return put


# A child of the shell keeps its output open.
@pytest.mark.parametrize("script", ["exec sleep 600", "sleep 600"])
def test_a_controller_that_hangs_is_told_in_one_sentence(
    script: str,
    program: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program("squeue", script)
    monkeypatch.setattr(leftovers, "SECONDS_A_QUESTION", 0.2)
    with pytest.raises(UserError, match=r"SLURM does not answer: squeue says 'nothing for 0\.2 s'"):
        leftovers.cancel_leftovers(tmp_path, print, patience=0)


def test_a_controller_that_is_away_is_told_in_one_sentence(
    program: Callable[[str, str], None], tmp_path: Path
) -> None:
    program("squeue", "echo 'no  route' >&2; exit 1")
    with pytest.raises(UserError, match="SLURM does not answer: squeue says 'no route'"):
        leftovers.cancel_leftovers(tmp_path, print, patience=0)


def test_jobs_that_do_not_end_are_told_although_scancel_fails(
    program: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a|b"
    jobs = (
        ("7", folder, "rule_train_dense"),
        ("8", tmp_path, "rule_train_dense"),
        ("9", folder, "mine"),
    )
    lines = [f"{number}|{place}|{comment}" for number, place, comment in jobs]
    program("squeue", "\n".join(f"echo '{line}'" for line in ["nonsense", "", *lines]))
    program("scancel", "echo denied >&2; exit 1")
    monkeypatch.setattr(leftovers, "SECONDS_TO_END", 0.0)
    told: list[str] = []
    with pytest.raises(UserError, match=r"the SLURM jobs 7 of an earlier run in .* do not end"):
        leftovers.cancel_leftovers(folder, told.append, patience=0)
    assert told == ["cancelling 1 jobs that an earlier run left: 7", "scancel says 'denied'"]

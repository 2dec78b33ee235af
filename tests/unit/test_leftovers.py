"""Asking SLURM for jobs that an earlier run left, where it does not answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prune3d.errors import UserError
from prune3d.workflow import leftovers


@pytest.mark.parametrize(
    ("script", "said"),
    [("exec sleep 60", "nothing for 0.2 s"), ("echo 'no  route' >&2; exit 1", "no route")],
)
def test_a_silent_controller_is_told_in_one_sentence(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\n{script}\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    monkeypatch.setattr(leftovers, "SECONDS_A_QUESTION", 0.2)
    with pytest.raises(UserError, match=rf"SLURM does not answer: squeue says '{said}'"):
        leftovers.cancel_leftovers(tmp_path, print, patience=0)

"""A machine with GPUs bounds the jobs that need one, without flags."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from running import Project, environment


@pytest.mark.parametrize(("flags", "provided"), [([], 2), (["--resources", "gpu=1"], 1)])
def test_no_more_jobs_need_a_gpu_than_there_are(
    clone_of_finished: Project, tmp_path: Path, flags: list[str], provided: int
) -> None:
    # The driver's tool of a machine with two GPUs; torch finds none and computes on the CPU.
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "GPU 0: A (UUID: GPU-1)"\necho "GPU 1: A (UUID: GPU-2)"\n')
    tool.chmod(0o755)
    places = tmp_path / "temporary"
    places.mkdir()
    variables = {**environment(), "TMPDIR": str(places)}
    variables["PATH"] = os.pathsep.join([str(tool.parent), os.environ["PATH"]])
    done = subprocess.run(
        clone_of_finished.command(
            "--cores", "2", "--forcerun", "rank_blocks", "--until", "rank_blocks", *flags
        ),
        cwd=clone_of_finished.folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f'Provided resources: gpu=Resource("gpu", {provided})' in done.stderr
    taken = [path.name for path in places.glob("prune3d-gpus-*/*")]
    assert taken == ["0.0.lock"]

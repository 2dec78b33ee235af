"""Kills of a whole run at random moments, each continued by the documented commands."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from running import DETERMINISTIC, Project, environment

# `make kills` does twenty.
KILLS = int(os.environ.get("PRUNE3D_KILLS", "2"))
WHOM = ("process group", "one job", "snakemake alone")
CHANGE: dict[str, Any] = {
    "defaults": {
        "dense": {"epochs": 3},
        "sampling": {"design": "axes", "points": [], "holdout": []},
        "optimum": {"refits": 100},
        "policies": ["dwr"],
    }
}


def written(project: Project) -> int:
    """Return how many files the run has written or renewed so far."""
    return sum(path.is_file() for path in project.folder.glob("results/**/*"))


def start(project: Project, config: list[str], told: Path) -> subprocess.Popen[bytes]:
    with told.open("ab") as stream:
        return subprocess.Popen(
            project.command("--cores", "2", "--rerun-incomplete", config=config),
            cwd=project.folder,
            env=environment(),
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def kill_at_random(
    process: subprocess.Popen[bytes], project: Project, whom: str, moments: random.Random
) -> bool:
    """Kill once the run has gone some way; tell whether there was something to kill."""
    goal = written(project) + moments.randint(0, 12)
    while process.poll() is None and written(project) < goal:
        time.sleep(0.02)
    # Anywhere within what the next job does.
    time.sleep(moments.uniform(0, 3))
    victim = process.pid
    if whom == "one job":
        jobs: list[psutil.Process] = []
        while not jobs and process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                jobs = psutil.Process(process.pid).children(recursive=True)
            time.sleep(0.01)
        if jobs:
            victim = moments.choice(jobs).pid
    if process.poll() is not None:
        return False
    with contextlib.suppress(ProcessLookupError):
        if whom == "process group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(victim, signal.SIGKILL)
    process.wait(timeout=600)
    return process.returncode != 0


def continue_to_end(project: Project, config: list[str]) -> None:
    """Do what the documents say after a kill."""
    project.run_forked("--unlock", config=config)
    done = project.run("--cores", "2", "--rerun-incomplete", config=config)
    assert done.returncode == 0, done.stderr[-5000:]


@pytest.mark.slow
def test_kills_change_no_result_and_leave_nothing(tmp_path: Path) -> None:
    undisturbed = Project.copy_to(tmp_path / "undisturbed")
    config = undisturbed.with_config("small", CHANGE)
    continue_to_end(undisturbed, config)
    same = [p for p in undisturbed.folder.glob("results/**/*") if p.name in DETERMINISTIC]
    assert len(same) > 20

    moments = random.Random(11)
    project = Project.copy_to(tmp_path / "killed")
    project.with_config("small", CHANGE)
    told = tmp_path / "told.txt"
    kills: list[str] = []
    while len(kills) < KILLS:
        whom = WHOM[len(kills) % len(WHOM)]
        process = start(project, config, told)
        if kill_at_random(process, project, whom, moments):
            kills.append(whom)
            if whom != "one job":
                project.run_forked("--unlock", config=config)
        else:
            # It came to its end first: that is judged, and the next begins anew.
            assert process.returncode == 0, told.read_text(errors="replace")[-5000:]
            compare(project, undisturbed, same)
            shutil.rmtree(project.folder / "results")
    continue_to_end(project, config)
    compare(project, undisturbed, same)
    assert "Traceback" not in told.read_text(errors="replace")


def compare(project: Project, undisturbed: Project, same: list[Path]) -> None:
    for path in same:
        name = path.relative_to(undisturbed.folder)
        assert (project.folder / name).read_bytes() == path.read_bytes(), name
    left = [
        str(path)
        for path in project.folder.glob("results/**/*")
        if path.name.startswith(".") or ".resume." in path.name or ".partial." in path.name
    ]
    assert left == []

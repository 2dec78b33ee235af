from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest

from running import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A finished tiny run that tests must not change; one for all processes that run tests."""
    shared = tmp_path_factory.getbasetemp()
    shared = (shared if worker_id == "master" else shared.parent) / "finished"
    shared.mkdir(exist_ok=True)
    project = Project(shared / "project")
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            shutil.rmtree(project.folder, ignore_errors=True)
            done = Project.copy_to(project.folder).run("--cores", "2")
            assert done.returncode == 0, done.stderr[-5000:]
            (shared / "done").touch()
    return project


@pytest.fixture(scope="module")
def own_finished(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished run in which the tests of a file may plan and write."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Project(folder)


@pytest.fixture
def clone_of_finished(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished run, with Snakemake's records, that a test may change."""
    folder = tmp_path / "project"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Project(folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """A copy of the workflow in which nothing has run."""
    return Project.copy_to(tmp_path / "project")

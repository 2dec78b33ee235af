from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from running import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished tiny run that tests must not change."""
    project = Project.copy_to(tmp_path_factory.mktemp("finished") / "project")
    done = project.run("--cores", "2")
    assert done.returncode == 0, done.stderr[-5000:]
    return project


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

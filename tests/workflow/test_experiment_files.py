"""The experiment files that come with the project are accepted and plan whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from running import ROOT, Project

FILES = [
    path
    for path in sorted((ROOT / "config").glob("*.yaml"))
    if path.name not in ("config.yaml", "schema.yaml")
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_experiment_file_plans_a_run_of_its_experiments(fresh: Project, path: Path) -> None:
    jobs = fresh.planned(config=["--configfile", f"config/{path.name}"])
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    prepared = [job.output[0] for job in jobs if job.rule == "prepare_data"]
    assert {Path(output).parts[1] for output in prepared} == set(content["run"])
    assert {job.rule for job in jobs} >= {"train_dense", "evaluate_final", "tabulate_policies"}


def test_there_are_experiment_files() -> None:
    assert {"glyphs-small", "glyphs-cifar"} <= {path.stem for path in FILES}

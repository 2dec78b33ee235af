"""The configs that come with the project are accepted and plan whole runs, of the same files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from plans import CONFIGS, RECORD, summarize
from running import Project


@pytest.mark.parametrize("path", CONFIGS)
def test_a_config_plans_a_run_of_its_experiments(fresh: Project, path: str) -> None:
    jobs = fresh.planned(config=["--configfile", path])
    content = yaml.safe_load((fresh.folder / path).read_text(encoding="utf-8"))
    prepared = [job.output[0] for job in jobs if job.rule == "prepare_data"]
    assert {Path(output).parts[1] for output in prepared} == set(content.get("run", ["digits"]))
    assert {job.rule for job in jobs} >= {"train_dense", "evaluate_final", "tabulate_policies"}
    # The report tells of what is summed up.
    after = ("all", "tabulate_resources", "write_report")
    everything = {job.benchmark for job in jobs if job.rule not in after}
    [summary] = [job for job in jobs if job.rule == "tabulate_resources"]
    assert set(summary.input) == everything
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))[path]
    assert summarize(jobs) == recorded, (
        "after a change that is meant: python tests/workflow/plans.py"
    )


def test_there_are_experiment_files() -> None:
    assert {"config/glyphs-small.yaml", "config/glyphs-cifar.yaml"} <= set(CONFIGS)

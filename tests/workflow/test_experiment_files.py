"""The configs that come with the project are accepted and plan whole runs, of the same files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from plans import CONFIGS, RECORD, summarize
from prune3d.workflow.config import load_experiments, overlay
from running import ROOT, Project


@pytest.mark.parametrize("path", CONFIGS)
def test_a_config_plans_a_run_of_its_experiments(fresh: Project, path: str) -> None:
    jobs = fresh.planned(config=["--configfile", path])
    content = yaml.safe_load((fresh.folder / path).read_text(encoding="utf-8"))
    prepared = [job.output[0] for job in jobs if job.rule == "prepare_data"]
    assert {Path(output).parts[1] for output in prepared} == set(content.get("run", ["digits"]))
    assert {job.rule for job in jobs} >= {"train_dense", "evaluate_final", "tabulate_policies"}
    after = ("all", "tabulate_resources")
    everything = {job.benchmark for job in jobs if job.rule not in after}
    [summary] = [job for job in jobs if job.rule == "tabulate_resources"]
    assert set(summary.input) == everything
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))[path]
    assert summarize(jobs) == recorded, (
        "after a change that is meant: python tests/workflow/plans.py"
    )


def test_there_are_experiment_files() -> None:
    assert {"config/glyphs-small.yaml", "config/glyphs-cifar.yaml"} <= set(CONFIGS)


@pytest.mark.parametrize("path", ["config/glyphs-small-surface.yaml", "config/paper/glyphs.yaml"])
def test_more_policies_go_on_with_the_results_of_the_benchmark(path: str) -> None:
    """One experiment in three files, since each is read alone; they differ in what they compare."""
    files = (ROOT / "config/glyphs-small.yaml", ROOT / path)
    small, more = (
        yaml.safe_load(file.read_text(encoding="utf-8"))["experiments"]["glyphs-small"]
        for file in files
    )
    assert set(more.pop("policies")) > {"dense_longer", "dwr", "depth", "width", "resolution"}
    more.pop("ablations", None)
    assert more == small


PAPER = {
    "cifar10": {"resnet32", "resnet56", "resnet110", "cifar_vgg16_bn", "densenet40"},
    "cifar100": {"resnet32", "resnet56", "resnet110", "cifar_vgg16_bn", "densenet40"},
    "imagenet": {"resnet50", "densenet121", "mobilenet_v2", "efficientnet_b0"},
    "tiny-imagenet": {"resnet18", "resnet50"},
}


@pytest.mark.parametrize("data", PAPER)
def test_the_papers_experiments_have_three_budgets_and_three_seeds(data: str) -> None:
    path = ROOT / f"config/paper/{data}.yaml"
    assert str(path.relative_to(ROOT)) in CONFIGS
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text(encoding="utf-8"))
    shipped = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    experiments = load_experiments(overlay(shipped, content), schema)
    assert {one["model"]["name"] for one in experiments.values()} >= PAPER[data]
    assert len(content["seeds"]) >= 3
    for one in experiments.values():
        assert one["data"]["name"] == data
        assert [budget["macs"] for budget in one["budgets"]] == [0.5, 0.25, 0.125]
        # A user's default for digits must not be what these are trained with.
        assert one["dense"]["epochs"] >= 90 and one["dense"]["flip"] and one["final"]["flip"]

"""Changing one config value reruns what depends on it, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from prune3d.config import leaf_keys
from running import ROOT, TINY, Project

EXPORT = {"export_onnx"}
TABLES = {"tabulate_policies", "plot_policies"}
EVALUATE = {"evaluate_final"} | TABLES
FINETUNE_FINAL = {"finetune_final"} | EXPORT | EVALUATE
PRUNE_FINAL = {"prune_final"} | FINETUNE_FINAL
OPTIMUM = {"find_optimum"} | PRUNE_FINAL
TARGETS = {"choose_target"} | OPTIMUM
VALIDATE = {"validate_predictor", "tabulate_predictors", "plot_dimensions", "plot_predictions"}
FIT = {"fit_predictor"} | VALIDATE | OPTIMUM
COLLECT = {"collect_samples"} | FIT
FINETUNE_SAMPLE = {"finetune_sample"} | COLLECT
PRUNE_SAMPLE = {"prune_sample"} | FINETUNE_SAMPLE
ANALYZE = {"analyze_dense"} | TARGETS
DENSE = {"train_dense", "evaluate_dense"} | ANALYZE | PRUNE_SAMPLE
EVERYTHING = {"prepare_data"} | DENSE

POINTS: list[list[float]] = yaml.safe_load(TINY.read_text())["defaults"]["sampling"]["points"]
RECIPE: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 0.01,
    "warmup_epochs": 0.25,
    "momentum": 0.5,
    "weight_decay": 0.01,
    "shift": 0,
    "flip": True,
}

# For each key of the config: another value, and the rules that must run again.
EXPECTED: dict[str, tuple[Any, set[str]]] = {
    "defaults.data.test_fraction": (0.3, EVERYTHING),
    "defaults.data.selection_fraction": (0.3, EVERYTHING),
    "defaults.model.name": ("resnet20", DENSE),
    **{f"defaults.dense.{key}": (value, DENSE) for key, value in RECIPE.items()},
    # A sample's children are pruned from it once more.
    **{f"defaults.finetune.{key}": (value, PRUNE_SAMPLE) for key, value in RECIPE.items()},
    **{f"defaults.final.{key}": (value, FINETUNE_FINAL) for key, value in RECIPE.items()},
    "defaults.pruning.block_criterion": ("random", ANALYZE | PRUNE_SAMPLE),
    "defaults.pruning.channel_criterion": ("l1", PRUNE_SAMPLE | PRUNE_FINAL),
    "defaults.pruning.round_to": (4, PRUNE_SAMPLE | TARGETS),
    "defaults.pruning.probe_images": (128, ANALYZE | PRUNE_SAMPLE),
    "defaults.sampling.design": ("axes", COLLECT),
    "defaults.sampling.depth": ([0.67, 0.83], PRUNE_SAMPLE),
    "defaults.sampling.width": ([0.5, 0.35], PRUNE_SAMPLE),
    "defaults.sampling.resolution": ([0.75, 0.625], PRUNE_SAMPLE),
    "defaults.sampling.points": ([*POINTS, [0.33, 0.5, 0.75]], PRUNE_SAMPLE),
    "defaults.sampling.holdout": ([[0.67, 0.75, 0.75], [0.67, 0.5, 0.5]], PRUNE_SAMPLE),
    "defaults.predictor.kind": ("full", FIT),
    "defaults.predictor.degree": (2, FIT),
    "defaults.predictor.rank": (2, FIT),
    "defaults.predictor.alpha": (0.5, FIT),
    "defaults.lattice.width_step": (0.05, TARGETS),
    "defaults.lattice.side_step": (2, ANALYZE),
    "defaults.budgets": ([{"name": "half", "macs": 0.4}], TARGETS),
    "defaults.policies": (["dwr", "depth", "width"], TABLES),
    "figures.dimensions.size": ([5.0, 3.0], {"plot_dimensions"}),
    "figures.dimensions.dpi": (60, {"plot_dimensions"}),
    "figures.predictions.size": ([5.0, 3.0], {"plot_predictions"}),
    "figures.predictions.dpi": (60, {"plot_predictions"}),
    "figures.policies.size": ([5.0, 3.0], {"plot_policies"}),
    "figures.policies.dpi": (60, {"plot_policies"}),
}

# Keys whose change is looked at job by job below; the name of the data set has one value only.
ELSEWHERE = {"run", "seeds", "experiments", "defaults.data.name"}


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.fixture(scope="module")
def planned_rules(finished: Project) -> dict[str, set[str]]:
    """The rules that a dry run lists for each key, two dry runs at a time."""

    def plan(key: str) -> set[str]:
        change = nested(key, EXPECTED[key][0])
        config = finished.with_config(f"change-{key}", change)
        return {job.rule for job in finished.planned(config=config)} - {"all"}

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(EXPECTED, pool.map(plan, EXPECTED), strict=True))


def test_every_config_key_has_an_expected_set_of_rules() -> None:
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
    assert set(leaf_keys(schema)) == set(EXPECTED) | ELSEWHERE


def test_a_finished_run_has_nothing_to_do(finished: Project) -> None:
    assert finished.planned() == []


@pytest.mark.slow
@pytest.mark.parametrize("key", EXPECTED)
def test_a_changed_value_reruns_what_depends_on_it(
    key: str, planned_rules: dict[str, set[str]]
) -> None:
    assert planned_rules[key] == EXPECTED[key][1]


def outputs(project: Project, change: dict[str, Any]) -> list[str]:
    """Return the outputs of the jobs that a change brings."""
    jobs = project.planned(config=project.with_config("change", change))
    return [path for job in jobs for path in job.output]


def test_a_new_level_adds_its_samples_only(finished: Project) -> None:
    change = {"defaults": {"sampling": {"width": [0.5, 0.35]}}}
    sampled = {p.split("/")[4] for p in outputs(finished, change) if "/samples/" in p}
    assert sampled == {"d100_w35_r100", "d100_w35_r75", "d67_w35_r100", "d67_w35_r75"}


def test_a_new_point_adds_one_sample_only(finished: Project) -> None:
    change = {"defaults": {"sampling": {"points": [*POINTS, [0.33, 0.5, 0.75]]}}}
    sampled = {p.split("/")[4] for p in outputs(finished, change) if "/samples/" in p}
    assert sampled == {"d33_w50_r75"}


def test_a_new_seed_leaves_the_others_alone(finished: Project) -> None:
    new = outputs(finished, {"seeds": [0, 7]})
    runs = [path for path in new if path.startswith("results/digits/")]
    assert runs and all(path.startswith("results/digits/seed7/") for path in runs)


def test_a_new_experiment_leaves_the_others_alone(finished: Project) -> None:
    change = {"run": ["digits", "other"], "experiments": {"other": {"dense": {"epochs": 3}}}}
    new = outputs(finished, change)
    assert any(path.startswith("results/other/") for path in new)
    assert not [path for path in new if path.startswith("results/digits/")]
    assert not [path for path in new if path.startswith("results/figures/digits/")]


def test_a_new_budget_leaves_the_others_alone(finished: Project) -> None:
    budgets = [{"name": "half", "macs": 0.5}, {"name": "third", "macs": 0.33}]
    new = outputs(finished, {"defaults": {"budgets": budgets}})
    assert any("/budgets/third/" in path for path in new)
    assert not [path for path in new if "/budgets/half/" in path or "/samples/" in path]


def test_a_new_policy_leaves_the_others_alone(finished: Project) -> None:
    config = finished.with_config("fewer", {"defaults": {"policies": ["dwr", "depth"]}})
    rules = {job.rule for job in finished.planned(config=config)} - {"all"}
    assert rules == TABLES

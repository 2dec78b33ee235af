"""Changing one config value reruns what depends on it, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import prune3d
from prune3d.pruning.realized import realized
from prune3d.workflow.config import leaf_keys
from running import ROOT, TINY, PlannedJob, Project

# What sums up the whole run.
ALWAYS = {"all", "tabulate_resources"}
TABLES = {"tabulate_policies", "plot_policies", "tabulate_claims", "tabulate_published"}
TABLES |= {"tabulate_forecasts"}
LATENCY = {"time_networks", "tabulate_latency", "plot_latency"}
FINETUNE_FINAL = {"finetune_final", "evaluate_final", "export_onnx", "write_card"} | TABLES
PRUNE_FINAL = {"prune_final"} | FINETUNE_FINAL
CHOICE = {"choose_optimum", "plot_surface"} | PRUNE_FINAL
TRIALS = {"try_candidate"} | CHOICE
OPTIMUM = {"find_optimum"} | TRIALS
TARGETS = {"choose_target"} | OPTIMUM
VALIDATE = {"validate_predictor", "tabulate_predictors", "plot_predictions"}
FIT = {"fit_predictor", "plot_dimensions"} | VALIDATE | OPTIMUM
COLLECT = {"collect_samples"} | FIT
NEW_SAMPLE = {"prune_sample", "finetune_sample"} | COLLECT
NEW_HOLDOUT = {"prune_sample", "finetune_sample", "collect_holdout"} | VALIDATE
EVERY_SAMPLE = NEW_SAMPLE | NEW_HOLDOUT
LONGER = {"finetune_dense", "evaluate_longer"}
DENSE = {"train_dense", "evaluate_dense", "rank_blocks"} | LONGER | TARGETS | EVERY_SAMPLE
EVERYTHING = {"prepare_data", "analyze_dense"} | DENSE

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
    "schedule": "one_cycle",
    "cutout": 2,
    "crop_area": 0.5,
    "erasing": 0.25,
    "auto_augment": "randaugment",
    "mixup": 0.2,
    "cutmix": 1.0,
    "label_smoothing": 0.1,
    "ema": 0.9,
}
FINETUNING: dict[str, Any] = {"distillation": 0.5}
# Without effect beside the other values.
IDLE: dict[str, Any] = {"decay_at": [0.3], "decay_factor": 0.2, "temperature": 2.0}
SECTIONS = ("dense", "finetune", "final")


@dataclass(frozen=True)
class Rerun:
    """Another value of a key, the rules that must run again, and the policies pruned anew."""

    value: Any
    rules: set[str]
    policies: str = ""


ALL = "dwr depth width resolution"
EXPECTED: dict[str, Rerun] = {
    # The digits have neither files nor another size.
    "defaults.data.root": Rerun("elsewhere", set()),
    "defaults.data.download": Rerun(True, set()),
    "defaults.data.side": Rerun(8, set()),
    "defaults.data.resident_gb": Rerun(1.0, set()),
    **{
        f"defaults.data.glyphs.{key}": Rerun(value, set())
        for key, value in {
            "classes": 5,
            "images": 100,
            "test_images": 200,
            "difficulty": 1.0,
            "seed": 1,
        }.items()
    },
    "defaults.data.test_fraction": Rerun(0.3, EVERYTHING, ALL),
    "defaults.data.selection_fraction": Rerun(0.3, EVERYTHING, ALL),
    "defaults.model.name": Rerun("resnet20", {"analyze_dense"} | DENSE, ALL),
    # Weights of the tiny run's own model, trained elsewhere.
    "defaults.model.checkpoint": Rerun("weights.safetensors", DENSE, ALL),
    "defaults.model.sparsity.penalty": Rerun("group_lasso", DENSE, ALL),
    # Nothing is penalized.
    "defaults.model.sparsity.strength": Rerun(0.5, set()),
    "defaults.model.sparsity.fraction": Rerun(0.5, set()),
    **{f"defaults.dense.{key}": Rerun(value, DENSE, ALL) for key, value in RECIPE.items()},
    **{f"defaults.{s}.{key}": Rerun(v, set()) for s in SECTIONS for key, v in IDLE.items()},
    # A sample's children are pruned from it once more.
    **{
        f"defaults.finetune.{key}": Rerun(v, EVERY_SAMPLE, "dwr")
        for key, v in (RECIPE | FINETUNING).items()
    },
    **{
        f"defaults.final.{key}": Rerun(v, TRIALS | LONGER, ALL)
        for key, v in (RECIPE | FINETUNING).items()
    },
    "defaults.compute.precision": Rerun("float32", DENSE, ALL),
    "defaults.compute.channels_last": Rerun("never", DENSE, ALL),
    "defaults.compute.compile": Rerun(True, DENSE, ALL),
    "defaults.compute.cuda_graph": Rerun("never", DENSE, ALL),
    "defaults.pruning.block_criterion": Rerun(
        "random", {"rank_blocks"} | TARGETS | EVERY_SAMPLE, "dwr depth"
    ),
    "defaults.pruning.channel_criterion": Rerun("l1", EVERY_SAMPLE, "dwr width"),
    "defaults.pruning.round_to": Rerun(4, TARGETS | EVERY_SAMPLE, "dwr width"),
    # The dense network and what is only made smaller in its images stay.
    "defaults.pruning.keep": Rerun(
        ["conv1"], {"analyze_kept", "rank_blocks"} | TARGETS | EVERY_SAMPLE, "dwr depth width"
    ),
    "defaults.pruning.probe_images": Rerun(128, {"rank_blocks"} | TARGETS | EVERY_SAMPLE, ALL),
    "defaults.sampling.design": Rerun("axes", COLLECT, "dwr"),
    # The tiny run has the design grid.
    "defaults.sampling.count": Rerun(5, set()),
    "defaults.sampling.criterion": Rerun("i", set()),
    # Its levels are lists.
    "defaults.sampling.levels": Rerun(5, set()),
    "defaults.sampling.depth": Rerun([0.67, 0.83], NEW_SAMPLE, "dwr"),
    "defaults.sampling.width": Rerun([0.5, 0.35], NEW_SAMPLE, "dwr"),
    "defaults.sampling.resolution": Rerun([0.75, 0.625], NEW_SAMPLE, "dwr"),
    "defaults.sampling.points": Rerun([*POINTS, [0.33, 0.5, 0.75]], NEW_SAMPLE, "dwr"),
    "defaults.sampling.holdout": Rerun([[0.67, 0.75, 0.75], [0.67, 0.5, 0.5]], NEW_HOLDOUT),
    "defaults.predictor.kind": Rerun("full", FIT, "dwr"),
    "defaults.predictor.degree": Rerun(2, FIT, "dwr"),
    "defaults.predictor.rank": Rerun(2, FIT, "dwr"),
    "defaults.predictor.alpha": Rerun(0.5, FIT, "dwr"),
    "defaults.predictor.shape": Rerun("increasing", FIT, "dwr"),
    "defaults.predictor.loss": Rerun("squared", FIT, "dwr"),
    "defaults.lattice.width_step": Rerun(0.05, TARGETS, "dwr width"),
    "defaults.lattice.side_step": Rerun(2, TARGETS, "dwr resolution"),
    "defaults.optimum.refits": Rerun(200, OPTIMUM, "dwr"),
    # Then nothing is tried.
    "defaults.optimum.prefer": Rerun("params", OPTIMUM - {"try_candidate"}, "dwr"),
    "defaults.optimum.extrapolate": Rerun(True, OPTIMUM, "dwr"),
    "defaults.rerank.candidates": Rerun(2, OPTIMUM, "dwr"),
    "defaults.rerank.keep": Rerun(3, TRIALS, "dwr"),
    "defaults.rerank.part": Rerun(0.25, TRIALS, "dwr"),
    # No budget of the tiny run needs latencies.
    "defaults.latency.runtime": Rerun("onnxruntime", set()),
    "defaults.latency.device": Rerun("cpu", set()),
    "defaults.latency.threads": Rerun(2, set()),
    "defaults.latency.throughput_batch_size": Rerun(8, set()),
    "defaults.latency.batch_size": Rerun(2, set()),
    "defaults.latency.runs": Rerun(5, set()),
    "defaults.latency.finals": Rerun(
        True, LATENCY | {"write_card"} | TABLES - {"tabulate_forecasts"}
    ),
    "defaults.budgets": Rerun([{"name": "half", "macs": 0.4}], TARGETS, ALL),
    "defaults.policies": Rerun(["dwr", "depth", "width"], TABLES),
    "defaults.ablations": Rerun(["degree"], {"ablate_predictor"}),
    # Its own name is none.
    "defaults.compared_with": Rerun("digits", set()),
    "defaults.licence": Rerun("MIT", {"write_card"}),
    "defaults.export_program": Rerun(True, {"export_program", "write_card"}),
    "tensorboard": Rerun(True, set()),
    "figures.dimensions.size": Rerun([5.0, 3.0], {"plot_dimensions"}),
    "figures.dimensions.dpi": Rerun(60, {"plot_dimensions"}),
    "figures.predictions.size": Rerun([5.0, 3.0], {"plot_predictions"}),
    "figures.predictions.dpi": Rerun(60, {"plot_predictions"}),
    "figures.surface.size": Rerun([5.0, 3.0], {"plot_surface"}),
    "figures.surface.dpi": Rerun(60, {"plot_surface"}),
    # The tiny run asks for no ablations.
    "figures.ablation.size": Rerun([5.0, 3.0], set()),
    "figures.ablation.dpi": Rerun(60, set()),
    # Nor are these a part of `all`.
    **{
        f"figures.{name}.{key}": Rerun(value, set())
        for name in ("pareto", "recovery", "latency")
        for key, value in {"size": [5.0, 3.0], "dpi": 60}.items()
    },
    "figures.policies.size": Rerun([5.0, 3.0], {"plot_policies"}),
    "figures.policies.dpi": Rerun(60, {"plot_policies"}),
}

# Keys whose change is looked at job by job below; the digits have one normalization only.
ELSEWHERE = {
    "run",
    "seeds",
    "experiments",
    "defaults.data.name",
    "defaults.data.normalization",
    "defaults.dense.distillation",  # must be 0
    "defaults.pruning.steps",  # at most the epochs
}


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.fixture(scope="module")
def planned(own_finished: Project) -> dict[str, list[PlannedJob]]:
    """The jobs that a dry run lists for each key, two dry runs at a time."""
    trained = own_finished.folder / "results/digits/seed0/dense/model.safetensors"
    shutil.copy(trained, own_finished.folder / "weights.safetensors")

    def plan(key: str) -> list[PlannedJob]:
        config = own_finished.with_config(f"change-{key}", nested(key, EXPECTED[key].value))
        return own_finished.planned(config=config)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(EXPECTED, pool.map(plan, EXPECTED), strict=True))


def test_every_config_key_has_an_expected_set_of_rules() -> None:
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
    assert set(leaf_keys(schema)) == set(EXPECTED) | ELSEWHERE


def test_a_finished_run_has_nothing_to_do(own_finished: Project) -> None:
    assert own_finished.planned() == []


@pytest.mark.slow
@pytest.mark.parametrize("key", EXPECTED)
def test_a_changed_value_reruns_what_depends_on_it(
    key: str, planned: dict[str, list[PlannedJob]]
) -> None:
    assert {job.rule for job in planned[key]} - ALWAYS == EXPECTED[key].rules
    finals = [job for job in planned[key] if job.rule == "evaluate_final"]
    policies = {Path(job.output[0]).parent.name for job in finals}
    assert policies == set(EXPECTED[key].policies.split())


def outputs(project: Project, change: dict[str, Any]) -> list[str]:
    """Return the outputs of the jobs that a change brings."""
    jobs = project.planned(config=project.with_config("change", change))
    return [path for job in jobs for path in job.output]


def test_new_dates_of_scripts_rules_and_config_rerun_nothing(clone_of_finished: Project) -> None:
    project = clone_of_finished
    for place in ("Snakefile", "tiny.yaml", "rules", "scripts", "config"):
        for path in [project.folder / place, *(project.folder / place).rglob("*")]:
            os.utime(path)
    assert project.planned() == []
    # Whoever names triggers is taken at his word.
    jobs = project.planned("--rerun-triggers", "code")
    assert "train_dense" in {job.rule for job in jobs}


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        ("scripts/fit_predictor.py", FIT),
        ("scripts/prune3d/predictor/alternating.py", FIT),
        ("scripts/prune3d/report/policies.py", TABLES - {"tabulate_forecasts"}),
        ("scripts/prune3d/workflow/attempts.py", set()),
    ],
)
def test_other_code_of_the_library_reruns_what_it_makes(
    clone_of_finished: Project, file: str, rules: set[str]
) -> None:
    project = clone_of_finished
    with (project.folder / file).open("a") as stream:
        stream.write("# A comment.\n")
    assert project.planned() == []
    with (project.folder / file).open("a") as stream:
        stream.write("SOMETHING = 1\n")
    planned = {job.rule for job in project.planned()}
    assert rules <= planned
    assert not planned & {"train_dense", "finetune_sample", "prepare_data"}


def test_a_new_level_adds_its_samples_only(own_finished: Project) -> None:
    change = {"defaults": {"sampling": {"width": [0.5, 0.35]}}}
    sampled = {p.split("/")[4] for p in outputs(own_finished, change) if "/samples/" in p}
    assert sampled == {"d100_w35_r100", "d100_w35_r75", "d67_w35_r100", "d67_w35_r75"}


def test_a_new_point_adds_one_sample_only(own_finished: Project) -> None:
    change = {"defaults": {"sampling": {"points": [*POINTS, [0.33, 0.5, 0.75]]}}}
    sampled = {p.split("/")[4] for p in outputs(own_finished, change) if "/samples/" in p}
    assert sampled == {"d33_w50_r75"}


def test_another_data_set_reruns_everything_and_its_settings_matter(own_finished: Project) -> None:
    glyphs: dict[str, Any] = {"name": "glyphs", "side": 8, "normalization": "imagenet"}
    config = own_finished.with_config("glyphs", {"defaults": {"data": glyphs}})
    rules = {job.rule for job in own_finished.planned(config=config)} - ALWAYS
    assert rules == EVERYTHING | TABLES


def test_a_rewound_recipe_depends_on_the_original(own_finished: Project) -> None:
    rewound = {"defaults": {"final": {"schedule": "rewind"}}}
    config = own_finished.with_config("rewound", rewound)
    done = own_finished.planned(config=config)
    assert {job.rule for job in done} - ALWAYS == TRIALS | LONGER
    # What the rewinding replaces has no effect.
    rewound["defaults"]["final"]["learning_rate"] = 0.01
    again = own_finished.planned(config=own_finished.with_config("rewound2", rewound))
    # In any order: Snakemake plans through sets.
    assert set(again) == set(done)


def test_the_dense_network_is_an_input_of_distillation_only(own_finished: Project) -> None:
    dense = "results/digits/seed0/dense/model.safetensors"
    for part, expected in ((0.0, False), (0.5, True)):
        change = {"defaults": {"final": {"distillation": part, "epochs": 2}}}
        jobs = own_finished.planned(config=own_finished.with_config("distil", change))
        trainings = [job for job in jobs if job.rule == "finetune_final"]
        assert trainings
        assert all((dense in job.input) == expected for job in trainings)


def test_a_new_seed_leaves_the_others_alone(own_finished: Project) -> None:
    new = outputs(own_finished, {"seeds": [0, 7]})
    runs = [path for path in new if path.startswith("results/digits/")]
    assert runs and all(path.startswith("results/digits/seed7/") for path in runs)


def test_a_new_experiment_leaves_the_others_alone(own_finished: Project) -> None:
    change = {"run": ["digits", "other"], "experiments": {"other": {"dense": {"epochs": 3}}}}
    new = outputs(own_finished, change)
    assert any(path.startswith("results/other/") for path in new)
    assert not [path for path in new if path.startswith("results/digits/")]
    assert not [path for path in new if path.startswith("results/figures/digits/")]


def test_a_new_budget_leaves_the_others_alone(own_finished: Project) -> None:
    budgets = [{"name": "half", "macs": 0.5}, {"name": "third", "macs": 0.33}]
    new = outputs(own_finished, {"defaults": {"budgets": budgets}})
    assert any("/budgets/third/" in path for path in new)
    assert not [path for path in new if "/budgets/half/" in path or "/samples/" in path]


def test_a_new_policy_leaves_the_others_alone(own_finished: Project) -> None:
    config = own_finished.with_config("fewer", {"defaults": {"policies": ["dwr", "depth"]}})
    rules = {job.rule for job in own_finished.planned(config=config)} - ALWAYS
    assert rules == TABLES


@pytest.mark.slow
def test_pruning_in_steps_makes_the_networks_on_the_way_and_no_other(
    clone_of_finished: Project,
) -> None:
    project = clone_of_finished
    change: dict[str, Any] = {"policies": ["depth", "width", "resolution"], "final": {"epochs": 3}}
    before = {job.output for job in project.planned(config=_config(project, change))}
    config = _config(project, {**change, "pruning": {"steps": 3}})
    jobs = project.planned(config=config)
    steps = [job for job in jobs if job.rule == "step_final"]
    assert len(steps) == 3 * 2
    others = {job.output for job in jobs} - {job.output for job in steps}
    pruned = {job.output for job in jobs if job.rule == "prune_final"}
    assert others == before | pruned and len(pruned) == 3
    targets = [f"{FINALS}/{policy}/metrics.json" for policy in change["policies"]]
    done = project.run("--cores", "2", *targets, config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    for policy in change["policies"]:
        folder = project.folder / FINALS / policy
        dense, first, second, last = (
            realized(prune3d.load(path))
            for path in (
                project.folder / "results/digits/seed0/dense/model.safetensors",
                *(folder / f"steps/{step}/model.safetensors" for step in (1, 2)),
                folder / "model.safetensors",
            )
        )
        macs = [one["macs"] for one in (dense, first, second, last)]
        assert macs == sorted(macs, reverse=True) and macs[1] < macs[0]
        others = {"depth", "width", "resolution"} - {policy}
        assert all(one[axis] == 1 for one in (first, second, last) for axis in others)
        # Blocks at once, else the third of the way in the logarithm, as near as the network allows.
        part = 1 if policy == "depth" else 1 / 3
        assert first[policy] == pytest.approx(last[policy] ** part, abs=0.1)
        # One epoch after each step, all of them billed to the final network.
        passed = json.loads((folder / "metrics.json").read_text())["cost_macs"]
        images = 1149
        assert passed >= images * sum(macs[1:])
        provenance = json.loads((folder / "provenance.json").read_text())
        pruning = provenance["steps"]["finetune_final"]["steps"]["prune_final"]
        assert "step_final" in pruning["steps"]["step_final"]["steps"]


FINALS = "results/digits/seed0/budgets/half"


def _config(project: Project, change: dict[str, Any]) -> list[str]:
    return project.with_config("change", {"defaults": change})

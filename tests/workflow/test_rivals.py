"""Every policy from the samples to the table: config/paper/glyphs.yaml on a few images, briefly."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import prune3d
from prune3d.optimize.registry import (
    AXIS_SAMPLES,
    CHOOSING,
    DENSE_LONGER,
    JUDGING,
    OPTIMUM,
    POLICIES,
    SAMPLES,
)
from prune3d.report.draws import BEST, DRAWN, POOLED
from running import ROOT, Project

FILE = "config/paper/glyphs.yaml"
EXPERIMENTS = yaml.safe_load((ROOT / FILE).read_text(encoding="utf-8"))["experiments"]
NAME, BUDGET = "glyphs-small", "quarter"
RUN = Path(f"results/{NAME}/seed0")
FINALS = RUN / "budgets" / BUDGET
COMPARED = [name for name in EXPERIMENTS[NAME]["policies"] if name != DENSE_LONGER]
IMAGES, DENSE_EPOCHS = 320, 2
BRIEF: dict[str, Any] = {
    "data": {
        "glyphs": {"classes": 4, "images": 400, "test_images": 100},
        "selection_fraction": 0.2,
    },
    "dense": {"epochs": DENSE_EPOCHS, "batch_size": 32, "warmup_epochs": 0},
    "finetune": {"epochs": 1, "batch_size": 32, "warmup_epochs": 0},
    "final": {"epochs": 1, "batch_size": 32, "warmup_epochs": 0},
    "pruning": {"probe_images": 64},
    "sampling": {"levels": 2, "holdout": []},
    "predictor": {"degree": 1},
    "rerank": {"candidates": 0},
    "latency": {"throughput_batch_size": 2, "runs": 3},
    "budgets": [{"name": BUDGET, "macs": 0.25}],
}
AT_OPTIMUM = [name for name in COMPARED if POLICIES[name].uses == OPTIMUM]
# What needs a dense network of its own; the method is run in the other experiment.
PENALIZED = {"glyphs-sparse": "slimming", "glyphs-grouped": "group_norm"}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run of all policies."""
    project = Project.copy_to(tmp_path_factory.mktemp("rivals") / "project")
    own = {name: {"policies": ["global_l2", policy]} for name, policy in PENALIZED.items()}
    experiments = {name: {**BRIEF, **own.get(name, {})} for name in EXPERIMENTS}
    project.with_config("brief", {"seeds": [0], "experiments": experiments})
    config = ["--configfile", FILE, "brief.yaml"]
    done = project.run("--cores", "2", "results/tables/policies.csv", config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    return project


def test_the_file_compares_all_policies() -> None:
    """But for two of the five random points."""
    named = {policy for one in EXPERIMENTS.values() for policy in one["policies"]}
    assert named == {DENSE_LONGER, *POLICIES} - set(DRAWN[3:])


@pytest.mark.slow
@pytest.mark.parametrize("name", PENALIZED)
def test_channels_are_in_the_order_of_what_was_penalized(compared: Project, name: str) -> None:
    shapes = []
    for policy in ("global_l2", PENALIZED[name]):
        folder = compared.folder / f"results/{name}/seed0/budgets/{BUDGET}/{policy}"
        ratio = json.loads((folder / "metrics.json").read_text())["macs_ratio"]
        # The widest uniform width within the budget has 0.984 of it.
        assert 0.985 * 0.25 <= ratio <= 0.25
        shapes.append(prune3d.load(folder / "model.safetensors").spec.shapes)
    assert shapes[0] != shapes[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", PENALIZED)
def test_sparse_training_that_made_nothing_sparse_is_told(compared: Project, name: str) -> None:
    dense = compared.folder / f"results/{name}/seed0/dense/metrics.json"
    penalty = EXPERIMENTS[name]["model"]["sparsity"]["penalty"]
    found = json.loads(dense.read_text())["near_zero"]
    assert set(found) == {penalty}
    with (compared.folder / "results/tables/warnings.csv").open() as stream:
        told = [row["warning"] for row in csv.DictReader(stream) if row["experiment"] == name]
    about = [text for text in told if f"policy {PENALIZED[name]} prunes" in text]
    assert len(about) == (found[penalty] == 0)


@pytest.fixture(scope="module")
def rows(compared: Project) -> dict[str, dict[str, str]]:
    with (compared.folder / "results/tables/runs.csv").open() as stream:
        return {row["policy"]: row for row in csv.DictReader(stream) if row["experiment"] == NAME}


def test_every_policy_can_be_planned_alone_with_the_method(fresh: Project) -> None:
    """The plan has each job that the summary of resources waits for, and no other."""
    for policies in (COMPARED, ["dwr", "scratch_budget"], ["uniform", "random_point3"]):
        config = fresh.with_config("some", {"defaults": {"policies": policies}})
        jobs = fresh.planned(config=config)
        after = ("all", "tabulate_resources")
        summed = [job for job in jobs if job.rule not in after]
        [summary] = [job for job in jobs if job.rule == "tabulate_resources"]
        assert set(summary.input) == {job.benchmark for job in summed}
        for rule, kind in (("choose_target", CHOOSING), ("descend_target", JUDGING)):
            assert sum(job.rule == rule for job in jobs) == len(set(kind) & set(policies))
        assert sum(job.rule == "finetune_final" for job in jobs) == len(policies)


@pytest.mark.slow
def test_every_policy_is_in_the_table_with_the_budget_used(
    rows: dict[str, dict[str, str]],
) -> None:
    assert set(rows) == {"dense", DENSE_LONGER, BEST, *COMPARED}
    for name in COMPARED:
        # Fifteen blocks and twenty-four sides alone may come no nearer to the budget.
        least = 0.97 * 0.25 if "width" in POLICIES[name].axes else 0.15
        assert least <= float(rows[name]["macs_ratio"]) <= 0.25, name


@pytest.mark.slow
def test_every_final_network_is_timed(compared: Project, rows: dict[str, dict[str, str]]) -> None:
    assert all(float(rows[name]["latency_ms"]) > 0 for name in ("dense", *COMPARED))
    with (compared.folder / f"{RUN}/latency.csv").open() as stream:
        assert {row["runtime"] for row in csv.DictReader(stream)} == {"onnxruntime"}


@pytest.mark.slow
def test_all_draws_are_a_row_of_the_table(compared: Project) -> None:
    with (compared.folder / "results/tables/policies.csv").open() as stream:
        rows = csv.DictReader(stream)
        table = {row["policy"]: row for row in rows if row["experiment"] == NAME}
    assert table[POOLED]["test_top1_std"] and int(table[POOLED]["seeds"]) == 1
    assert {*DRAWN[:2], BEST} <= set(table)


@pytest.mark.slow
def test_every_policy_is_billed_with_what_it_used(
    compared: Project, rows: dict[str, dict[str, str]]
) -> None:
    scoring = json.loads((compared.folder / RUN / "dense/blocks.json").read_text())["cost_macs"]
    with (compared.folder / RUN / "samples.csv").open() as stream:
        samples = sum(int(row["cost_macs"]) for row in csv.DictReader(stream))
    for name in COMPARED:
        policy = POLICIES[name]
        # All samples of this design lie on the axes, and nothing was tried.
        uses = samples if policy.uses in (AXIS_SAMPLES, SAMPLES, OPTIMUM) else 0
        expected = uses + (scoring if "depth" in policy.axes else 0)
        if name in JUDGING:
            target = json.loads((compared.folder / FINALS / name / "target.json").read_text())
            assert 1 <= target["networks_judged"] <= 31 and target["search_cost_macs"] > 0
            expected += target["search_cost_macs"]
        assert int(rows[name]["search_cost_macs"]) == expected, name


@pytest.mark.slow
def test_controls_are_the_methods_network_but_for_one_thing(compared: Project) -> None:
    budget = compared.folder / FINALS
    method = prune3d.load(budget / "dwr/model.safetensors")
    for name in AT_OPTIMUM:
        model = prune3d.load(budget / name / "model.safetensors")
        assert model.spec.side == method.spec.side
        assert len(model.spec.removed_blocks) == len(method.spec.removed_blocks)
        if name not in ("random_blocks", "dwr_allocated"):
            assert prune3d.cost(model) == prune3d.cost(method), name
    pruned = {
        name: prune3d.load(budget / name / "pruned.safetensors").conv1.weight
        for name in ("dwr", "random_channels", "scratch_epochs")
    }
    dense = prune3d.load(compared.folder / RUN / "dense/model.safetensors").conv1.weight
    for name in ("dwr", "random_channels"):
        # Channels of the dense network, other ones.
        assert all(any(torch.equal(w, d) for d in dense) for w in pruned[name])
    # The first layer of a narrow network may keep all of its channels; some other does not.
    own, chance = (
        prune3d.load(budget / name / "pruned.safetensors") for name in ("dwr", "random_channels")
    )
    pairs = zip(own.parameters(), chance.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)
    assert not any(torch.equal(w, d) for w in pruned["scratch_epochs"] for d in dense)


@pytest.mark.slow
def test_training_from_scratch_costs_what_the_dense_network_and_the_fine_tuning_did(
    compared: Project, rows: dict[str, dict[str, str]]
) -> None:
    epochs = {}
    for name in ("dwr", "scratch_epochs", "scratch_budget"):
        with (compared.folder / FINALS / name / "history.csv").open() as stream:
            epochs[name] = len(list(csv.DictReader(stream)))
    ratio = float(rows["dwr"]["macs_ratio"])
    assert epochs == {
        "dwr": 1,
        "scratch_epochs": DENSE_EPOCHS + 1,
        "scratch_budget": round(DENSE_EPOCHS / ratio + 1),
    }
    cost = int(rows["scratch_epochs"]["training_cost_macs"])
    assert cost == (DENSE_EPOCHS + 1) * IMAGES * int(rows["scratch_epochs"]["macs"])

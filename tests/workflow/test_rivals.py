"""A run of every policy, tiny: from the samples to the table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import prune3d
from prune3d.optimize.registry import (
    AXIS_SAMPLES,
    CHOOSING,
    DRAWN,
    JUDGING,
    OPTIMUM,
    POLICIES,
    SAMPLES,
)
from prune3d.report.draws import BEST, POOLED
from prune3d.sampling.tree import AXES
from running import Project

RUN = Path("results/digits/seed0")
PENALTY = "batchnorm_l1"
# Those that the other tests of the workflow do not run; two draws stand for all.
RUN_HERE = [
    name
    for name, policy in POLICIES.items()
    if name not in (*AXES, *DRAWN[2:]) and policy.penalty in (None, PENALTY)
]
CHANGE: dict[str, Any] = {
    "defaults": {
        # What slimming needs: batch-norm scales in an order.
        "model": {"name": "resnet14", "sparsity": {"penalty": PENALTY}},
        "dense": {"epochs": 3},
        "sampling": {"design": "axes", "points": [], "holdout": []},
        "rerank": {"candidates": 0},
        "policies": RUN_HERE,
    }
}
AT_OPTIMUM = [name for name, policy in POLICIES.items() if policy.uses == OPTIMUM]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run of all policies."""
    project = Project.copy_to(tmp_path_factory.mktemp("rivals") / "project")
    config = project.with_config("rivals", CHANGE)
    done = project.run("--cores", "2", "results/tables/policies.csv", config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    return project


@pytest.mark.slow
def test_channels_are_in_the_order_of_their_norms_where_these_were_penalized(
    fresh: Project,
) -> None:
    model = {"name": "resnet14", "sparsity": {"penalty": "group_norm"}}
    change = {**CHANGE["defaults"], "model": model, "policies": ["global_l2", "group_norm"]}
    config = fresh.with_config("grouped", {"defaults": change})
    done = fresh.run("--cores", "2", "results/tables/policies.csv", config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    shapes = []
    for name in ("global_l2", "group_norm"):
        folder = fresh.folder / RUN / "budgets/half" / name
        ratio = json.loads((folder / "metrics.json").read_text())["macs_ratio"]
        assert 0.97 * 0.5 <= ratio <= 0.5
        shapes.append(prune3d.load(folder / "model.safetensors").spec.shapes)
    assert shapes[0] != shapes[1]


@pytest.fixture(scope="module")
def rows(compared: Project) -> dict[str, dict[str, str]]:
    with (compared.folder / "results/tables/runs.csv").open() as stream:
        return {row["policy"]: row for row in csv.DictReader(stream)}


def test_every_policy_can_be_planned_alone_with_the_method(fresh: Project) -> None:
    """The plan has each job that the summary of resources waits for, and no other."""
    for policies in (RUN_HERE, ["dwr", "scratch_budget"], ["uniform", "random_point3"]):
        config = fresh.with_config(
            "some", {"defaults": {**CHANGE["defaults"], "policies": policies}}
        )
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
    assert set(rows) == {"dense", BEST, *RUN_HERE}
    for name in RUN_HERE:
        # Six blocks and a few sides alone come no nearer to the budget.
        least = 0.4 if name == "depth_resolution" else 0.97 * 0.5
        assert least <= float(rows[name]["macs_ratio"]) <= 0.5, name


@pytest.mark.slow
def test_all_draws_are_a_row_of_the_table(compared: Project) -> None:
    with (compared.folder / "results/tables/policies.csv").open() as stream:
        table = {row["policy"]: row for row in csv.DictReader(stream)}
    assert table[POOLED]["test_top1_std"] and int(table[POOLED]["seeds"]) == 1
    assert {*DRAWN[:2], BEST} <= set(table)


@pytest.mark.slow
def test_every_policy_is_billed_with_what_it_used(
    compared: Project, rows: dict[str, dict[str, str]]
) -> None:
    scoring = json.loads((compared.folder / RUN / "dense/blocks.json").read_text())["cost_macs"]
    with (compared.folder / RUN / "samples.csv").open() as stream:
        samples = sum(int(row["cost_macs"]) for row in csv.DictReader(stream))
    for name in RUN_HERE:
        policy = POLICIES[name]
        # All samples of this design lie on the axes, and nothing was tried.
        uses = samples if policy.uses in (AXIS_SAMPLES, SAMPLES, OPTIMUM) else 0
        expected = uses + (scoring if "depth" in policy.axes else 0)
        if name in JUDGING:
            target = json.loads(
                (compared.folder / RUN / f"budgets/half/{name}/target.json").read_text()
            )
            assert 1 <= target["networks_judged"] <= 31 and target["search_cost_macs"] > 0
            expected += target["search_cost_macs"]
        assert int(rows[name]["search_cost_macs"]) == expected, name


@pytest.mark.slow
def test_controls_are_the_methods_network_but_for_one_thing(compared: Project) -> None:
    budget = compared.folder / RUN / "budgets/half"
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
    assert not torch.equal(pruned["dwr"], pruned["random_channels"])
    assert not any(torch.equal(w, d) for w in pruned["scratch_epochs"] for d in dense)


@pytest.mark.slow
def test_training_from_scratch_costs_what_the_dense_network_and_the_fine_tuning_did(
    compared: Project, rows: dict[str, dict[str, str]]
) -> None:
    epochs = {}
    for name in ("dwr", "scratch_epochs", "scratch_budget"):
        with (compared.folder / RUN / f"budgets/half/{name}/history.csv").open() as stream:
            epochs[name] = len(list(csv.DictReader(stream)))
    ratio = float(rows["dwr"]["macs_ratio"])
    assert epochs == {
        "dwr": 1,
        "scratch_epochs": 3 + 1,
        "scratch_budget": round(3 / ratio + 1),
    }
    images = 1149
    cost = int(rows["scratch_epochs"]["training_cost_macs"])
    assert cost == 4 * images * int(rows["scratch_epochs"]["macs"])

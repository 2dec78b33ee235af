"""A whole run: what it writes, what it delivers, and that a disturbed run ends the same."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prune3d.costs.count import cost
from prune3d.models.checkpoint import load, unreachable_reason
from prune3d.sampling.tree import AXES
from running import DETERMINISTIC, Project, environment, wait_for

RUN = Path("results/digits/seed0")
POLICIES = ("dwr", "depth", "width", "resolution")


def read(project: Project, name: str | Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((project.folder / name).read_text())
    return value


def test_every_file_of_the_contract_is_written(finished: Project) -> None:
    run = finished.folder / RUN
    dense = ("model.safetensors", "metrics.json", "provenance.json", "history.csv")
    sample = ("pruned.safetensors", "model.safetensors", "metrics.json", "history.csv")
    final = ("pruned.safetensors", "model.safetensors", "metrics.json", "model.onnx")
    final += ("pictures.onnx", "README.md")
    expected = [run / "dense" / name for name in dense]
    expected += [run / "dense/longer" / name for name in (*dense, "test.json")]
    expected += [run / "samples/d67_w50_r75" / name for name in sample]
    expected += [run / "predictor" / name for name in ("predictor.json", "validation.json")]
    expected += [run / "samples.csv"]
    chosen = ("predicted.json", "candidates.json", "tied.csv", "trials.csv", "optimum.json")
    expected += [run / "budgets/half" / name for name in chosen]
    expected += [run / "budgets/half" / policy / name for policy in POLICIES for name in final]
    for kind in ("csv", "md", "tex"):
        expected += [finished.folder / f"results/tables/{t}.{kind}" for t in ("policies",)]
    for kind in ("csv", "md"):
        expected += [
            finished.folder / f"results/tables/{t}.{kind}" for t in ("claims", "published")
        ]
    for kind in ("pdf", "png"):
        figures = finished.folder / "results/figures"
        expected += [
            figures / f"policies.{kind}",
            figures / f"ranking.{kind}",
            figures / f"profiles.{kind}",
            figures / f"digits_dimensions.{kind}",
        ]
    assert [str(path) for path in expected if not path.stat().st_size] == []


def test_a_provenance_lies_beside_every_metrics_file(finished: Project) -> None:
    folders = [path.parent for path in finished.folder.glob("results/**/metrics.json")]
    assert len(folders) == 2 + 13 + 4 + 2 + len(POLICIES)
    for folder in folders:
        provenance = json.loads((folder / "provenance.json").read_text())
        assert {"prune3d", "config", "seed", "device", "seconds"} <= set(provenance)


def test_provenance_holds_the_settings_of_every_step(finished: Project) -> None:
    final = read(finished, RUN / "budgets/half/dwr/provenance.json")
    trained = final["steps"]["finetune_final"]
    assert trained["config"]["epochs"] == 1
    assert trained["steps"]["prune_final"]["config"]["channel_criterion"] == "l2"
    held = read(finished, RUN / "samples/d67_w75_r75/provenance.json")
    assert held["config"]["learning_rate"] == 0.1
    pruning = held["steps"]["prune_sample"]["config"]
    assert (pruning["depth"], pruning["width"], pruning["resolution"]) == (0.67, 0.75, 0.75)


def test_a_sample_keeps_the_channels_of_a_parent_as_wide(finished: Project) -> None:
    samples = finished.folder / RUN / "samples"
    parent = load(samples / "d100_w30_r100/model.safetensors")
    child = load(samples / "d100_w30_r50/model.safetensors")
    assert child.spec.shapes == parent.spec.shapes
    assert (parent.spec.side, child.spec.side) == (8, 4)


def test_nothing_is_left_of_interrupted_writing_or_training(finished: Project) -> None:
    left = [p.name for p in finished.folder.glob("results/**/*") if p.name.startswith(".")]
    assert left == []
    assert list(finished.folder.glob("results/**/*.resume.safetensors")) == []


def test_metrics_hold_what_the_contract_names(finished: Project) -> None:
    final = read(finished, RUN / "budgets/half/dwr/metrics.json")
    sample = read(finished, RUN / "samples/d67_w50_r75/metrics.json")
    for metrics in (final, sample):
        assert set(metrics["selection"]) == {"top1", "top5", "loss", "images"}
        assert {"macs", "params", "macs_ratio", "depth", "width", "image_passes"} <= set(metrics)
    assert final["test"]["images"] == 360
    assert final["selection"]["images"] == 288
    assert "test" not in sample
    assert "test" not in read(finished, RUN / "dense/metrics.json")


@pytest.mark.parametrize("policy", POLICIES)
def test_delivered_networks_are_measured_and_within_the_budget(
    finished: Project, policy: str
) -> None:
    folder = RUN / "budgets/half" / policy
    model = load(finished.folder / folder / "model.safetensors")
    dense = load(finished.folder / RUN / "dense/model.safetensors")
    ratio = cost(model).macs / cost(dense).macs
    assert ratio <= 0.5
    assert ratio == read(finished, folder / "metrics.json")["macs_ratio"]
    if policy == "width":
        assert ratio >= 0.97 * 0.5


def test_what_is_tried_uses_the_budget_where_it_can(finished: Project) -> None:
    """Blocks and sides alone go in steps that are larger than what is left of a budget."""
    budget = RUN / "budgets/half"
    tried = read(finished, budget / "candidates.json")["networks"]
    for network in (read(finished, budget / "predicted.json"), *tried):
        coarse = [network[axis] for axis in AXES].count(1) == 2 and network["width"] == 1
        assert network["macs_ratio"] <= 0.5
        assert network["macs_ratio"] >= 0.97 * 0.5 or coarse
    chosen = read(finished, budget / "optimum.json")["index"]
    assert chosen in [network["index"] for network in tried]


def test_the_highest_prediction_lies_in_the_sampled_region(finished: Project) -> None:
    optimum = read(finished, RUN / "budgets/half/predicted.json")
    with (finished.folder / RUN / "samples.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    for axis in ("depth", "width", "resolution"):
        levels = [float(row[axis]) for row in rows]
        assert min(levels) - 1e-9 <= optimum[axis] <= max(levels)


def test_the_optimum_is_the_network_that_did_best_when_tried(finished: Project) -> None:
    budget = finished.folder / RUN / "budgets/half"
    optimum = read(finished, RUN / "budgets/half/optimum.json")
    again = {}
    for path in budget.glob("trials/second*/metrics.json"):
        metrics = json.loads(path.read_text())
        judged = metrics["selection"]
        again[-judged["top1"], judged["loss"]] = metrics
    assert len(again) == 2
    best = again[min(again)]
    for key in ("depth", "width", "resolution", "macs", "params"):
        assert optimum[key] == best[key]
    assert optimum["tried_accuracy"] == best["selection"]["top1"]
    final = read(finished, RUN / "budgets/half/dwr/metrics.json")
    assert final["macs"] == optimum["macs"]


def test_the_whole_cost_of_the_search_is_billed(finished: Project) -> None:
    with (finished.folder / "results/tables/runs.csv").open() as stream:
        runs = {row["policy"]: row for row in csv.DictReader(stream)}
    samples = finished.folder.glob(str(RUN / "samples/*/metrics.json"))
    fitted = [p for p in samples if p.parent.name != "d67_w75_r75"]
    # Every sample: blocks are scored on 256 + 288 images where it is shallower than its parent,
    # batch norms estimated on 256 where it is pruned, one epoch of 1149, and 288 to judge it.
    pruned = {path: path.parent.name != "d100_w100_r100" for path in fitted}
    from_dense = ("d67_w100_r100", "d50_w100_r100")
    dense_macs = cost(load(finished.folder / RUN / "dense/model.safetensors")).macs
    spent = sum(
        (256 * pruned[path] + 1149 + 288) * cost(load(path.parent / "model.safetensors")).macs
        + (256 + 288) * dense_macs * (path.parent.name in from_dense)
        for path in fitted
    )
    # A trial is as a sample is, but that the final network's removal order is there already.
    trials = (finished.folder / RUN / "budgets/half/trials").glob("*/model.safetensors")
    tried = [cost(load(p)).macs for p in trials if not unreachable_reason(p)]
    scoring = read(finished, RUN / "dense/blocks.json")["cost_macs"]
    assert len(fitted) == 12
    assert len(tried) >= 4
    spent += (256 + 1149 + 288) * sum(tried)
    assert int(runs["dwr"]["search_cost_macs"]) == spent + scoring
    assert int(runs["depth"]["search_cost_macs"]) == scoring
    assert int(runs["width"]["search_cost_macs"]) == 0
    assert int(runs["dense_longer"]["training_cost_macs"]) == (1149 + 288) * dense_macs


def test_the_test_images_are_read_by_evaluating_rules_only(own_finished: Project) -> None:
    jobs = own_finished.planned("--forceall")
    readers = {job.rule for job in jobs if any("test.safetensors" in f for f in job.input)}
    assert readers == {"evaluate_dense", "evaluate_longer", "evaluate_final"}


SAMPLE = RUN / "samples/d100_w100_r75"


@pytest.mark.slow
def test_a_killed_run_continues_and_ends_the_same(finished: Project, fresh: Project) -> None:
    target = str(SAMPLE / "metrics.json")
    kill_when(fresh, RUN / "dense/model.resume.safetensors", target)
    refused = fresh.run_forked("--cores", "2", "--rerun-incomplete", target)
    assert refused.returncode != 0
    assert "--unlock" in refused.stdout
    assert fresh.run_forked("--unlock").returncode == 0
    # Now in a job that has written a part of its outputs.
    log = kill_when(fresh, SAMPLE / "model.safetensors", target)
    assert "continuing after epoch 1 of 2" in log
    assert fresh.run_forked("--unlock").returncode == 0
    done = fresh.run("--cores", "1", "--rerun-incomplete", target)
    assert done.returncode == 0, done.stderr[-5000:]
    same = [p for p in fresh.folder.glob("results/**/*") if p.name in DETERMINISTIC]
    assert {"dense", "data", SAMPLE.name} == {path.parent.name for path in same}
    assert len(same) >= 8
    for path in same:
        name = path.relative_to(fresh.folder)
        assert (finished.folder / name).read_bytes() == path.read_bytes(), name


def kill_when(project: Project, appears: Path, target: str) -> str:
    """Run until a file appears, kill everything at once, and return what was told."""
    told = project.folder / "told.txt"
    with told.open("w") as stream:
        process = subprocess.Popen(
            project.command("--cores", "2", "--rerun-incomplete", target),
            cwd=project.folder,
            env=environment(),
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            wait_for(project.folder / appears, process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return told.read_text()


def test_an_unreachable_policy_is_left_out_with_the_reason(clone_of_finished: Project) -> None:
    project = clone_of_finished
    config = project.with_config(
        "small", {"defaults": {"budgets": [{"name": "tenth", "macs": 0.1}]}}
    )
    done = project.run("--cores", "2", config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    table = (project.folder / "results/tables/policies.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| digits")]
    assert not [row for row in rows if "| depth |" in row]
    reasons = [line for line in table.splitlines() if "policy depth:" in line]
    assert len(reasons) == 1
    assert "its smallest network has 0.2" in reasons[0]
    with (project.folder / "results/tables/left_out.csv").open() as stream:
        assert "depth" in {row["policy"] for row in csv.DictReader(stream)}
    folder = project.folder / RUN / "budgets/tenth/depth"
    assert "its smallest network has 0.2" in (folder / "README.md").read_text()
    assert (folder / "pictures.onnx").stat().st_size


@pytest.mark.slow
def test_ablations_write_a_table_and_a_figure_each(clone_of_finished: Project) -> None:
    project = clone_of_finished
    names = ("degree", "rank", "samples", "scratch")
    targets = [f"results/figures/digits_ablation_{name}.png" for name in names]
    assert not [path for path in targets if (project.folder / path).exists()]
    done = project.run("--cores", "2", *targets)
    assert done.returncode == 0, done.stderr[-5000:]
    for name in names:
        with (project.folder / f"results/tables/digits_ablation_{name}.csv").open() as stream:
            assert len(list(csv.DictReader(stream))) >= (11 if name == "scratch" else 4)
    summary = read(project, "results/tables/digits_ablation_scratch.json")
    assert summary["networks"] == 11
    # Two epochs from scratch cost more than one of fine-tuning, even with the pruning.
    assert summary["scratch_cost_macs"] > summary["pruned_cost_macs"]
    # The tiny run's points are no whole grid.
    refused = project.run("--cores", "1", "results/figures/digits_ablation_design.png")
    assert refused.returncode != 0
    assert "designs can only be compared on the samples of a whole grid" in refused.stderr


@pytest.mark.slow
def test_latencies_are_measured_once_for_budgets_that_need_them(
    clone_of_finished: Project,
) -> None:
    project = clone_of_finished
    budgets = [{"name": "fast", "latency": 0.8, "params": 0.9}, {"name": "half", "macs": 0.5}]
    config = project.with_config("fast", {"defaults": {"budgets": budgets}})
    target = str(RUN / "budgets/fast/optimum.json")
    rules = {job.rule for job in project.planned(target, config=config)}
    assert rules == {"measure_latency", "find_optimum", "try_candidate", "choose_optimum"}
    done = project.run("--cores", "1", target, config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    optimum = read(project, target)
    assert optimum["latency_ms"] <= optimum["limits"]["latency_ms"]
    assert optimum["params"] <= optimum["limits"]["params"]
    budgets[0]["latency"] = 0.7
    config = project.with_config("fast", {"defaults": {"budgets": budgets}})
    rules = {job.rule for job in project.planned(target, config=config)}
    assert rules == {"find_optimum", "try_candidate", "choose_optimum"}

"""Latencies and 8-bit integers of the final networks: targets of their own."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import onnx
import pytest
import torch

import prune3d
from prune3d.costs.rounding_file import ROUNDING
from running import Project

TARGETS = ("results/tables/latency.csv", "results/figures/latency.png", "results/tables/int8.csv")
POLICIES = ["dwr", "depth", "width", "resolution"]


@pytest.mark.slow
def test_final_networks_are_timed_and_quantized(clone_of_finished: Project) -> None:
    project = clone_of_finished
    latency = {"runtime": "onnxruntime", "throughput_batch_size": 8, "runs": 5}
    config = project.with_config("device", {"defaults": {"latency": latency}})
    assert project.planned(config=config) == []
    done = project.run("--cores", "2", *TARGETS, config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    tables = project.folder / "results/tables"

    rows = read(tables / "latency.csv")
    assert [row["policy"] for row in rows] == ["dense", *POLICIES]
    assert rows[0]["speedup"] == "1.0" and rows[0]["runtime"] == "onnxruntime"
    for row in rows:
        per_second = 8000 / float(row["throughput_ms"])
        assert float(row["images_per_second"]) == pytest.approx(per_second)
        ratio = float(rows[0]["latency_ms"]) / float(row["latency_ms"])
        assert float(row["speedup"]) == pytest.approx(ratio)
    assert "a batch is 8" in (tables / "latency.md").read_text()

    rows = read(tables / "int8.csv")
    assert [row["policy"] for row in rows] == POLICIES
    runs = {row["policy"]: row for row in read(tables / "runs.csv")}
    for row in rows:
        folder = project.folder / "results/digits/seed0/budgets/half" / row["policy"]
        kinds = {t.data_type for t in onnx.load(folder / "int8.onnx").graph.initializer}
        assert onnx.TensorProto.INT8 in kinds
        assert float(row["int8_bytes"]) == (folder / "int8.onnx").stat().st_size
        in_torch = float(runs[row["policy"]]["test_top1"])
        assert float(row["float_top1"]) == pytest.approx(in_torch, abs=0.006)


@pytest.mark.slow
def test_cards_tell_times_where_they_are_asked_to(clone_of_finished: Project) -> None:
    project = clone_of_finished

    def asked(name: str, **latency: object) -> list[str]:
        settings = {"runtime": "onnxruntime", "runs": 3, "finals": True, **latency}
        return project.with_config(name, {"defaults": {"latency": settings}})

    config = asked("finals")
    done = project.run("--cores", "2", config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    run = project.folder / "results/digits/seed0"
    rows = {row["policy"]: row for row in read(run / "latency.csv")}
    for policy in POLICIES:
        card = (run / "budgets/half" / policy / "README.md").read_text()
        row = rows[policy]
        faster = float(rows["dense"]["latency_ms"]) / float(row["latency_ms"])
        took = f"{float(row['latency_ms']):.3g} ({faster:.2f} times as fast as the dense)"
        assert f"| ms for 1 in ONNX Runtime | {took} |" in card
        assert "| ms for 32 in ONNX Runtime | " in card
        assert f"Times are medians on {row['device']}, threads: 1." in card
    assert project.planned(config=config) == []
    # Another way to measure trains and exports nothing; what shows times is written anew.
    rules = {job.rule for job in project.planned(config=asked("threads", threads=2))}
    assert rules - {"all", "tabulate_resources"} == {
        "time_networks",
        "write_card",
        "tabulate_latency",
        "plot_latency",
        "tabulate_policies",
        "tabulate_published",
        "tabulate_claims",
        "plot_policies",
    }


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_channels_are_kept_in_the_multiple_that_was_measured(clone_of_finished: Project) -> None:
    project = clone_of_finished
    change = {
        "pruning": {"round_to": "auto"},
        "latency": {"runtime": "onnxruntime", "runs": 3},
    }
    config = project.with_config("rounding", {"defaults": change})
    pruned = "results/digits/seed0/budgets/half/width/pruned.safetensors"
    rules = {job.rule for job in project.planned(pruned, config=config)}
    assert rules == {"measure_rounding", "choose_target", "prune_final"}
    done = project.run("--cores", "2", pruned, config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    found = ROUNDING.read(project.folder / "results/digits/rounding.json")
    assert found["runtime"] == "onnxruntime" and len(found["measured"]) >= 2
    assert f"multiples of {found['round_to']}" in done.stderr
    model = prune3d.load(project.folder / pruned)
    widths = {m.out_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d)}
    # The smallest groups have 16 channels, so that of larger multiples they take 8.
    assert all(width % math.gcd(found["round_to"], 8) == 0 for width in widths)
    # What was measured stays.
    assert project.planned(pruned, config=config) == []

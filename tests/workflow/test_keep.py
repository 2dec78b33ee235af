"""Layers that are kept stay in every network of a run, and the costs of all say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import prune3d
from prune3d.costs.structure_file import read_structure
from prune3d.pruning.dense import look_at_dense
from running import Project

KEPT = ("conv1", "layer2.0")
CHANGE = {"defaults": {"pruning": {"keep": ["conv1", "layer2.0.*"]}}}


@pytest.mark.slow
def test_kept_layers_stay_in_all_networks_of_a_run(clone_of_finished: Project) -> None:
    project = clone_of_finished
    run = project.folder / "results/digits/seed0"
    trained = (run / "dense/model.safetensors").stat().st_mtime_ns
    done = project.run("--cores", "2", config=project.with_config("keep", CHANGE))
    assert done.returncode == 0, done.stderr[-5000:]
    assert (run / "dense/model.safetensors").stat().st_mtime_ns == trained

    dense = prune3d.load(run / "dense/model.safetensors")
    whole = {n: p.shape for n, p in dense.named_parameters() if n.startswith(KEPT)}
    finals = [run / f"budgets/half/{policy}" for policy in ("dwr", "depth", "width")]
    samples = [path for path in (run / "samples").iterdir() if "_w100_" not in path.name]
    for folder in (*finals, *samples):
        model = prune3d.load(folder / "model.safetensors")
        now = dict(model.named_parameters())
        assert {name: now[name].shape for name in whole} == whole, folder
    assert shapes(finals[-1]) != shapes(run / "dense")

    structure = read_structure(run / "dense/structure_kept.json")
    assert "layer2.0" not in structure.removable
    assert set(structure.groups) == set(look_at_dense(model_of(finals[-1])).sizes)
    for folder in finals:
        metrics = json.loads((folder / "metrics.json").read_text())
        assert 0.4 < metrics["macs_ratio"] <= 0.5


def shapes(folder: Path) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in model_of(folder).parameters()]


def model_of(folder: Path):  # type: ignore[no-untyped-def]
    return prune3d.load(folder / "model.safetensors")

"""What a user can get wrong is refused before work starts, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from running import Project

BAD: list[tuple[dict[str, Any], str]] = [
    ({"defaults": {"dense": {"epoch": 3}}}, "defaults.dense.epoch: there is no such key"),
    ({"defaults": {"dense": {"epochs": "ten"}}}, "defaults.dense.epochs is 'ten'; allowed is"),
    (
        {"defaults": {"budgets": [{"name": "x", "macs": 1.5}]}},
        "budgets[0]: macs is 1.5 but must be a part of the dense network's, above 0 and at most 1",
    ),
    ({"defaults": {"budgets": [{"name": "x"}]}}, "budgets[0]: a budget limits nothing; give one"),
    (
        {"defaults": {"budgets": [{"name": "x", "latency": 3}]}},
        "budgets[0]: latency is 3 but must be a part of the dense network's",
    ),
    ({"defaults": {"sampling": {"depth": [0.1]}}}, "sampling.depth: depth 0.1 would keep 1 of 6"),
    (
        {"defaults": {"sampling": {"resolution": [0.01]}}},
        "sampling.resolution: resolution 0.01 would make 0 pixels of 8",
    ),
    ({"defaults": {"predictor": {"degree": 5}}}, "degree 5 needs at least 6"),
    ({"defaults": {"model": {"name": "resnet33"}}}, "unknown model 'resnet33'; registered are"),
    ({"defaults": {"data": {"name": "mnist"}}}, "unknown data set 'mnist'; known are"),
    (
        {"defaults": {"pruning": {"block_criterion": "best"}}},
        "pruning.block_criterion: unknown criterion 'best'; known are",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), BAD, ids=[sentence for _, sentence in BAD])
def test_a_wrong_config_is_refused_before_any_job(
    fresh: Project, change: dict[str, Any], sentence: str
) -> None:
    done = fresh.run("--cores", "2", config=fresh.with_config("bad", change))
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert sentence in told
    assert "Traceback" not in told
    assert not (fresh.folder / "results").exists()


def test_a_truncated_model_is_refused_by_name(clone_of_finished: Project) -> None:
    name = "results/digits/seed0/dense/model.safetensors"
    path = clone_of_finished.folder / name
    path.write_bytes(path.read_bytes()[:1000])
    done = clone_of_finished.run("--cores", "2", "results/digits/seed0/dense/test.json")
    assert done.returncode != 0
    assert f"{name} is truncated or not a safetensors file" in done.stderr
    assert "Traceback" not in done.stderr

"""The paper's experiments run from their files, on a few images in the data sets' formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import prune3d
from prune3d.models.assembly import get_spec
from published import CLASSES, TEST, give
from running import Project

# A network of each file that is quick, and the sides of its images.
RUNS = {
    "cifar10": ("c10-resnet32", 32),
    "cifar100": ("c100-resnet32", 32),
    "tiny-imagenet": ("tiny-resnet18", 64),
    "imagenet": ("in-mobilenet-v2", 224),
}
BRIEF = {"epochs": 1, "batch_size": 10, "warmup_epochs": 0}


@pytest.mark.parametrize("data", RUNS)
def test_an_experiment_of_the_paper_runs_on_a_few_images(fresh: Project, data: str) -> None:
    """Training, a sample and finals: each recipe and the reader, with the file's own settings."""
    name, side = RUNS[data]
    recipes = dict.fromkeys(("dense", "finetune", "final"), BRIEF)
    change: dict[str, Any] = {
        "run": [name],
        "seeds": [0],
        "defaults": {"data": {"root": str(give(fresh, data)), "selection_fraction": 0.2}},
        "experiments": {name: recipes},
    }
    fresh.with_config("brief", change)
    config = ["--configfile", f"config/paper/{data}.yaml", "brief.yaml"]
    jobs = fresh.planned(config=config)
    run = f"results/{name}/seed0"
    parent = f"{run}/dense/model.safetensors"
    first = next(job for job in jobs if job.rule == "prune_sample" and parent in job.input)
    sample = str(Path(first.output[0]).parent / "metrics.json")
    finals = [f"{run}/budgets/half/{policy}/metrics.json" for policy in ("width", "resolution")]
    done = fresh.run("--cores", "2", sample, *finals, config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    dense = get_spec(prune3d.load(fresh.folder / parent))
    assert (dense.side, dense.num_classes) == (side, CLASSES)
    for path in (sample, *finals):
        metrics = json.loads((fresh.folder / path).read_text())
        assert metrics["macs_ratio"] <= (0.5 if path in finals else 1)
        assert metrics["selection"]["images"] == 8
    for path in finals:
        test = json.loads((fresh.folder / path).read_text())["test"]
        assert test["images"] == TEST
        assert 0 <= test["top1"] <= test["top5"] == 1

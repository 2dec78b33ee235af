"""The paper's experiments run from their files, on a few images in the data sets' formats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torchvision.datasets import CIFAR10, CIFAR100

import prune3d
from prune3d.data.registry import DatasetFacts
from prune3d.models.assembly import get_spec
from published import CIFAR_CLASSES, WNIDS, write_cifar, write_imagenet, write_tiny_imagenet
from running import Project

# A network of each file that is quick.
RUNS = {
    "cifar10": "c10-resnet32",
    "cifar100": "c100-resnet32",
    "tiny-imagenet": "tiny-resnet18",
    "imagenet": "in-mobilenet-v2",
}
BRIEF = {"epochs": 1, "batch_size": 10, "warmup_epochs": 0}
TRAIN = 30


def give(project: Project, data: str, root: Path) -> DatasetFacts:
    """Write a data set, and make a project's library take it for the published one."""
    library = project.folder / "scripts/prune3d/data"
    known = DatasetFacts(64, 3, len(WNIDS), TRAIN, 6)
    if data == "tiny-imagenet":
        write_tiny_imagenet(root, TRAIN // len(WNIDS))
    elif data == "imagenet":
        write_imagenet(root, TRAIN // len(WNIDS))
        known = replace(known, side=224, crop=0.875)
    else:
        kind = {"cifar10": CIFAR10, "cifar100": CIFAR100}[data]
        images = TRAIN // len(kind.train_list)
        told = [
            f"torchvision.datasets.{kind.__name__}.{key} = {value!r}"
            for key, value in write_cifar(root, kind, images).known.items()
        ]
        append(library / "cifar.py", "import torchvision.datasets", *told)
        known = DatasetFacts(32, 3, len(CIFAR_CLASSES), TRAIN, images)
    append(
        library / "registry.py",
        "from dataclasses import replace",
        f"DATASETS[{data!r}] = replace(DATASETS[{data!r}], facts=lambda settings: {known!r})",
    )
    return known


def append(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write("\n".join(("", *lines, "")))


@pytest.mark.parametrize("data", RUNS)
def test_an_experiment_of_the_paper_runs_on_a_few_images(fresh: Project, data: str) -> None:
    """Training, a sample and finals: each recipe and the reader, with the file's own settings."""
    name, root = RUNS[data], fresh.folder / "pictures"
    known = give(fresh, data, root)
    recipes = dict.fromkeys(("dense", "finetune", "final"), BRIEF)
    change: dict[str, Any] = {
        "run": [name],
        "seeds": [0],
        "defaults": {"data": {"root": str(root), "selection_fraction": 0.2}},
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
    assert (dense.side, dense.num_classes) == (known.side, known.classes)
    for path in (sample, *finals):
        metrics = json.loads((fresh.folder / path).read_text())
        assert metrics["macs_ratio"] <= (0.5 if path in finals else 1)
        assert metrics["selection"]["images"] == TRAIN // 5
    for path in finals:
        test = json.loads((fresh.folder / path).read_text())["test"]
        assert test["images"] == known.test_images
        assert 0 <= test["top1"] <= test["top5"] == 1

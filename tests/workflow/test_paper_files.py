"""Experiments on published data sets run from their files, on a few images in the sets' formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
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
    take_for(project, data, known)
    return known


def take_for(project: Project, data: str, known: DatasetFacts) -> None:
    """Have a project's library expect other facts of a published data set."""
    append(
        project.folder / "scripts/prune3d/data/registry.py",
        "from dataclasses import replace",
        f"DATASETS[{data!r}] = replace(DATASETS[{data!r}], facts=lambda settings: {known!r})",
    )


def append(path: Path, *lines: str) -> None:
    with path.open("a", encoding="utf-8") as stream:
        stream.write("\n".join(("", *lines, "")))


def run_briefly(
    project: Project,
    file: str,
    name: str,
    budget: str,
    root: Path,
    change: dict[str, Any],
    policies: Sequence[str] = ("width", "resolution"),
) -> tuple[str, list[dict[str, Any]]]:
    """Train, make a sample and finals; return the run's folder and their metrics."""
    recipes = {recipe: {**BRIEF, **change} for recipe in ("dense", "finetune", "final")}
    override: dict[str, Any] = {
        "run": [name],
        "seeds": [0],
        "defaults": {"data": {"root": str(root), "selection_fraction": 0.2}},
        "experiments": {name: {**recipes, "data": {"selection_fraction": 0.2}}},
    }
    project.with_config("brief", override)
    config = ["--configfile", file, "brief.yaml"]
    run = f"results/{name}/seed0"
    parent = f"{run}/dense/model.safetensors"
    first = next(
        job
        for job in project.planned(config=config)
        if job.rule == "prune_sample" and parent in job.input
    )
    sample = str(Path(first.output[0]).parent / "metrics.json")
    finals = [f"{run}/budgets/{budget}/{policy}/metrics.json" for policy in policies]
    done = project.run("--cores", "2", sample, *finals, config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    found = [json.loads((project.folder / path).read_text()) for path in (sample, *finals)]
    return run, found


def check_metrics(metrics: list[dict[str, Any]], images: int, test_images: int) -> None:
    """Check what a sample and finals have."""
    for i, each in enumerate(metrics):
        assert each["macs_ratio"] <= (0.5 if i else 1)
        assert each["selection"]["images"] == images // 5
    for each in metrics[1:]:
        assert each["test"]["images"] == test_images
        assert 0 <= each["test"]["top1"] <= each["test"]["top5"] == 1


@pytest.mark.parametrize("data", RUNS)
def test_an_experiment_of_the_paper_runs_on_a_few_images(fresh: Project, data: str) -> None:
    """Training, a sample and finals: each recipe and the reader, with the file's own settings."""
    name, root = RUNS[data], fresh.folder / "pictures"
    known = give(fresh, data, root)
    run, metrics = run_briefly(fresh, f"config/paper/{data}.yaml", name, "half", root, {})
    dense = get_spec(prune3d.load(fresh.folder / run / "dense/model.safetensors"))
    assert (dense.side, dense.num_classes) == (known.side, known.classes)
    check_metrics(metrics, TRAIN, known.test_images or 0)


def test_resnet50_is_trained_as_the_field_does_on_some_pictures_in_imagenets_layout(
    fresh: Project,
) -> None:
    """ImageNet's reader, random parts, smoothing and all, from small pictures and fewer epochs."""
    root, images, tests = fresh.folder / "pictures", 240, 30
    draw_pictures(root / "train", images // len(WNIDS))
    draw_pictures(root / "val", tests // len(WNIDS))
    known = DatasetFacts(48, 3, len(WNIDS), images, tests, crop=0.875)
    take_for(fresh, "imagenet", known)
    file, name = "config/imagenet-resnet50.yaml", "imagenet-resnet50"
    change = {"batch_size": 32}
    run, metrics = run_briefly(fresh, file, name, "macs50", root, change, ["resolution"])
    check_metrics(metrics, images, tests)
    folder = fresh.folder / run
    settings = json.loads((folder / "dense/provenance.json").read_text())["config"]
    asked = {"crop_area": 0.08, "label_smoothing": 0.1, "weight_decay": 1e-4, "flip": True}
    assert {key: settings[key] for key in asked} == asked


def draw_pictures(folder: Path, count: int) -> None:
    """Draw pictures of several sizes for each class, of a colour that is the class's."""
    rng = np.random.default_rng(len(folder.name))
    for label, wnid in enumerate(WNIDS):
        (folder / wnid).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 120, (rng.integers(70, 140), rng.integers(70, 140), 3))
            pixels[..., label] += 120
            path = folder / wnid / f"{wnid}_{i}.JPEG"
            Image.fromarray(pixels.astype(np.uint8)).save(path, "JPEG")

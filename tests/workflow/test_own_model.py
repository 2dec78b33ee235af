"""A network, weights and criteria in the user's own files go through the workflow."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import prune3d
from prune3d.models.meaning import get_meaning
from prune3d.sampling.tree import AXES
from running import Project

BLOCKS = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.b = nn.Conv2d(2 * width, width, 1)

    def forward(self, x):
        return x + self.b(torch.relu(self.a(x)))
"""

FILE = """
import torch
from torch import nn


def build(num_classes, in_channels):
    from blocks import Block

    return nn.Sequential(
        nn.Conv2d(in_channels, 12, 3, padding=1),
        nn.Sequential(*(Block(12) for _ in range(4))),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, num_classes),
    )


class Unit(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.a = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.n = nn.BatchNorm2d(out)
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x):
        return torch.relu(self.skip(x) + self.n(self.a(x)))


def eleven(num_classes, in_channels):
    widths = [8, 8, 8, 8, 12, 12, 12, 16, 16, 16, 24, 24]
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, padding=1),
        nn.Sequential(*(Unit(a, b) for a, b in zip(widths, widths[1:]))),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, num_classes),
    )


def two(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 12, 3, padding=1), Unit(12, 16), Unit(16, 16),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes),
    )


def score(group, generator):
    return torch.arange(group.channels)


def first(model, blocks, images, options):
    return {block.name: i for i, block in enumerate(blocks) if block.removable}


def shuffled(num_classes, in_channels):
    return nn.Sequential(
        nn.Conv2d(in_channels, 12, 3, padding=1), nn.ChannelShuffle(3), nn.Conv2d(12, 12, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, num_classes),
    )
"""

OWN: dict[str, Any] = {
    "defaults": {
        "model": {"name": "mine.py:build", "checkpoint": "mine.pth"},
        "finetune": {"batch_size": 256},
        "pruning": {"block_criterion": "mine.py:first", "channel_criterion": "mine.py:score"},
        "sampling": {
            "design": "axes",
            "depth": [0.5],
            "width": [0.5],
            "resolution": [0.5],
            "points": [],
            "holdout": [[0.75, 0.75, 0.75]],
        },
        "policies": ["dwr"],
    }
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.copy_to(tmp_path_factory.mktemp("own") / "project")
    (project.folder / "mine.py").write_text(FILE)
    (project.folder / "blocks.py").write_text(BLOCKS)
    torch.manual_seed(3)
    model = prune3d.build(f"{project.folder / 'mine.py'}:build", 10, 8, 1)
    torch.save({"state_dict": model.state_dict()}, project.folder / "mine.pth")
    return project


@pytest.fixture(scope="module")
def done(project: Project) -> tuple[Project, list[str]]:
    config = project.with_config("own", OWN)
    finished = project.run("--cores", "2", config=config)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return project, config


def run_of(project: Project) -> Path:
    return project.folder / "results/digits/seed0"


@pytest.mark.slow
def test_own_weights_take_the_place_of_training(done: tuple[Project, list[str]]) -> None:
    run = run_of(done[0])
    given = torch.load(done[0].folder / "mine.pth")["state_dict"]
    with safe_open(run / "dense/model.safetensors", framework="pt") as file:
        assert all(torch.equal(file.get_tensor(name), value) for name, value in given.items())
    assert (run / "dense/history.csv").read_text().count("\n") == 1
    structure = json.loads((run / "dense/structure.json").read_text())
    assert (structure["blocks"], len(structure["groups"])) == (4, 5)


@pytest.mark.slow
def test_own_criteria_are_followed(done: tuple[Project, list[str]]) -> None:
    run = run_of(done[0])
    assert json.loads((run / "dense/blocks.json").read_text())["removal_order"] == [
        f"1.{i}" for i in range(4)
    ]
    # The score rises with the channel, so the last six of twelve are left.
    with safe_open(run / "samples/d100_w50_r100/pruned.safetensors", framework="pt") as file:
        given = torch.load(done[0].folder / "mine.pth")["state_dict"]
        assert torch.equal(file.get_tensor("0.bias"), given["0.bias"][6:])


@pytest.mark.slow
def test_the_final_network_of_an_own_model_is_within_the_budget(
    done: tuple[Project, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    final = run_of(done[0]) / "budgets/half/dwr"
    assert json.loads((final / "metrics.json").read_text())["macs_ratio"] <= 0.5
    monkeypatch.chdir(done[0].folder)
    model = prune3d.load(final / "model.safetensors", code="mine.py")
    assert model.spec.name == "mine.py:build"
    assert get_meaning(model).classes == tuple("0123456789")


@pytest.mark.slow
def test_with_more_samples_the_dense_network_is_not_made_anew(
    done: tuple[Project, list[str]],
) -> None:
    project, _ = done
    own = {**OWN["defaults"], "sampling": {**OWN["defaults"]["sampling"], "width": [0.5, 0.3]}}
    config = project.with_config("more", {"defaults": own})
    rules = {job.rule for job in project.planned(config=config)}
    assert {"prune_sample", "finetune_sample"} <= rules
    assert not {"train_dense", "analyze_dense", "rank_blocks"} & rules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("mine.py", {"analyze_dense", "train_dense", "rank_blocks"}),
        ("blocks.py", {"analyze_dense", "train_dense", "rank_blocks"}),
        ("mine.pth", {"train_dense"}),
    ],
)
def test_a_changed_file_of_ones_own_is_noticed(
    done: tuple[Project, list[str]], text: str, begins: set[str]
) -> None:
    project, config = done
    path = project.folder / text
    before = path.read_bytes()
    try:
        path.write_bytes(before + b"\n")
        rules = {job.rule for job in project.planned(config=config)}
    finally:
        path.write_bytes(before)
    assert begins <= rules
    assert ("analyze_dense" in rules) == ("analyze_dense" in begins)


@pytest.mark.slow
def test_a_model_that_cannot_be_pruned_as_sampled_is_refused_before_it_is_trained(
    project: Project,
) -> None:
    change = {
        "experiments": {"other": {"model": {"name": "mine.py:shuffled", "checkpoint": None}}},
        "run": ["other"],
    }
    config = project.with_config("shuffled", {**OWN, **change})
    failed = project.run("--cores", "2", config=config)
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0
    assert "experiment 'other', sampling.width: width is 0.5, but must be 1" in said
    assert "all channels stay, most of them those of" in said
    assert not (project.folder / "results/other/seed0/dense/model.safetensors").exists()


@pytest.mark.slow
def test_a_network_for_which_nobody_chose_levels_is_sampled_down_to_its_smallest(
    project: Project,
) -> None:
    auto = {"levels": 2, "depth": "auto", "width": "auto", "resolution": "auto", "holdout": "auto"}
    change = {
        "experiments": {"eleven": {"model": {"name": "mine.py:eleven"}}},
        "run": ["eleven"],
        "defaults": {
            "sampling": {"design": "axes", "points": [], **auto},
            "predictor": {"degree": 2},
            "budgets": [{"name": "quarter", "macs": 0.25}],
        },
    }
    config = project.with_config("eleven", change)
    folder = "results/eleven/seed0"
    wanted = [f"{folder}/{name}" for name in ("samples.csv", "holdout.csv", "dense/structure.json")]
    finished = project.run("--cores", "2", *wanted, config=config)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    known = json.loads((project.folder / folder / "dense/structure.json").read_text())
    blocks, removable = known["blocks"], len(known["removable"])
    # More must stay than a quarter of the MACs would ask for: that is what `auto` has to find out.
    assert (blocks - removable) / blocks > 0.25
    table = csv.DictReader((project.folder / folder / "samples.csv").open(encoding="utf-8"))
    made = [tuple(float(row[axis]) for axis in AXES) for row in table]
    assert len(set(made)) == len(made) == 7
    assert min(depth for depth, _, _ in made) == pytest.approx((blocks - removable) / blocks)


@pytest.mark.slow
def test_a_network_of_one_removable_block_goes_through_with_the_defaults(project: Project) -> None:
    """Samples that are the same network count once, and two levels do for a cubic."""
    auto = {"levels": 3, "depth": "auto", "width": "auto", "resolution": "auto", "holdout": "auto"}
    change = {
        "experiments": {"two": {"model": {"name": "mine.py:two"}}},
        "run": ["two"],
        "defaults": {
            "sampling": {"design": "axes", "points": [], **auto},
            "predictor": {"degree": 3},
            "budgets": [{"name": "half", "macs": 0.5}],
            "policies": ["dwr", "depth", "width"],
        },
    }
    finished = project.run("--cores", "2", config=project.with_config("two", change))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    folder = project.folder / "results/two/seed0"
    assert len(list(folder.glob("samples/*/metrics.json"))) == 13  # ten that are fitted
    table = list(csv.DictReader((folder / "samples.csv").open(encoding="utf-8")))
    made = [tuple(float(row[axis]) for axis in AXES) for row in table]
    assert len(set(made)) == len(made) == 1 + 1 + 3 + 3
    known = json.loads((folder / "dense/structure.json").read_text())
    assert len(known["removable"]) == 1
    assert {depth for depth, _, _ in made} == {1 - 1 / known["blocks"], 1.0}
    assert json.loads((folder / "budgets/half/dwr/metrics.json").read_text())["macs_ratio"] <= 0.5


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"name": "no.py:build"}, "the file no.py cannot be read"),
        ({"name": "mine.py:nothing"}, "has no function or class 'nothing'"),
        ({"name": "mine.py:build", "checkpoint": "no.pth"}, "there is no file no.pth"),
    ],
)
def test_missing_files_of_ones_own_are_told_before_any_job(
    project: Project, model: dict[str, str], told: str
) -> None:
    config = project.with_config("bad", {"defaults": {**OWN["defaults"], "model": model}})
    failed = project.run_forked("-n", config=config)
    assert failed.returncode != 0
    assert told in failed.stdout

"""The folder of a final network stands alone: its card is true, and its code runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import prune3d
from prune3d.data.images import load_images
from prune3d.export.classifier import wilson
from running import ROOT, Project

RUN = Path("results/digits/seed0")
POLICIES = ("dwr", "depth", "width", "resolution")


@pytest.fixture(params=POLICIES)
def folder(request: pytest.FixtureRequest, finished: Project, tmp_path: Path) -> Path:
    """A copy of a final network's folder, where nothing else is."""
    return Path(
        shutil.copytree(finished.folder / RUN / "budgets/half" / request.param, tmp_path / "final")
    )


def test_the_card_tells_what_the_files_are(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    test = metrics["test"]
    low, high = wilson(round(test["top1"] * test["images"]), test["images"])
    told = f"{test['top1']:.2%} (95 % interval {low:.2%} to {high:.2%})"
    assert f"| accuracy on the test images | {told} |" in card
    assert f"| MACs for an image | {metrics['macs']:,} ({metrics['macs_ratio']:.1%} of" in card
    assert f"| parameters | {metrics['params']:,} |" in card
    assert "seed 0, for the budget half by the policy" in card
    assert "Licence: CC-BY-4.0\n" in card
    # The tiny run times nothing.
    assert "`prune3d latency model.onnx --threads 1` tells milliseconds" in card
    assert prune3d.cost(prune3d.load(folder / "model.safetensors")).params == metrics["params"]


def test_onnx_runtime_gives_the_accuracy_of_the_card(folder: Path, finished: Project) -> None:
    images = load_images(finished.folder / RUN / "data/test.safetensors")
    pixels, labels = images.images.numpy(), images.labels.numpy()
    expected = json.loads((folder / "metrics.json").read_text())["test"]["top1"]
    session = onnxruntime.InferenceSession(folder / "pictures.onnx")
    pictures = np.repeat(pixels.transpose(0, 2, 3, 1), 3, axis=-1)
    (logits,) = session.run(None, {"pictures": np.ascontiguousarray(pictures)})
    # A prediction between two classes may fall to the other.
    assert abs((logits.argmax(1) == labels).mean() - expected) <= 2 / len(labels)


def test_the_code_of_the_card_runs(folder: Path, finished: Project) -> None:
    images = load_images(finished.folder / RUN / "data/test.safetensors")
    Image.fromarray(images.images[0, 0].numpy()).save(folder / "picture.png")
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    told = [run(block, folder) for block in blocks]
    assert told[0] == told[1] and told[0] in {str(digit) for digit in range(10)}


@pytest.mark.slow
def test_a_program_is_written_where_it_is_asked_for(clone_of_finished: Project) -> None:
    project, final = clone_of_finished, RUN / "budgets/half/width"
    config = project.with_config("program", {"defaults": {"export_program": True}})
    done = project.run("--cores", "1", str(final / "README.md"), config=config)
    assert done.returncode == 0, done.stderr[-5000:]
    folder = project.folder / final
    card = (folder / "README.md").read_text()
    *others, block = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(others) == 2
    network = prune3d.load(folder / "model.safetensors").eval()
    side, shape = run(block, folder).split(" ", 1)
    assert int(side) == network.spec.side and shape == "(1, 10)"
    images = torch.randn(3, network.spec.in_channels, network.spec.side, network.spec.side)
    found = torch.export.load(folder / "model.pt2").module()(images)
    assert torch.allclose(found, network(images), atol=1e-3)


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_there_is_no_network_the_files_say_why(finished: Project, tmp_path: Path) -> None:
    from prune3d.models.checkpoint import save_unreachable
    from prune3d.report.delivery import Files, card_of, write_nothing

    reason, model = "depth alone keeps 0.5 of the MACs", tmp_path / "model.safetensors"
    files = Files(tmp_path / "model.onnx", tmp_path / "pictures.onnx")
    write_nothing(reason, files)
    save_unreachable(model, reason)
    card = card_of(model, {"unreachable": reason}, files, licence="MIT", made_by="")
    assert f"{reason}." in card and "Licence" not in card
    for path in (files.onnx, files.pictures):
        assert onnx.load(path).doc_string == reason

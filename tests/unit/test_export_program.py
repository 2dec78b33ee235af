"""Programs of torch.export compute what the network does, without prune3d."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.export import ExportError
from prune3d.export.program import export_program, write_reason
from prune3d.models.meaning import Meaning, set_meaning
from prune3d.pruning.realized import realized
from prune3d.report.delivery import Files, card_of, write_onnx

OWN = Path(__file__).resolve().parent / "own/foreign.py"


@pytest.mark.slow
def test_a_program_needs_torch_alone(
    tmp_path: Path, make_network: Callable[..., nn.Module]
) -> None:
    pruned = prune3d.prune(make_network(), width=0.4, resolution=0.5).eval()
    assert export_program(pruned, tmp_path / "small.pt2") < 1e-4
    images = torch.randn(5, 3, 8, 8)
    torch.save({"images": images, "logits": pruned(images).detach()}, tmp_path / "known.pt")
    code = (
        "import sys, torch; known = torch.load('known.pt')\n"
        "found = torch.export.load('small.pt2').module()(known['images'])\n"
        "assert torch.allclose(found, known['logits'], atol=1e-4)\n"
        "assert 'prune3d' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.slow
def test_a_program_tells_what_its_inputs_and_outputs_mean(
    tmp_path: Path, make_network: Callable[..., nn.Module]
) -> None:
    model = make_network().eval()
    set_meaning(model, Meaning(("cat", "dog"), (0.5,) * 3, (0.25,) * 3))
    export_program(model, tmp_path / "one.pt2")
    files = {"meaning.json": ""}
    torch.export.load(tmp_path / "one.pt2", extra_files=files)
    assert json.loads(files["meaning.json"]) == {
        "classes": ["cat", "dog"],
        "mean": [0.5] * 3,
        "spread": [0.25] * 3,
        "resize": "central square, bilinear, antialiased",
        "side": model.spec.side,
    }


@pytest.mark.slow
def test_the_card_says_how_the_program_is_used_or_why_there_is_none(
    tmp_path: Path, make_network: Callable[..., nn.Module]
) -> None:
    model, program = make_network().eval(), tmp_path / "model.pt2"
    prune3d.save(model, tmp_path / "model.safetensors")
    files = Files(tmp_path / "model.onnx", tmp_path / "pictures.onnx", program)
    judged = {"top1": 0.5, "top5": 1.0, "loss": 1.0, "images": 10}

    def card() -> str:
        metrics = {**realized(model), "test": judged}
        path = tmp_path / "model.safetensors"
        return card_of(path, metrics, files, licence="MIT", made_by="")

    export_program(model, program)
    write_onnx(model, files)
    blocks = re.findall(r"```python\n(.*?)```", card(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", blocks[-1]], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(model.spec.side), "(1,", f"{model.spec.num_classes})"]
    write_reason(program, "torch says no")
    assert "There is no model.pt2: torch says no." in card()
    assert "torch.export.load" not in card()


def test_what_cannot_be_written_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    model = prune3d.build(f"{OWN}:branches_by_images", 4, 16).eval()
    with pytest.raises(ExportError, match=r"cannot be written by torch\.export") as told:
        export_program(model, tmp_path / "small.pt2")
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())

"""Programs of torch.export compute what the network does, without prune3d."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.export import ExportError
from prune3d.export.program import export_program

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


def test_what_cannot_be_written_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    model = prune3d.build(f"{OWN}:branches_by_images", 4, 16).eval()
    with pytest.raises(ExportError, match=r"cannot be written by torch\.export") as told:
        export_program(model, tmp_path / "small.pt2")
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())

"""ONNX files compute what the network does, at every batch size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import prune3d
from prune3d.errors import UserError
from prune3d.export import export, export_unreachable
from prune3d.export.classifier import open_classifier
from prune3d.models.meaning import Meaning, set_meaning

ORDER = ["layer1.1", "layer2.1"]


@pytest.fixture
def pruned(make_network: Callable[..., nn.Module]) -> nn.Module:
    """Return a network pruned in all three ways."""
    return prune3d.prune(make_network(), 4 / 6, 0.4, 0.5, removal_order=ORDER)


def test_outputs_are_equal_at_other_batch_sizes(tmp_path: Path, pruned: nn.Module) -> None:
    file = tmp_path / "model.onnx"
    assert export(pruned, file) < 1e-4
    onnx.checker.check_model(file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [(i.name, i.shape[1:]) for i in session.get_inputs()] == [("images", [3, 8, 8])]
    assert [output.name for output in session.get_outputs()] == ["logits"]
    for size in (1, 7, 32):
        images = torch.randn(size, 3, 8, 8, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected = pruned(images).numpy()
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_the_file_tells_which_logit_is_which_class(tmp_path: Path, pruned: nn.Module) -> None:
    classes = tuple(f"Tier {i}" for i in range(10))
    set_meaning(pruned, Meaning(classes, (0.1, 0.2, 0.3), (0.4, 0.5, 0.0)))
    export(pruned, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == list(classes)
    assert json.loads(told["mean"]) == [0.1, 0.2, 0.3]
    assert json.loads(told["spread"]) == [0.4, 0.5, 0.0]
    assert json.loads(told["resize"]) == "central square, bilinear, antialiased"


def test_a_file_of_another_rule_of_resizing_takes_no_pictures(
    tmp_path: Path, pruned: nn.Module
) -> None:
    set_meaning(pruned, Meaning(None, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    export(pruned, tmp_path / "model.onnx")
    assert open_classifier(tmp_path / "model.onnx").num_classes == 10
    file = onnx.load(tmp_path / "model.onnx")
    told = {entry.key: entry.value for entry in file.metadata_props}
    onnx.helper.set_model_props(file, {**told, "resize": json.dumps("nearest")})
    onnx.save(file, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="are resized by 'nearest'"):
        open_classifier(tmp_path / "model.onnx")


def test_a_file_that_computes_something_else_is_refused(
    tmp_path: Path, pruned: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((len(given["images"]), 10), np.float32)]

    monkeypatch.setattr("prune3d.export.onnx_file.start_session", lambda path: Wrong())
    with pytest.raises(UserError, match="the ONNX file of resnet14 differs from the network by"):
        export(pruned, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_policy_without_a_network_gives_a_file_that_says_why(tmp_path: Path) -> None:
    export_unreachable(tmp_path / "model.onnx", "depth alone cannot meet the budget")
    model = onnx.load(tmp_path / "model.onnx")
    assert model.doc_string == "depth alone cannot meet the budget"
    assert len(model.graph.node) == 0

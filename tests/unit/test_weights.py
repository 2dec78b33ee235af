"""Weights from elsewhere: every usual form is read, everything else is refused, no code is run."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import prune3d
from prune3d.errors import CheckpointError
from prune3d.models.weights import load_weights


@pytest.fixture
def trained_elsewhere() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return prune3d.build("resnet8", 10, 16).state_dict()


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(6)
    return prune3d.build("resnet8", 10, 16)


def same(model: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    own = model.state_dict()
    return all(torch.equal(own[name], value) for name, value in weights.items())


def refusal(model: nn.Module, path: Path) -> str:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, path)
    assert same(model, before)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"state_dict": w, "epoch": 90},
        lambda w: {"model": w},
        lambda w: {f"module.{k}": v for k, v in w.items()},
        lambda w: {"state_dict": {f"module._orig_mod.{k}": v for k, v in w.items()}},
        lambda w: {k: v for k, v in w.items() if "num_batches" not in k},
    ],
    ids=["plain", "state_dict", "model", "parallel", "compiled", "without counters"],
)
def test_files_of_torch_are_read(wrap, model, trained_elsewhere, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(wrap(trained_elsewhere), file)
    load_weights(model, file)
    assert same(model, {k: v for k, v in trained_elsewhere.items() if "num_batches" not in k})


PREFIXES = ["module.", "_orig_mod.", "model.", "net.backbone.", "model._orig_mod.module."]


@pytest.mark.parametrize("prefix", [*PREFIXES, "_orig_mod.module.", "module.model.", "ema_model."])
@pytest.mark.parametrize("key", [None, "state_dict", "net", "params", "model_ema", "ema"])
def test_prefixes_and_keys_of_every_kind_are_taken_off(
    prefix: str, key: str | None, model, trained_elsewhere, tmp_path: Path
) -> None:
    weights = {f"{prefix}{name}": value for name, value in trained_elsewhere.items()}
    file = tmp_path / "weights.pth"
    torch.save(weights if key is None else {key: weights, "epoch": 1}, file)
    load_weights(model, file)
    assert same(model, trained_elsewhere)


@pytest.mark.parametrize(
    "change",
    [
        lambda w: {**{f"module.{k}": v for k, v in w.items()}, "n_averaged": torch.tensor(3)},
        lambda w: {k.replace("layer1.0", "layer1._orig_mod.0"): v for k, v in w.items()},
        lambda w: {"model": {"state_dict": w}},
        lambda w: {**{f"model.{k}": v for k, v in w.items()}, "loss.weight": torch.ones(10)},
        lambda w: {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in w.items()},
    ],
    ids=["average", "compiled within", "nested", "Lightning with a loss", "parameters"],
)
def test_other_forms_are_read(change, model, trained_elsewhere, tmp_path: Path) -> None:
    file = tmp_path / "weights.ckpt"
    torch.save(change(trained_elsewhere), file)
    load_weights(model, file)
    assert same(model, trained_elsewhere)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_the_networks(dtype, model, trained_elsewhere, tmp_path) -> None:
    file = tmp_path / "weights.bin"
    save_file(
        {k: v.to(dtype) if v.is_floating_point() else v for k, v in trained_elsewhere.items()}, file
    )
    load_weights(model, file)
    for name, value in model.state_dict().items():
        assert value.dtype == trained_elsewhere[name].dtype
        torch.testing.assert_close(value, trained_elsewhere[name], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"\x08\x08\x12\x07pytorch" + bytes(200), "no PyTorch file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"\x1f\x8b\x08" + bytes(99), "gzip"),
        (b"", "is empty"),
        (b"epoch,loss\n1,2\n", "no PyTorch file"),
        (b"PK\x03\x04" + bytes(99), "damaged"),
        (b"\x80\x02", "damaged"),
        (b"\x09\x00\x00\x00\x00\x00\x00\x00{notjson}", "safetensors"),
    ],
)
@pytest.mark.parametrize("suffix", ["pth", "bin", "safetensors"])
def test_other_files_are_told_for_what_they_are(content, told, suffix, model, tmp_path) -> None:
    file = tmp_path / f"weights.{suffix}"
    file.write_bytes(content)
    text = refusal(model, file)
    assert "\n" not in text and text.endswith(".")
    assert told in text or suffix == "safetensors"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: {f"{p}{k}": v for p in ("a.", "b.") for k, v in w.items()}, "2 times"),
        (lambda w: {**w, "fc.bias": w["fc.bias"].int()}, "'fc.bias' is int32"),
        (lambda w: {**w, "fc.bias": w["fc.bias"].to(torch.complex64)}, "complex64"),
        (lambda w: {**w, "fc.bias": w["fc.bias"].to_sparse()}, "sparse"),
        (lambda w: {"state_dict": w, "args": argparse.Namespace(lr=1)}, "argparse.Namespace"),
        (lambda w: list(w.values()), "holds a list"),
    ],
)
def test_what_cannot_be_the_weights_is_told(change, told, model, trained_elsewhere, tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(change(trained_elsewhere), file)
    assert told in refusal(model, file)


def test_safetensors_and_files_of_prune3d_are_read(model, trained_elsewhere, tmp_path) -> None:
    save_file(trained_elsewhere, tmp_path / "plain.safetensors")
    load_weights(model, tmp_path / "plain.safetensors")
    assert same(model, trained_elsewhere)
    again = prune3d.build("resnet8", 10, 16)
    prune3d.save(model, tmp_path / "own.safetensors")
    load_weights(again, tmp_path / "own.safetensors")
    assert same(again, trained_elsewhere)


def test_code_in_a_file_is_not_run(model, tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Malicious:
        def __reduce__(self):
            return Path.touch, (mark,)

    file = tmp_path / "weights.pth"
    torch.save({"state_dict": Malicious()}, file)
    assert "could run code" in refusal(model, file)
    file.write_bytes(pickle.dumps(Malicious()))
    refusal(model, file)
    assert not mark.exists()


def test_what_does_not_fit_is_told_by_name(model, trained_elsewhere, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({k: v for k, v in trained_elsewhere.items() if k != "fc.weight"}, file)
    assert "lacks 'fc.weight'" in refusal(model, file)
    torch.save({**trained_elsewhere, "head.bias": torch.zeros(2)}, file)
    assert "has 'head.bias'" in refusal(model, file)
    torch.save({**trained_elsewhere, "fc.weight": torch.zeros(100, 64)}, file)
    assert "'fc.weight' has shape (100, 64), the network (10, 64)" in refusal(model, file)
    torch.save({**trained_elsewhere, "fc.bias": torch.full((10,), float("nan"))}, file)
    assert "not finite" in refusal(model, file)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"a": 3}}, {}])
def test_other_content_is_refused(model, content, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    refusal(model, file)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_missing_truncated_and_empty_files_are_refused(
    name: str, model, trained_elsewhere, tmp_path: Path
) -> None:
    file = tmp_path / name
    assert "does not exist" in refusal(model, file)
    if file.suffix == ".pth":
        torch.save(trained_elsewhere, file)
    else:
        save_file(trained_elsewhere, file)
    whole = file.read_bytes()
    for part in (b"", whole[:5], whole[: len(whole) // 2]):
        file.write_bytes(part)
        refusal(model, file)

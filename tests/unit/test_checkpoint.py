"""Model files hold what was saved, and every damage is told by the file's name."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import prune3d
from prune3d.errors import CheckpointError, UserError
from prune3d.models.checkpoint import load, save, save_unreachable, unreachable_reason
from prune3d.models.description import FORMAT, describe
from prune3d.models.lineage import Step, get_lineage, set_lineage
from prune3d.models.meaning import Meaning, get_meaning, set_meaning
from prune3d.tensors import digest, read_arrays, write_arrays

Network = Callable[..., nn.Module]
ORDER = ["layer1.1", "layer2.1"]


@pytest.fixture
def saved(tmp_path: Path, make_network: Network) -> Path:
    """Return the file of a network pruned in all three ways."""
    model = prune3d.prune(make_network(), 4 / 6, 0.3, 0.5, removal_order=ORDER)
    set_lineage(model, [Step("train", 10, 20, "dense")])
    save(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def header_of(content: bytes) -> bytes:
    """Return the JSON header of a safetensors file, by the format's definition."""
    (length,) = struct.unpack("<Q", content[:8])
    return content[8 : 8 + length]


def with_header(file: Path, **changes: object) -> None:
    """Rewrite a file with another header; None takes a key away."""
    with safe_open(file, framework="pt") as opened:
        header = {**json.loads(opened.metadata()["prune3d"]), **changes}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    kept = {key: value for key, value in header.items() if value is not None}
    save_file(tensors, file, metadata={"prune3d": json.dumps(kept)})


def assert_refused(file: Path) -> str:
    """Assert that loading fails with a CheckpointError that names the file."""
    with pytest.raises(CheckpointError) as caught:
        load(file)
    assert str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ratios", [(1, 1, 1), (4 / 6, 1, 1), (1, 0.3, 1), (4 / 6, 0.3, 0.5)])
def test_a_network_comes_back_bit_equal(
    tmp_path: Path, make_network: Network, ratios: tuple[float, float, float]
) -> None:
    model = prune3d.prune(make_network(), *ratios, removal_order=ORDER)
    set_lineage(model, [Step("train", 10, 20, "dense"), Step("score blocks", 1, 2)])
    save(model, tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert again.spec == model.spec
    assert get_lineage(again) == get_lineage(model)
    assert list(again.state_dict()) == list(model.state_dict())
    for name, value in model.state_dict().items():
        assert value.dtype == again.state_dict()[name].dtype
        assert torch.equal(value, again.state_dict()[name])
    images = torch.randn(2, 3, 16, 16)
    assert not again.training
    assert torch.equal(again(images), model.eval()(images))


def test_a_loaded_network_can_be_trained_and_pruned_further(saved: Path) -> None:
    model = load(saved)
    model.train()(torch.randn(4, 3, 8, 8)).sum().backward()
    assert all(p.requires_grad and p.grad is not None for p in model.parameters())
    smaller = prune3d.prune(model, 4 / 6, 0.2, 0.5)
    assert prune3d.cost(smaller).macs < prune3d.cost(model).macs


def test_the_same_network_gives_the_same_bytes(saved: Path) -> None:
    before = saved.read_bytes()
    save(load(saved), saved)
    assert saved.read_bytes() == before


def test_loading_draws_no_random_numbers(saved: Path) -> None:
    torch.manual_seed(0)
    load(saved)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


def test_a_truncated_file_is_refused_at_every_length(saved: Path) -> None:
    content = saved.read_bytes()
    header = 8 + len(header_of(content))
    lengths = {0, 1, 7, 8, 9, header - 1, header, header + 1, len(content) - 1}
    lengths |= set(range(0, len(content), len(content) // 60))
    for length in sorted(lengths):
        saved.write_bytes(content[:length])
        assert "\n" not in assert_refused(saved)


def test_a_flipped_byte_in_the_weights_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    begin = 8 + len(header_of(content))
    for position in range(begin, len(content), (len(content) - begin) // 40):
        changed = bytearray(content)
        changed[position] ^= 1
        saved.write_bytes(changed)
        assert "changed" in assert_refused(saved)


def test_a_flipped_byte_in_the_header_is_noticed(saved: Path) -> None:
    content = saved.read_bytes()
    begin = content.index(b"__metadata__") - 2
    for position in [*range(8), *range(begin, 8 + len(header_of(content).rstrip()), 3)]:
        changed = bytearray(content)
        changed[position] ^= 1
        saved.write_bytes(changed)
        assert_refused(saved)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    assert "not one of 'prune3d model 4'" in assert_refused(file)


def test_a_file_of_images_is_refused(digits_files: dict[str, Path]) -> None:
    assert "not one of" in assert_refused(digits_files["train"])


def test_another_version_is_told(saved: Path) -> None:
    with_header(saved, format="prune3d model 99")
    assert "another version" in assert_refused(saved)


@pytest.mark.parametrize("key", ["digest", "spec", "lineage"])
def test_a_missing_part_of_the_header_is_told(saved: Path, key: str) -> None:
    with_header(saved, **{key: None})
    assert "digest is not right" in assert_refused(saved)


@pytest.mark.parametrize("spec", ["{", [], {}, {"name": "resnet14"}, 3])
def test_a_damaged_specification_is_told(
    saved: Path, spec: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune3d.models.checkpoint.digest", lambda content, arrays: "right")
    with_header(saved, spec=spec, digest="right")
    assert_refused(saved)


@pytest.mark.parametrize("spec", [{"name": "resnet15"}, {"removed_blocks": ["layer9.1"]}])
def test_a_specification_of_an_unknown_network_is_told(
    saved: Path, spec: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As by a newer prune3d that knows more networks: the digest is right.
    monkeypatch.setattr("prune3d.models.checkpoint.digest", lambda content, arrays: "right")
    with safe_open(saved, framework="pt") as opened:
        known = json.loads(opened.metadata()["prune3d"])["spec"]
    with_header(saved, spec={**known, **spec}, digest="right")
    assert_refused(saved)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "does not exist" in assert_refused(tmp_path / "no.safetensors")


def test_a_folder_is_no_model_file(tmp_path: Path) -> None:
    assert_refused(tmp_path)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (mark,))

    (tmp_path / "a.safetensors").write_bytes(pickle.dumps(Malicious()))
    torch.save({"state": torch.zeros(2)}, tmp_path / "b.safetensors")
    assert_refused(tmp_path / "a.safetensors")
    assert_refused(tmp_path / "b.safetensors")
    assert not mark.exists()


def test_no_pickle_is_written_or_read(
    tmp_path: Path, make_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_network("resnet8")

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a pickle")

    for module, name in [
        (torch, "save"),
        (torch, "load"),
        (pickle, "dump"),
        (pickle, "load"),
        (pickle, "dumps"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
    ]:
        monkeypatch.setattr(module, name, refuse)
    save(model, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").spec == model.spec


def test_a_failed_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    model = load(saved)

    def fail(arrays: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("prune3d.tensors.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(model, saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_policy_without_a_network_says_why(tmp_path: Path, saved: Path) -> None:
    file = tmp_path / "unreachable.safetensors"
    save_unreachable(file, "depth alone cannot meet the budget")
    assert unreachable_reason(file) == "depth alone cannot meet the budget"
    assert unreachable_reason(saved) is None
    assert "depth alone cannot meet the budget" in assert_refused(file)


def test_what_inputs_and_outputs_mean_comes_back(tmp_path: Path, make_network: Network) -> None:
    meaning = Meaning(("cat", "dog"), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    model = make_network(classes=2)
    set_meaning(model, meaning)
    save(prune3d.prune(model, width=0.5), tmp_path / "a.safetensors")
    assert get_meaning(load(tmp_path / "a.safetensors")) == meaning
    assert get_meaning(make_network()) == Meaning()


def test_the_file_tells_how_pictures_are_resized_and_older_ones_are_read(
    tmp_path: Path, make_network: Network
) -> None:
    new, old = tmp_path / "new.safetensors", tmp_path / "old.safetensors"
    model = make_network()
    save(model, new)
    assert describe(new).resize is None
    set_meaning(model, Meaning(None, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    save(model, new)
    assert describe(new).resize == "central square, bilinear, antialiased"
    arrays, header = read_arrays(new, FORMAT)
    content = {key: header[key] for key in ("spec", "lineage", "meaning")}
    write_arrays(old, arrays, FORMAT, {**content, "digest": digest(content, arrays)})
    assert describe(old).resize is None
    assert get_meaning(load(old)) == get_meaning(load(new))


FORGED = [
    ({"num_classes": 11}, "no weights are for 11 classes"),
    ({"in_channels": 5}, "5 channels"),
    ({"in_channels": 9999}, "no weights are for images of 9999 channels"),
    ({"num_classes": 2**40}, "num_classes"),
    ({"num_classes": True}, "num_classes"),
    ({"num_classes": 10.0}, "num_classes"),
    ({"num_classes": "10"}, "num_classes"),
    ({"side": 17}, "side is 17"),
    ({"side": 0}, "side"),
    ({"shapes": {"conv1": [2**20, 2**20, 3, 3]}}, "more weights than the file"),
    ({"shapes": {"conv1": [-1, 3, 3, 3]}}, "shapes.conv1.0"),
    ({"shapes": {"conv1": [3]}}, "cannot be built"),
    ({"shapes": {"bn1": []}}, "cannot be built"),
    ({"shapes": {"conv9": [1, 3, 3, 3]}}, "no tensor 'conv9'"),
    ({"shapes": {}}, "has shape"),
    ({"replaced": {}}, "nothing is said to replace"),
    ({"unknown": 1}, "unknown"),
    ({"name": "resnet20"}, "the file lacks"),
    ({"name": "timm/no_such_network"}, "no_such_network"),
    ({"name": "no/such/file.py:make", "code": {"file.py": "0"}}, "pass code="),
    ({"name": "no/such/file.py:make"}, "pass code="),
]


@pytest.mark.parametrize(("change", "told"), FORGED)
def test_a_specification_that_the_weights_do_not_bear_out_is_refused(
    saved: Path, change: dict[str, object], told: str
) -> None:
    with safe_open(saved, framework="np") as opened:
        header = json.loads(opened.metadata()["prune3d"])
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    content = {key: header[key] for key in ("spec", "lineage", "meaning")}
    content["spec"] = {**content["spec"], **change}
    with_header(saved, **content, digest=digest(content, arrays))
    text = assert_refused(saved)
    assert told in text and "\n" not in text and text.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        '{"a": ' * 20000,
        '{"format": "a", "format": "b"}',
        '{"a": NaN}',
        '{"a": 1' + "0" * 5000 + "}",
    ],
    ids=["deep", "twice", "NaN", "large"],
)
def test_strange_json_in_the_header_is_told(saved: Path, text: str) -> None:
    save_file({"a": torch.zeros(2)}, saved, metadata={"prune3d": text})
    assert "\n" not in assert_refused(saved)


def test_a_weight_that_two_layers_share_stays_one(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(SHARED)
    model = prune3d.build(f"{tmp_path / 'net.py'}:Net", 5, 8)
    save(model, tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert again.a.weight is again.b.weight


SHARED = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.b.weight = self.a.weight
        self.fc = nn.Linear(3, num_classes)

    def forward(self, x):
        return self.fc(self.b(self.a(x)).mean((2, 3)))
"""


def test_a_network_of_another_origin_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not built by prune3d\.build"):
        save(nn.Linear(2, 2), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())

"""Networks of other people: read, costed, pruned, saved, trained, exported, or told why not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.costs.operators import OperatorCounter
from prune3d.costs.structure import Structure, compose, dense_macs
from prune3d.data.images import ImageSet, ImageSplits
from prune3d.errors import PruningError, UserError
from prune3d.export import ExportError, export, why_not_onnx
from prune3d.models.attached import attached
from prune3d.models.foreign import copy_network
from prune3d.models.lineage import Step, get_lineage, set_lineage
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze
from prune3d.pruning.depth import order_blocks
from prune3d.train.loop import train
from prune3d.train.recipe import Recipe

FILE = Path(__file__).parent / "own/foreign.py"
RANDOM = PruningOptions(block_criterion="random", channel_criterion="random")
SIDE, CLASSES = 16, 4


def build(name: str) -> nn.Module:
    torch.manual_seed(3)
    return prune3d.build(f"{FILE}:{name}", CLASSES, SIDE).eval()


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def splits() -> ImageSplits:
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(0, 256, (24, 3, SIDE, SIDE), generator=generator).to(torch.uint8)
    part = ImageSet(pixels, torch.arange(24) % CLASSES, (0.5,) * 3, (0.25,) * 3)
    return ImageSplits(part, part)


def outputs(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(images())


def torch_counts(model: nn.Module, side: int, count: int = 1) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(count, 3, side, side))
    return counter.get_total_flops() // 2


def train_a_little(model: nn.Module) -> None:
    recipe = Recipe(epochs=1, batch_size=8, learning_rate=0.01, warmup_epochs=0)
    train(model, splits().train, recipe, seed=0)


@pytest.mark.parametrize("name", ["aux_tuple", "aux_named", "aux_dict", "aux_list"])
def test_auxiliary_outputs_give_way_to_the_logits_while_training(name: str) -> None:
    model = build(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train_a_little(model)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert "head.2.weight" in moved
    assert prune3d.cost(model).macs == torch_counts(model, SIDE)


@pytest.mark.parametrize("name", ["aux_tuple", "aux_dict"])
def test_auxiliary_heads_lose_the_channels_that_they_read(name: str) -> None:
    model = build(name)
    structure = analyze(model)
    assert set(structure.groups) == {"stem.0", "body"}
    options = PruningOptions(channel_criterion="l1")
    pruned = prune3d.prune(model, width=0.5, options=options)
    assert pruned.get_submodule("aux").weight.shape == (CLASSES, 4)
    train_a_little(pruned)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("features_while_training", r"\(2, 8, 8, 8\) .* while training"),
        ("scripted", "TorchScript"),
        ("half", r"not in single precision: '0\.0\.weight' is float16"),
        ("noisy", "random in evaluation mode"),
        ("scripted_inside", "'0' of .* TorchScript"),
        ("listed", "more than its parameters and buffers: .* nn.ModuleList"),
        ("hooked", "a copy computes with what it was copied from; in hooks"),
        ("closed", "a copy computes with what it was copied from; in hooks"),
        ("by_chance", "another network each time .* '0.0.bias'"),
        ("overwrites", "its gradients cannot be computed .* inplace operation"),
    ],
)
def test_what_cannot_be_worked_with_is_refused_when_built(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as refusal:
        build(name)
    assert "\n" not in str(refusal.value)


def test_names_of_the_network_are_its_own(tmp_path: Path) -> None:
    model = build("named")
    set_lineage(model, [Step("train", 10, 20)])
    assert isinstance(model.spec, nn.Conv2d)
    assert model.lineage == ["of", "its", "own"]
    small = prune3d.prune(model, width=0.5, resolution=0.5, options=RANDOM)
    prune3d.save(small, tmp_path / "m.safetensors")
    again = prune3d.load(tmp_path / "m.safetensors")
    assert attached(again, "spec").side == SIDE // 2
    assert get_lineage(again) == (Step("train", 10, 20),)
    assert isinstance(again.spec, nn.Conv2d)
    plain = build("plain")
    assert plain.spec is attached(plain, "spec")


def test_a_shared_weight_stays_one(tmp_path: Path) -> None:
    model = build("tied")
    prune3d.save(model, tmp_path / "m.safetensors")
    again = prune3d.load(tmp_path / "m.safetensors")
    assert again.a.weight is again.b.weight
    assert prune3d.cost(again) == prune3d.cost(model)
    train_a_little(again)
    assert again.a.weight is again.b.weight
    prune3d.save(again, tmp_path / "m.safetensors")
    assert torch.equal(outputs(prune3d.load(tmp_path / "m.safetensors")), outputs(again))


def test_frozen_parameters_stay_frozen(tmp_path: Path) -> None:
    model = build("frozen")
    model[1].bias.requires_grad_(False)
    frozen = {"0.0.weight", "0.0.bias", "0.1.weight", "0.1.bias", "1.bias"}
    file = tmp_path / "m.safetensors"
    for network in (model, prune3d.prune(model, width=0.5, options=RANDOM)):
        assert {n for n, p in network.named_parameters() if not p.requires_grad} == frozen
        prune3d.save(network, file)
        again = prune3d.load(file)
        assert {n for n, p in again.named_parameters() if not p.requires_grad} == frozen
    model.requires_grad_(True)
    prune3d.save(model, file)
    assert all(p.requires_grad for p in prune3d.load(file).parameters())


@pytest.mark.parametrize(
    "name", ["operators", "folded", "tied", "twice", "remembers", "aux_dict", "dynamic"]
)
def test_every_operator_is_counted_as_torch_counts_it(name: str) -> None:
    model = build(name)
    structure = analyze(model)
    weights, params = composed(structure)
    assert params == sum(p.numel() for p in model.parameters())
    for side, positions in zip(structure.sides, structure.arrays.positions, strict=True):
        macs = torch_counts(model, side)
        assert prune3d.cost(model, side / SIDE).macs == macs
        assert positions @ weights == macs


def test_a_cost_that_torch_counts_differently_is_refused_with_both_numbers() -> None:
    model = build("counts_images")
    one, two = (torch_counts(model, SIDE, count) for count in (1, 2))
    with pytest.raises(PruningError) as refused:
        analyze(model)
    assert {str(one), str(two - one)} <= set(re.findall(r"\d+", str(refused.value)))
    assert "depends on how many there are" in str(refused.value)


def test_sides_at_which_logits_are_no_numbers_are_not_taken() -> None:
    structure = analyze(build("divides_by_variance"))
    # The stem halves sides, rounding up: of one and two pixels a single one is left.
    assert structure.sides == tuple(range(3, SIDE + 1))
    assert structure.no_onnx is None


def test_sides_at_which_an_auxiliary_head_fails_are_not_taken() -> None:
    model = build("wide_auxiliary")
    assert analyze(model).sides == tuple(range(9, SIDE + 1))
    with pytest.raises(PruningError, match="it takes 9 to 16 pixels"):
        prune3d.prune(model, resolution=0.5)
    train_a_little(prune3d.prune(model, resolution=9 / SIDE))


def composed(structure: Structure) -> tuple[np.ndarray, float]:
    """Return the weights of each layer and the parameters of the dense network."""
    level = compose(structure, (), structure.kept(np.ones(1)))
    return level.weights[:, 0], float(level.params[0])


def test_operators_that_torch_does_not_count() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 6, batch_first=True)
            self.pair = nn.Bilinear(6, 4, 3)

        def forward(self, x):
            y = self.pair(self.lstm(x)[0], x)
            return y[0] @ x.new_ones(3) + x[0, 0] @ x.new_ones(4)

    model = Holder().eval()
    with torch.no_grad(), OperatorCounter(model) as counter:
        model(torch.zeros(1, 5, 4))
    # Four gates of six from four inputs and six states, at five places; 6 x 4 x 3 products at each.
    assert counter.macs == {"lstm": 5 * 24 * (4 + 6), "pair": 5 * 72, "": 5 * 3 + 4}


def test_blocks_called_with_more_than_a_tensor_are_removed() -> None:
    model = build("reads_attributes")
    structure = analyze(model)
    assert sorted(structure.removable) == ["blocks.0", "blocks.1", "blocks.2"]
    small = prune3d.prune(model, depth=1 / 3, options=RANDOM)
    left = next(
        b
        for b in model.blocks
        if f"blocks.{list(model.blocks).index(b)}" not in small.spec.removed_blocks
    )
    with torch.no_grad():
        x = model.stem(images())
        expected = model.head(left(x, x.mean((2, 3), keepdim=True), scale=0.5))
    torch.testing.assert_close(outputs(small), expected)
    train_a_little(small)


def test_where_there_is_one_block_only_single_convolutions_are_removed() -> None:
    model = build("single_block")
    assert set(analyze(model).removable) == {"1.0.0", "1.1.0", "1.2.0"}
    pruned = prune3d.prune(model, depth=0.5, options=RANDOM)
    assert prune3d.cost(pruned).macs == torch_counts(pruned, SIDE)


def test_layers_that_take_no_empty_batch_are_counted() -> None:
    model = build("instance_normed")
    structure = analyze(model)
    assert dense_macs(structure) == torch_counts(model, SIDE)


def test_blocks_whose_layers_others_read_stay_with_the_true_reason() -> None:
    model = build("reads_layers")
    structure = analyze(model)
    assert not structure.removable
    assert "does not work without 'blocks.0'" in str(structure.no_depth)
    with pytest.raises(UserError, match="has no attribute 'a'"):
        prune3d.prune(model, depth=0.5, options=RANDOM)


@pytest.mark.parametrize("criterion", ["dbp", "skip", "random"])
def test_blocks_called_twice_or_on_flat_maps_are_ranked(criterion: str) -> None:
    model = build("twice")
    assert sorted(analyze(model).removable) == ["flat", "twice"]
    options = PruningOptions(block_criterion=criterion, channel_criterion="random")
    assert sorted(order_blocks(model, options, splits())) == ["flat", "twice"]
    small = prune3d.prune(model, depth=0.5, options=RANDOM, removal_order=["twice"])
    with torch.no_grad():
        expected = model.head(model.flat(model.stem(images()).flatten(2)).mean(2))
    torch.testing.assert_close(outputs(small), expected)


def test_tensors_left_on_a_network_do_not_hinder_copies() -> None:
    model = build("remembers").train()
    model(images())
    assert model.last["features"][0].grad_fn is not None
    copied = copy_network(model)
    assert torch.equal(outputs(copied), outputs(model))
    small = prune3d.prune(model, resolution=0.5)
    assert small.spec.side == SIDE // 2
    model.generator = (i for i in range(3))
    with pytest.raises(UserError, match="cannot be copied"):
        prune3d.prune(model, resolution=0.5)


@pytest.mark.parametrize(
    "name",
    ["lazy", "parallel", "parallel_inside", "synchronized", "compiled_inside", "traced_by_fx"],
)
def test_lazy_and_wrapped_networks_become_ordinary_ones(tmp_path: Path, name: str) -> None:
    model = build(name)
    assert not isinstance(model, nn.DataParallel)
    assert not any(isinstance(m, nn.DataParallel | nn.SyncBatchNorm) for m in model.modules())
    assert analyze(model).groups
    small = prune3d.prune(model, width=0.5, options=RANDOM)
    train_a_little(small)
    prune3d.save(small, tmp_path / "m.safetensors")
    again = prune3d.load(tmp_path / "m.safetensors")
    assert torch.equal(outputs(again), outputs(small))
    assert export(again, tmp_path / "m.onnx") < 1e-4


@pytest.mark.parametrize("name", ["not_in_onnx", "rare_in_onnx"])
def test_what_the_exporter_cannot_write_is_computed_by_other_operators(name: str) -> None:
    model = build(name)
    for module in model.modules():
        if isinstance(module, nn.InstanceNorm2d) and module.running_var is not None:
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    assert why_not_onnx(model, range(3, SIDE + 1)) is None


def test_branches_by_images_are_not_exported_those_by_sizes_are(tmp_path: Path) -> None:
    model = build("branches_by_images")
    reason = analyze(model).no_onnx
    assert reason is not None
    assert "decides by the images" in reason
    assert "foreign.py:" in reason
    with pytest.raises(ExportError, match="decides by the images"):
        export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    assert analyze(build("branches_by_sizes")).no_onnx is None


def test_what_onnx_lacks_is_told_in_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    structure = analyze(build("fourier"))
    assert structure.no_onnx is not None
    assert "fft_rfft2" in structure.no_onnx
    assert "\n" not in structure.no_onnx
    assert "no ONNX file" in structure.summary()
    assert "graph(" not in "".join(capfd.readouterr())


def test_what_follows_a_removed_block_may_work_in_place() -> None:
    model = build("in_place")
    small = prune3d.prune(model, depth=1 / 2, options=RANDOM, removal_order=["block", "other"])
    with torch.no_grad():
        x = model.stem(images())
        y = model.other(torch.relu(x - 1)) + x
        expected = model.head(y)
    torch.testing.assert_close(outputs(small), expected)
    train_a_little(small)


@pytest.mark.parametrize("name", ["clamped", "spectrally_normed"])
def test_weights_that_are_computed_are_costed_pruned_and_exported(
    name: str, tmp_path: Path
) -> None:
    model = build(name)
    structure = analyze(model)
    assert len(structure.groups) == 3 if name == "clamped" else structure.groups
    assert structure.no_onnx is None
    small = prune3d.prune(model, width=0.5, options=RANDOM)
    # What a spectral norm computes of its weight is no part of an image's pass.
    if name == "clamped":
        assert prune3d.cost(small).macs == torch_counts(small, SIDE)
    assert prune3d.cost(small).macs < prune3d.cost(model).macs / 2
    assert export(small.eval(), tmp_path / "a.onnx") < 1e-4

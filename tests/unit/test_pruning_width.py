"""A width-pruned network computes what the dense one does with the removed channels silenced."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import prune3d
import prune3d.pruning.channels.compare as comparing
from prune3d.costs.count import pass_image
from prune3d.errors import PruningError
from prune3d.pruning import PruningOptions
from prune3d.pruning.channels.compare import liven
from prune3d.pruning.channels.silent import silent_outputs

Network = Callable[..., nn.Module]
# Of a basic block: the layers that write each set of channels, with their batch norms.
Pairs = list[tuple[str, str]]


def channel_sets(model: nn.Module) -> list[Pairs]:
    """Return, by reading the ResNet's definition, which layers must keep the same channels."""
    modules = dict(model.named_modules())
    sets: list[Pairs] = []
    for stage in (1, 2, 3):
        blocks = [f"layer{stage}.{i}" for i in range(50) if f"layer{stage}.{i}.conv1" in modules]
        stream: Pairs = [("conv1", "bn1")] if stage == 1 else []
        for name in blocks:
            sets.append([(f"{name}.conv1", f"{name}.bn1")])
            stream.append((f"{name}.conv2", f"{name}.bn2"))
            if f"{name}.shortcut.0" in modules:
                stream.append((f"{name}.shortcut.0", f"{name}.shortcut.1"))
        sets.append(stream)
    order = list(modules)
    return sorted(sets, key=lambda pairs: min(order.index(layer) for layer, _ in pairs))


def readers(model: nn.Module, pairs: Pairs) -> list[nn.Module]:
    """Return the layers whose inputs are a set of channels, by the ResNet's definition."""
    modules = dict(model.named_modules())
    layer, _ = pairs[0]
    if len(pairs) == 1 and layer.endswith(".conv1"):
        return [modules[layer.replace("conv1", "conv2")]]
    stage = 1 if layer == "conv1" else int(layer[5])
    names = [f"layer{stage}.{i}.conv1" for i in range(50) if stage == 1 or i > 0]
    names += [f"layer{stage + 1}.0.conv1", f"layer{stage + 1}.0.shortcut.0"]
    names += ["fc"] if stage == 3 else []
    return [modules[name] for name in names if name in modules]


def score(model: nn.Module, pairs: Pairs, criterion: str) -> Tensor:
    """Return the importance of each channel, by the definition of the criterion."""
    total: Tensor = torch.zeros(())
    for convolution, norm in pairs:
        weight = model.get_submodule(convolution).weight.detach()
        if criterion == "batchnorm_scale":
            total = total + model.get_submodule(norm).weight.detach().abs()
        elif criterion == "l1":
            total = total + weight.abs().sum((1, 2, 3))
        else:
            total = total + weight.square().sum((1, 2, 3)).sqrt()
    return total


def silence(model: nn.Module, pruned: nn.Module, criterion: str) -> nn.Module:
    """Return a copy in which as many channels of lowest score as `pruned` lacks are always zero.

    Every filter is scored with all its inputs ("independent" in arXiv 1608.08710).
    """
    silent = copy.deepcopy(model)
    for pairs in channel_sets(model):
        left = pruned.get_submodule(pairs[0][0]).out_channels
        total = model.get_submodule(pairs[0][0]).out_channels
        removed = score(model, pairs, criterion).sort(stable=True).indices[: total - left]
        for convolution, norm in pairs:
            silent.get_submodule(convolution).weight.data[removed] = 0
            silent.get_submodule(norm).weight.data[removed] = 0
            silent.get_submodule(norm).bias.data[removed] = 0
        for reader in readers(silent, pairs):
            reader.weight.data[:, removed] = 0
    return silent


def logits(model: nn.Module, side: int, channels: int = 3) -> Tensor:
    """Return outputs on random images in double precision."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(5, channels, side, side, generator=generator).double()
    with torch.no_grad():
        return copy.deepcopy(model).double().eval()(images)


SCALE = PruningOptions(channel_criterion="batchnorm_scale")


@pytest.mark.parametrize("criterion", ["batchnorm_scale", "l1", "l2"])
@pytest.mark.parametrize("width", [0.9, 0.5, 0.3, 0.02])
def test_outputs_equal_those_of_the_network_with_silent_channels(
    make_network: Network, criterion: str, width: float
) -> None:
    model = make_network()
    pruned = prune3d.prune(model, width=width, options=PruningOptions(channel_criterion=criterion))
    expected = logits(silence(model, pruned, criterion), 16)
    assert pruned.conv1.out_channels < 16
    torch.testing.assert_close(logits(pruned, 16), expected, rtol=1e-10, atol=1e-10)


def test_pruning_in_steps_removes_the_channels_of_lowest_scale(make_network: Network) -> None:
    model = make_network("resnet20")
    pruned = model
    for width in (0.8, 0.55, 0.3):
        pruned = prune3d.prune(pruned, width=width, options=SCALE)
    expected = logits(silence(model, pruned, "batchnorm_scale"), 16)
    torch.testing.assert_close(logits(pruned, 16), expected, rtol=1e-10, atol=1e-10)


def test_width_after_depth_scores_the_blocks_that_are_left(make_network: Network) -> None:
    model = make_network("resnet20")
    shallow = prune3d.prune(model, depth=7 / 9, removal_order=["layer1.1", "layer3.2"])
    pruned = prune3d.prune(shallow, depth=7 / 9, width=0.4, options=SCALE)
    expected = logits(silence(shallow, pruned, "batchnorm_scale"), 16)
    torch.testing.assert_close(logits(pruned, 16), expected, rtol=1e-10, atol=1e-10)


def test_the_inputs_of_colour_images_are_kept(make_network: Network) -> None:
    pruned = prune3d.prune(make_network(), width=0.2)
    assert pruned.conv1.in_channels == 3
    assert pruned.fc.out_features == 10


@pytest.mark.parametrize("round_to", [4, 8])
def test_channels_are_kept_in_multiples(make_network: Network, round_to: int) -> None:
    pruned = prune3d.prune(make_network(), width=0.6, options=PruningOptions(round_to=round_to))
    widths = [m.out_channels for m in pruned.modules() if isinstance(m, nn.Conv2d)]
    assert all(width % round_to == 0 for width in widths)
    assert min(widths) < 16


def test_equal_scales_still_prune_the_number_that_is_asked() -> None:
    model = prune3d.build("resnet8", 10, 16)
    assert all(
        torch.equal(m.weight, torch.ones_like(m.weight))
        for m in model.modules()
        if isinstance(m, nn.BatchNorm2d)
    )
    pruned = prune3d.prune(model, width=0.5)
    widths = {n: m.out_channels for n, m in pruned.named_modules() if isinstance(m, nn.Conv2d)}
    dense = {n: m.out_channels for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert sum(widths.values()) / sum(dense.values()) == pytest.approx(0.5, abs=0.01)
    assert all(widths[name] < dense[name] for name in dense)


def test_random_scores_follow_the_seed(make_network: Network) -> None:
    model = make_network()

    def first_filters(seed: int) -> Tensor:
        options = PruningOptions(channel_criterion="random", seed=seed)
        return prune3d.prune(model, width=0.5, options=options).conv1.weight

    assert torch.equal(first_filters(1), first_filters(1))
    assert not torch.equal(first_filters(1), first_filters(2))


def test_random_keeps_filters_of_the_dense_network(make_network: Network) -> None:
    model = make_network()
    options = PruningOptions(channel_criterion="random")
    pruned = prune3d.prune(model, width=0.5, options=options)
    matches = (pruned.conv1.weight[:, None] == model.conv1.weight[None]).all(-1).all(-1).all(-1)
    assert matches.sum(1).tolist() == [1] * pruned.conv1.out_channels
    assert torch.equal(pruned.bn1.bias, model.bn1.bias[matches.int().argmax(1)])


def test_the_original_is_not_changed(make_network: Network) -> None:
    model = make_network().train()
    before = copy.deepcopy(model.state_dict())
    spec = model.spec
    pruned = prune3d.prune(
        model, width=0.5, depth=5 / 6, resolution=0.5, removal_order=["layer1.1"]
    )
    assert model.spec is spec
    assert model.training
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    pruned.fc.weight.data.zero_()
    assert torch.equal(model.fc.weight, before["fc.weight"])


def test_a_pruned_network_can_be_trained(make_network: Network) -> None:
    pruned = prune3d.prune(make_network(), width=0.5).train()
    pruned(torch.randn(4, 3, 16, 16)).square().sum().backward()
    gradients = [p.grad for p in pruned.parameters()]
    assert all(g is not None and g.abs().sum() > 0 for g in gradients)


def test_a_larger_width_than_there_is_names_layer_and_ratio(make_network: Network) -> None:
    pruned = prune3d.prune(make_network(), width=0.5)
    with pytest.raises(PruningError, match=r"width 0\.9 .*'conv1', which has only \d+;"):
        prune3d.prune(pruned, width=0.9)


@pytest.mark.parametrize("width", [0, -0.5, 1.1, float("nan")])
def test_a_width_out_of_range_is_refused_with_what_is_allowed(
    make_network: Network, width: float
) -> None:
    with pytest.raises(PruningError, match=r"width is .*above 0 and at most 1\."):
        prune3d.prune(make_network("resnet8"), width=width)


def test_an_unknown_criterion_is_refused_with_the_known_ones(make_network: Network) -> None:
    options = PruningOptions(channel_criterion="bn")
    with pytest.raises(
        PruningError, match=r"'bn'; known are: batchnorm_scale, l1, l2, group_norm, fpgm, "
    ):
        prune3d.prune(make_network("resnet8"), width=0.5, options=options)


def test_outputs_are_compared_in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """In TF32, torch's default on GPUs, a right pruning of a trained ResNet-20 looks wrong."""
    precisions = []
    cudnn: Any = torch.backends.cudnn

    def passing(*args: Any) -> Any:
        precisions.append(cudnn.conv.fp32_precision)
        precisions.append(torch.backends.cuda.matmul.fp32_precision)
        return pass_image(*args)

    def silencing(*args: Any) -> Any:
        precisions.append(cudnn.conv.fp32_precision)
        return silent_outputs(*args)

    monkeypatch.setattr(comparing, "pass_image", passing)
    monkeypatch.setattr(comparing, "silent_outputs", silencing)
    before = cudnn.conv.fp32_precision
    prune3d.prune(prune3d.build("resnet8", 4, 16), width=0.5)
    assert set(precisions) == {"ieee"}
    assert len(precisions) >= 3
    assert cudnn.conv.fp32_precision == before != "ieee"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_width_goes_on_a_gpu() -> None:
    """Convolutions in TF32 differ by more than the comparison of outputs allows."""
    for name in ("resnet20", "resnet56"):
        model = prune3d.build(name, 10, 32)
        liven(model, 1)
        prune3d.prune(model.cuda(), width=0.5)

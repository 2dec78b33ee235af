"""All three dimensions together: cost, realized ratios, batch-norm statistics, lineage."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import prune3d
from prune3d.data.images import ImageSet, ImageSplits
from prune3d.errors import PruningError, UserError
from prune3d.models.assembly import get_spec
from prune3d.models.lineage import Step, get_lineage
from prune3d.pruning import PruningOptions, block_criteria
from prune3d.pruning.batchnorm import reestimate_statistics
from prune3d.pruning.realized import realized

Network = Callable[..., nn.Module]
ORDER = ["layer1.1", "layer3.1", "layer2.1", "layer1.0"]


def random_images(count: int, channels: int = 3, side: int = 16) -> ImageSet:
    """Return random bytes with labels of ten classes."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (count, channels, side, side), generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return ImageSet(images.byte(), labels, (0.5,) * channels, (0.25,) * channels)


def statistics_by_hand(model: nn.Module, batches: list[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean over batches of each batch norm's input mean and unbiased variance."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    copied = copy.deepcopy(model).double().train()

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].transpose(0, 1).flatten(1)
            mean = values.sum(1) / values.shape[1]
            variance = (values - mean[:, None]).square().sum(1) / (values.shape[1] - 1)
            seen.setdefault(name, []).append((mean, variance))

        return hook

    for name, module in copied.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(record(name))
    with torch.no_grad():
        for batch in batches:
            copied(batch.double())
    return {
        name: (torch.stack([m for m, _ in s]).mean(0), torch.stack([v for _, v in s]).mean(0))
        for name, s in seen.items()
    }


@pytest.mark.parametrize(
    "sizes", [[300], [700], [513, 512]], ids=["one batch", "larger batch", "two batches"]
)
def test_statistics_are_those_of_the_training_images(
    make_network: Network, sizes: list[int]
) -> None:
    model = make_network("resnet8", size=8)
    images = random_images(sum(sizes), side=8)
    inputs = (images.images.float() / 255 - 0.5) / 0.25
    expected = statistics_by_hand(model, list(inputs.split(sizes)))
    passes = reestimate_statistics(model, images, PruningOptions())
    assert passes == sum(sizes)
    assert expected.keys() == {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for name, (mean, variance) in expected.items():
        norm = model.get_submodule(name)
        torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-4, atol=1e-5)
        assert norm.momentum == 0.1
    assert not model.training


def test_reestimation_works_where_one_image_is_left_over(make_network: Network) -> None:
    model = make_network("resnet8", size=8)
    pruned = prune3d.prune(model, resolution=0.5)
    passes = reestimate_statistics(pruned, random_images(513, side=8), PruningOptions())
    assert passes == 513


def test_probe_images_are_all_that_pruning_needs(make_network: Network) -> None:
    splits = ImageSplits(random_images(60), random_images(40))
    options = PruningOptions(channel_criterion="taylor", probe_images=16, seed=3)
    probe = splits.probe(16, 3)
    assert (len(probe.train), len(probe.selection)) == (16, 40)
    pruned, other = (
        prune3d.prune(make_network(), 5 / 6, 0.5, options=options, images=images)
        for images in (splits, probe)
    )
    assert pruned.spec == other.spec
    assert get_lineage(pruned) == get_lineage(other)
    weights = other.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in pruned.state_dict().items())


def test_at_most_the_probe_images_are_passed(make_network: Network) -> None:
    images = random_images(40, side=8)
    options = PruningOptions(probe_images=16)
    assert reestimate_statistics(make_network("resnet8", size=8), images, options) == 16


def test_images_change_statistics_only_and_are_billed(make_network: Network) -> None:
    model = make_network(size=8)
    images = random_images(64, side=8)
    splits = ImageSplits(images, images)
    plain = prune3d.prune(model, width=0.5, resolution=0.5)
    pruned = prune3d.prune(model, width=0.5, resolution=0.5, images=splits)
    for name, value in plain.state_dict().items():
        same = torch.equal(value, pruned.state_dict()[name])
        assert same != ("running" in name or "num_batches" in name)
    assert get_lineage(plain) == ()
    macs = prune3d.cost(pruned).macs
    assert get_lineage(pruned) == (Step("re-estimate batch norms", 64, macs),)


def test_the_three_prunings_are_independent(make_network: Network) -> None:
    model = make_network()
    at_once = prune3d.prune(model, 4 / 6, 0.6, 0.75, removal_order=ORDER)
    steps = prune3d.prune(model, depth=4 / 6, removal_order=ORDER)
    steps = prune3d.prune(steps, depth=4 / 6, width=0.6)
    steps = prune3d.prune(steps, depth=4 / 6, width=0.6, resolution=0.75)
    assert at_once.spec == steps.spec
    other = steps.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in at_once.state_dict().items())


def test_width_alone_leaves_what_was_pruned_before(make_network: Network) -> None:
    shallow = prune3d.prune(make_network(), depth=4 / 6, resolution=0.75, removal_order=ORDER)
    pruned = prune3d.prune(shallow, width=0.5)
    assert pruned.spec.removed_blocks == shallow.spec.removed_blocks == ("layer1.1", "layer3.1")
    assert pruned.spec.side == shallow.spec.side == 12
    # The streams and the inside of the blocks that are left, each half of the dense width.
    assert pruned.conv1.out_channels == 8
    assert [pruned.layer2[0].conv2.out_channels, pruned.layer3[0].conv2.out_channels] == [16, 32]
    at_once = prune3d.prune(make_network(), 4 / 6, 0.5, 0.75, removal_order=ORDER)
    assert pruned.spec == at_once.spec
    other = at_once.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in pruned.state_dict().items())


def test_depth_alone_and_resolution_alone_leave_the_width(make_network: Network) -> None:
    narrow = prune3d.prune(make_network(), width=0.5)
    channels = [m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)]
    small = prune3d.prune(narrow, resolution=0.5)
    assert [m.out_channels for m in small.modules() if isinstance(m, nn.Conv2d)] == channels
    assert (small.spec.side, small.spec.removed_blocks) == (8, ())
    shallow = prune3d.prune(narrow, depth=4 / 6, removal_order=ORDER)
    assert shallow.layer3[0].conv1.out_channels == narrow.layer3[0].conv1.out_channels == 32
    assert shallow.spec.side == 16


def test_blocks_are_scored_at_the_side_that_the_network_had(
    make_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides, call = [], block_criteria.pooled_features

    def record(model: nn.Module, names: list[str], images: ImageSet, side: int) -> list[Tensor]:
        sides.append(side)
        return call(model, names, images, side)

    monkeypatch.setattr(block_criteria, "pooled_features", record)
    splits = ImageSplits(random_images(60), random_images(40))
    model = prune3d.prune(make_network(), resolution=0.75)
    pruned = prune3d.prune(model, depth=5 / 6, resolution=0.5, images=splits)
    # The training and the selection images, in pixels.
    assert sides == [12, 12]
    assert pruned.spec.side == 8
    scored, estimated = get_lineage(pruned)
    whole = prune3d.cost(prune3d.prune(make_network(), resolution=0.75)).macs
    assert scored == Step("score blocks", 100, whole)
    assert estimated == Step("re-estimate batch norms", 60, prune3d.cost(pruned).macs)


def test_resolution_changes_no_weight(make_network: Network) -> None:
    model = make_network()
    pruned = prune3d.prune(model, resolution=0.75)
    assert pruned.spec.side == 12
    other = pruned.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in model.state_dict().items())


def test_realized_ratios_are_counted_from_the_network(make_network: Network) -> None:
    model = make_network()
    pruned = prune3d.prune(model, 4 / 6, 0.55, 0.7, removal_order=ORDER)
    found = realized(pruned)
    # The channels of the three streams, and inside each block that is left.
    stream = [pruned.conv1, pruned.layer2[0].conv2, pruned.layer3[0].conv2]
    inner = [
        b.conv1
        for s in (pruned.layer1, pruned.layer2, pruned.layer3)
        for b in s
        if hasattr(b, "conv1")
    ]
    assert len(inner) == 4
    left = sum(layer.out_channels for layer in [*stream, *inner])
    dense = (16 + 32 + 64) + (16 + 32 * 2 + 64)
    assert found["width"] == pytest.approx(left / dense)
    assert found["depth"] == pytest.approx(4 / 6)
    assert found["blocks"] == 4
    assert found["side_pixels"] == 11
    assert found["resolution"] == pytest.approx(11 / 16)
    assert found["params"] == sum(p.numel() for p in pruned.parameters())
    assert found["macs_ratio"] == pytest.approx(found["macs"] / prune3d.cost(model).macs)


def test_a_dense_network_is_realized_at_one(make_network: Network) -> None:
    found = realized(make_network())
    assert [found[k] for k in ("depth", "width", "resolution", "macs_ratio")] == [1, 1, 1, 1]


def test_a_larger_side_than_there_is_is_refused(make_network: Network) -> None:
    pruned = prune3d.prune(make_network(), resolution=0.5)
    with pytest.raises(PruningError, match=r"resolution 0\.75 is 12 pixels, above the 8"):
        prune3d.prune(pruned, resolution=0.75)


def test_the_ratios_are_to_the_dense_network(make_network: Network) -> None:
    half = prune3d.prune(make_network(), width=0.5, resolution=0.5)
    again = prune3d.prune(half, width=0.5, resolution=0.5)
    assert again.spec == half.spec


def test_a_foreign_network_is_refused() -> None:
    with pytest.raises(UserError, match=r"was not built by prune3d\.build"):
        prune3d.prune(nn.Sequential(nn.Conv2d(3, 4, 3)), width=0.5)


def test_gray_images_and_other_class_counts_can_be_pruned(make_network: Network) -> None:
    model = make_network("resnet8", classes=64, size=8, channels=1)
    pruned = prune3d.prune(model, width=0.5)
    assert pruned(torch.zeros(2, 1, 8, 8)).shape == (2, 64)


@pytest.mark.parametrize(
    ("name", "half", "whole"),
    [
        ("resnet20", {"depth": 0.8, "width": 0.7}, {"depth": 0.6, "width": 0.5}),
        ("cifar_mobilenet_v2", {"depth": 0.9, "width": 0.7}, {"depth": 0.8, "width": 0.5}),
        ("densenet40", {"depth": 0.9, "width": 0.8}, {"depth": 0.8, "width": 0.6}),
    ],
)
def test_in_several_steps_as_many_channels_are_left_as_in_one(
    tmp_path: Path, name: str, half: dict[str, float], whole: dict[str, float]
) -> None:
    """Blocks go after channels have gone; each network on the way can be saved and loaded."""
    model = prune3d.build(name, 10, 32)
    options = PruningOptions(block_criterion="random", round_to=1)
    at_once = prune3d.prune(model, **whole, options=options)
    order = get_spec(at_once).removed_blocks
    for ratios in (half, whole):
        model = prune3d.prune(model, **ratios, options=options, removal_order=order)
        prune3d.save(model, tmp_path / "model.safetensors")
        model = prune3d.load(tmp_path / "model.safetensors")
    assert prune3d.cost(model) == prune3d.cost(at_once)
    assert get_spec(model) == get_spec(at_once)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)

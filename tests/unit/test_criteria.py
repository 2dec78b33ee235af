"""Criteria of importance by their definitions, and one's own."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from torch import nn

import prune3d
from prune3d.data.images import ImageSplits
from prune3d.errors import PruningError, UserError
from prune3d.models.lineage import get_lineage
from prune3d.pruning import PruningOptions
from prune3d.pruning.channel_criteria import fpgm, group_norm, taylor
from prune3d.pruning.dense import channel_groups, present_blocks
from prune3d.pruning.depth import order_blocks
from prune3d.pruning.width import highest, score_channels

GENERATOR = torch.Generator()


def group_of(model: nn.Module, layer: str):
    return next(g for g in channel_groups(model) if layer in {m.name for m in g.writers})


def test_fpgm_is_the_sum_of_distances_to_the_other_filters(trained: nn.Module) -> None:
    group = group_of(trained, "layer2.0.conv2")
    expected = np.zeros(32)
    for member in group.writers:
        filters = member.layer.weight.detach().flatten(1).double().numpy()
        expected += cdist(filters, filters).sum(1)
    assert len(group.writers) == 3
    np.testing.assert_allclose(fpgm(group, GENERATOR).numpy(), expected, rtol=1e-4)


def test_a_filter_that_repeats_the_others_goes_first_with_fpgm(trained: nn.Module) -> None:
    weight = trained.layer1[0].conv1.weight
    with torch.no_grad():
        weight[3] = weight.mean(0)
    scores = fpgm(group_of(trained, "layer1.0.conv1"), GENERATOR)
    assert int(scores.argmin()) == 3


@pytest.mark.parametrize("name", ["resnet14", "cifar_vgg16_bn"])
def test_group_norms_are_those_of_the_authors_code(make_network, name: str) -> None:
    import torch_pruning as tp

    model = make_network(name, size=32)
    graph = tp.DependencyGraph().build_dependency(model, torch.zeros(2, 3, 32, 32))
    importance = tp.importance.GroupMagnitudeImportance(normalizer=None)
    for group in channel_groups(model):
        conv = model.get_submodule(group.name)
        theirs = graph.get_pruning_group(
            conv, tp.prune_conv_out_channels, list(range(group.channels))
        )
        torch.testing.assert_close(group_norm(group, GENERATOR), importance(theirs))


def losses_without(model: nn.Module, norm: str, images: ImageSplits) -> list[float]:
    """Return the squared change of the loss when each channel behind a norm is scaled a little."""
    x = images.train.normalize(images.train.images, 8)
    found = []
    for channel in range(len(model.get_submodule(norm).weight)):
        changes = []
        for step in (1e-6, -1e-6):
            other = copy.deepcopy(model).double()
            for parameter in (other.get_submodule(norm).weight, other.get_submodule(norm).bias):
                with torch.no_grad():
                    parameter[channel] *= 1 + step
            with torch.no_grad():
                changes.append(float(F.cross_entropy(other(x.double()), images.train.labels)))
        found.append(((changes[0] - changes[1]) / 2e-6) ** 2)
    return found


def test_taylor_is_the_squared_slope_of_the_loss_in_a_gate(
    trained: nn.Module, digits: ImageSplits
) -> None:
    few = digits.train.subset(200, 1)
    splits = ImageSplits(few, few)
    groups = [group_of(trained, "layer1.1.conv1")]
    options = PruningOptions(channel_criterion="taylor", probe_images=200)
    scores = score_channels(trained, groups, options, splits)[groups[0].name]
    expected = losses_without(trained, "layer1.1.bn1", splits)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=2e-2, atol=1e-9)
    assert all(p.grad is None for p in trained.parameters())
    (step,) = get_lineage(trained)
    assert (step.action, step.image_passes) == ("score channels", 200)


def test_taylor_without_batch_norms_uses_the_filters() -> None:
    torch.manual_seed(0)
    file = Path(__file__).with_name("own") / "networks.py"
    model = prune3d.build(f"{file}:Plain", 5, 8)
    F.cross_entropy(model(torch.randn(4, 3, 8, 8)), torch.tensor([0, 1, 2, 3])).backward()
    group = group_of(model, "conv3")
    layer = model.conv3
    expected = (
        (layer.weight * layer.weight.grad).sum((1, 2, 3)) + layer.bias * layer.bias.grad
    ).square()
    torch.testing.assert_close(taylor(group, GENERATOR), expected.detach())


def test_taylor_needs_images(make_network) -> None:
    with pytest.raises(PruningError, match=r"'taylor' .* images"):
        prune3d.prune(make_network(), width=0.5, options=PruningOptions(channel_criterion="taylor"))


@pytest.mark.parametrize("criterion", ["fpgm", "taylor"])
def test_networks_are_pruned_by_each_criterion(
    trained: nn.Module, digits: ImageSplits, criterion: str
) -> None:
    options = PruningOptions(channel_criterion=criterion, probe_images=256)
    pruned = prune3d.prune(trained, width=0.5, options=options, images=digits)
    assert pruned.conv1.out_channels == 8


def test_a_block_that_does_nothing_raises_no_loss_when_skipped(
    trained: nn.Module, digits: ImageSplits
) -> None:
    nn.init.zeros_(trained.layer2[1].bn2.weight)
    nn.init.zeros_(trained.layer2[1].bn2.bias)
    options = PruningOptions(block_criterion="skip")
    assert order_blocks(trained, options, digits)[0] == "layer2.1"
    (step,) = get_lineage(trained)
    assert step.image_passes == 5 * len(digits.selection)


def test_the_order_of_skipping_is_that_of_the_losses(
    trained: nn.Module, digits: ImageSplits
) -> None:
    x = digits.selection.normalize(digits.selection.images, 8)
    losses = {}
    for block in present_blocks(trained):
        if block.removable:
            other = copy.deepcopy(trained)
            parent, _, child = block.name.rpartition(".")
            setattr(other.get_submodule(parent), child, nn.Identity())
            with torch.no_grad():
                losses[block.name] = float(F.cross_entropy(other(x), digits.selection.labels))
    options = PruningOptions(block_criterion="skip")
    assert order_blocks(trained, options, digits) == sorted(losses, key=losses.__getitem__)


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("densenet40", "dbp"),
        ("cifar_vgg16_bn", "dbp"),
        ("cifar_vgg16_bn", "skip"),
        ("densenet121", "dbp"),
        pytest.param("densenet40", "skip", marks=pytest.mark.slow),
    ],
)
def test_blocks_that_are_not_residual_are_scored_too(name: str, criterion: str) -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    from prune3d.data.images import ImageSet

    bytes_ = torch.randint(0, 256, (40, 3, 32, 32), generator=generator).byte()
    labels = torch.arange(40) % 4
    images = ImageSet(bytes_, labels, (0.5,) * 3, (0.25,) * 3)
    model = prune3d.build(name, 4, 32)
    options = PruningOptions(block_criterion=criterion, probe_images=32)
    order = order_blocks(model, options, ImageSplits(images, images))
    assert sorted(order) == sorted(b.name for b in present_blocks(model) if b.removable)


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "mine.py").write_text(text)
    return f"{tmp_path / 'mine.py'}:score"


def test_an_own_channel_criterion_is_followed(make_network, tmp_path: Path) -> None:
    name = write(
        tmp_path,
        "import torch\n\ndef score(group, generator):\n    return -torch.arange(group.channels)\n",
    )
    model = make_network()
    pruned = prune3d.prune(model, width=0.5, options=PruningOptions(channel_criterion=name))
    assert torch.equal(pruned.bn1.bias, model.bn1.bias[:8])


def test_an_own_block_criterion_is_followed(make_network, tmp_path: Path) -> None:
    name = write(
        tmp_path,
        "def score(model, blocks, images, options):\n"
        "    return {b.name: i for i, b in enumerate(reversed(blocks)) if b.removable}\n",
    )
    pruned = prune3d.prune(
        make_network(), depth=5 / 6, options=PruningOptions(block_criterion=name)
    )
    assert pruned.spec.removed_blocks == ("layer3.1",)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return None", "gave NoneType for layer"),
        ("import torch; return torch.zeros(3)", r"gave \(3,\) for layer"),
        ("import torch; return torch.full((group.channels,), float('nan'))", "not finite"),
    ],
)
def test_an_own_criterion_that_gives_no_scores_is_refused(
    make_network, tmp_path: Path, body: str, told: str
) -> None:
    name = write(tmp_path, f"def score(group, generator):\n    {body}\n")
    with pytest.raises(PruningError, match=told):
        prune3d.prune(make_network(), width=0.5, options=PruningOptions(channel_criterion=name))


def test_an_own_block_criterion_that_leaves_blocks_out_is_refused(make_network, tmp_path) -> None:
    name = write(tmp_path, "def score(model, blocks, images, options):\n    return {}\n")
    with pytest.raises(PruningError, match=r"scored no block; expected are scores of: layer1\.0"):
        prune3d.prune(make_network(), depth=0.5, options=PruningOptions(block_criterion=name))


@pytest.mark.parametrize("name", ["nowhere.py:score", "bn"])
def test_a_criterion_that_does_not_exist_is_refused(make_network, name: str) -> None:
    with pytest.raises(UserError, match=name.partition(":")[0]):
        prune3d.prune(make_network(), width=0.5, options=PruningOptions(channel_criterion=name))


def test_whole_runs_of_channels_are_chosen_by_their_sum() -> None:
    scores = torch.tensor([9.0, 0, 3, 3, 5, 5, 1, 1])
    assert highest(scores, 4, 2).tolist() == [0, 1, 4, 5]
    assert highest(scores, 5).tolist() == [0, 2, 3, 4, 5]
    assert highest(torch.ones(4), 2).tolist() == [2, 3]

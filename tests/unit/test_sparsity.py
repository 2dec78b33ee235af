"""Penalties against the derivative of their definition, and what they do in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSplits
from prune3d.errors import PruningError
from prune3d.pruning.dense import channel_groups
from prune3d.pruning.sparsity import ChannelPenalty, Sparsity, channel_penalty, near_zero

OWN = Path(__file__).parent / "own"


def penalty_by_hand(model: nn.Module, kind: str) -> torch.Tensor:
    """Return the penalty without its strength, as a function of the parameters."""
    layers = dict(model.named_modules())
    total = torch.zeros(())
    for name, layer in layers.items():
        if kind == "batchnorm_l1" and isinstance(layer, nn.BatchNorm2d):
            total = total + layer.weight.abs().sum()
        # The classifier's outputs are no channels.
        if kind == "group_lasso" and isinstance(layer, nn.Conv2d) and name != "fc":
            total = total + layer.weight.flatten(1).norm(dim=1).sum()
    return total


@pytest.mark.parametrize("kind", ["batchnorm_l1", "group_lasso"])
def test_the_gradient_is_that_of_the_penalty(make_network, kind: str) -> None:
    model = make_network("resnet8")
    (0.01 * penalty_by_hand(model, kind)).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    channel_penalty(model, Sparsity(kind, strength=0.01))(model)
    for name, parameter in model.named_parameters():
        wanted = 1 if expected[name] is None else 1 + expected[name]
        torch.testing.assert_close(parameter.grad, wanted * torch.ones_like(parameter))


@pytest.mark.parametrize("name", ["resnet8", "cifar_vgg16_bn"])
def test_the_gradient_of_group_norms_is_that_of_the_authors_code(make_network, name: str) -> None:
    import torch_pruning as tp

    model = make_network(name, size=32)
    images = torch.zeros(2, 3, 32, 32)
    gradients = []
    for add in ("theirs", "ours"):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        if add == "theirs":
            importance = tp.importance.GroupMagnitudeImportance()
            *_, classifier = model.modules()
            tp.pruner.GroupNormPruner(
                model, images, importance, reg=0.01, ignored_layers=[classifier]
            ).regularize(model)
        else:
            channel_penalty(model, Sparsity("group_norm", 0.01))(model)
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for parameter, theirs in gradients[0].items():
        torch.testing.assert_close(gradients[1][parameter], theirs, msg=parameter)


def test_a_weight_that_is_computed_is_refused() -> None:
    model = prune3d.build("resnet8", 10, 16, 3)
    nn.utils.parametrizations.weight_norm(model.layer1[0].conv1)
    with pytest.raises(PruningError, match=r"cannot act on layer1.0.conv1.weight, which is comp"):
        channel_penalty(model, Sparsity("group_lasso"))
    assert channel_penalty(model, Sparsity("batchnorm_l1")) is not None


@pytest.mark.parametrize("kind", ["group_lasso", "group_norm", "batchnorm_l1"])
def test_a_weight_that_two_layers_share_is_penalized_once(kind: str) -> None:
    model = prune3d.build(f"{OWN}/foreign.py:tied", 10, 16, 3)
    penalty = channel_penalty(model, Sparsity(kind, 0.1))
    assert penalty is not None
    parts = [(part.parameter, part.axis) for group in penalty.groups for part in group]
    assert len(set(parts)) == len(parts)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    penalty(model)


def positions(penalty: ChannelPenalty) -> list[torch.Tensor]:
    return [part.positions for group in penalty.groups for part in group]


def test_partial_regularization_leaves_the_other_channels_alone(make_network) -> None:
    model = make_network()
    penalty = channel_penalty(model, Sparsity("batchnorm_l1", 0.1, fraction=0.25, seed=3))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    penalty(model)
    for group in channel_groups(model):
        touched = [m.layer.weight.grad[m.positions[:, 0]] != 0 for m in group.norms]
        assert all(torch.equal(t, touched[0]) for t in touched)
        assert int(touched[0].sum()) == round(0.25 * group.channels)
    again = channel_penalty(model, Sparsity("batchnorm_l1", 0.1, fraction=0.25, seed=3))
    other = channel_penalty(model, Sparsity("batchnorm_l1", 0.1, fraction=0.25, seed=4))
    assert all(map(torch.equal, positions(penalty), positions(again)))
    assert not all(map(torch.equal, positions(penalty), positions(other)))


def test_parameters_without_a_gradient_are_left_alone(make_network) -> None:
    model = make_network("resnet8")
    channel_penalty(model, Sparsity("group_lasso"))(model)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("sparsity", [Sparsity(), Sparsity("group_lasso", 0.0)])
def test_without_a_penalty_there_is_none(make_network, sparsity: Sparsity) -> None:
    assert channel_penalty(make_network("resnet8"), sparsity) is None


def test_an_unknown_penalty_is_refused(make_network) -> None:
    with pytest.raises(
        PruningError, match="'l0'; known are: none, batchnorm_l1, group_lasso, group_norm"
    ):
        channel_penalty(make_network("resnet8"), Sparsity("l0"))


def test_training_with_a_penalty_makes_scales_smaller(digits: ImageSplits) -> None:
    from prune3d.train.loop import train
    from prune3d.train.recipe import Recipe

    recipe = Recipe(epochs=3, batch_size=64, learning_rate=0.1)
    scales = {}
    for strength in (0.0, 0.02):
        torch.manual_seed(1)
        model = prune3d.build("resnet8", 10, 8, 1)
        penalty = channel_penalty(model, Sparsity("batchnorm_l1", strength))
        train(model, digits.train, recipe, seed=3, penalty=penalty)
        norms = [m.weight.detach().abs() for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        scales[strength] = float(torch.cat(norms).mean())
    assert scales[0.02] < 0.7 * scales[0.0]


def layers_of(model: nn.Module, kind: type[nn.Module]) -> dict[str, nn.Module]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kind)}


def test_scales_near_zero_are_counted_by_the_largest_of_the_network(make_network) -> None:
    model = make_network("resnet8")
    norms = list(layers_of(model, nn.BatchNorm2d).values())
    with torch.no_grad():
        for norm in norms:
            norm.weight.fill_(-1.0)
        norms[0].weight[0] = 10.0
        # Small in a layer all of which is small, too.
        norms[-1].weight.fill_(0.099)
        norms[1].weight[:3] = 0.101
    total = sum(len(norm.weight) for norm in norms)
    found = near_zero(model, Sparsity("batchnorm_l1", strength=0.0))
    assert found == {"batchnorm_l1": pytest.approx(len(norms[-1].weight) / total)}
    assert near_zero(model, Sparsity()) == {}


def test_filters_near_zero_are_counted(make_network) -> None:
    model = make_network("resnet8")
    filters = [conv.weight for conv in layers_of(model, nn.Conv2d).values()]
    with torch.no_grad():
        for weight in filters:
            weight.fill_(1.0)
        filters[2][:2] *= 1e-4
    total = sum(len(weight) for weight in filters)
    found = near_zero(model, Sparsity("group_lasso"))
    assert found == {"group_lasso": pytest.approx(2 / total)}


def test_channels_count_as_a_whole_where_their_norms_are_penalized(make_network) -> None:
    model = make_network("resnet8")
    graph = channel_groups(model)
    group = min(graph, key=lambda one: len(one.members))
    assert near_zero(model, Sparsity("group_norm")) == {"group_norm": 0.0}
    *others, last = group.members
    with torch.no_grad():
        for member in others:
            member.weight[member.positions[0]] = 0.0
    # What reads the channel is not near 0 yet.
    assert near_zero(model, Sparsity("group_norm")) == {"group_norm": 0.0}
    with torch.no_grad():
        last.weight[last.positions[0]] = 0.0
    total = sum(one.channels for one in graph)
    assert near_zero(model, Sparsity("group_norm")) == {"group_norm": pytest.approx(1 / total)}


def test_only_what_was_penalized_counts(make_network) -> None:
    model = make_network("resnet8")
    sparsity = Sparsity("batchnorm_l1", 0.1, fraction=0.5, seed=3)
    penalty = channel_penalty(model, sparsity)
    assert penalty is not None
    layers = dict(model.named_parameters())
    with torch.no_grad():
        for part in (part for group in penalty.groups for part in group):
            layers[part.parameter][part.positions.flatten()] = 0.0
    assert near_zero(model, sparsity) == {"batchnorm_l1": 1.0}
    [rest] = near_zero(model, replace(sparsity, fraction=1.0)).values()
    assert 0.4 < rest < 0.6


def test_of_weights_from_a_file_every_penalty_that_can_act_counts(make_network) -> None:
    kinds = {"batchnorm_l1", "group_lasso", "group_norm"}
    assert near_zero(make_network("resnet8")) == dict.fromkeys(kinds, 0.0)
    computed = prune3d.build("resnet8", 10, 16, 3)
    nn.utils.parametrizations.weight_norm(computed.layer1[0].conv1)
    assert set(near_zero(computed)) == {"batchnorm_l1"}

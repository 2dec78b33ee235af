"""The registry tells the truth about the networks that it names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import prune3d
from prune3d.errors import UserError
from prune3d.models import MODELS, facts
from prune3d.pruning.blocks import find_blocks
from prune3d.pruning.dependency import ChannelGraph


@pytest.mark.parametrize("name", MODELS)
def test_registered_facts_agree_with_the_built_network(name: str) -> None:
    blocks = find_blocks(prune3d.build(name, 10, 8))
    assert len(blocks) == facts(name).blocks
    assert sum(block.removable for block in blocks) == facts(name).removable
    assert facts(name).fewest_blocks == facts(name).blocks - facts(name).removable


@pytest.mark.parametrize("name", [name for name in MODELS if name != "resnet110"])
def test_registered_channel_groups_are_those_of_the_built_network(name: str) -> None:
    graph = ChannelGraph(prune3d.build(name, 10, 8))
    assert sorted(facts(name).groups) == sorted(group.channels for group in graph.groups)


@pytest.mark.parametrize("name", MODELS)
def test_the_name_counts_the_layers_with_weights(name: str) -> None:
    model = prune3d.build(name, 10, 8)
    counted = [
        n
        for n, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and "shortcut" not in n
    ]
    assert len(counted) == int(name.removeprefix("resnet"))


@pytest.mark.parametrize("name", MODELS)
def test_the_smallest_side_is_taken_and_gives_logits(name: str) -> None:
    side = facts(name).smallest_side
    model = prune3d.build(name, 7, side).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, side, side)).shape == (2, 7)


def test_the_blocks_that_change_the_shape_are_not_removable() -> None:
    blocks = find_blocks(prune3d.build("resnet20", 10, 32))
    assert [b.name for b in blocks] == [f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)]
    assert [b.name for b in blocks if not b.removable] == ["layer2.0", "layer3.0"]


def test_the_same_torch_seed_gives_the_same_weights() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(5)
        networks.append(prune3d.build("resnet8", 10, 8).state_dict())
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("resnet21", 10, 8), ["resnet21", "resnet20", "resnet110"]),
        (("resnet8", 1, 8), ["num_classes is 1", "at least 2"]),
        (("resnet8", 10, 0), ["image_size is 0", "at least 1"]),
    ],
)
def test_wrong_arguments_give_one_sentence_with_what_is_allowed(
    arguments: tuple[str, int, int], told: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        prune3d.build(*arguments)
    message = str(caught.value)
    assert all(part in message for part in told)
    assert message.endswith(".")
    assert "\n" not in message


def test_an_unknown_attribute_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="prunee"):
        _ = prune3d.prunee

"""The registry tells the truth about the networks that it names."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import prune3d
from prune3d.errors import UserError
from prune3d.models import MODELS, facts
from prune3d.models.registry import FACTS_FILE
from prune3d.pruning.dense import present_blocks
from prune3d.pruning.measure_models import measure

# Multiply-accumulates and parameters, in millions, as far as they are published: torchvision's
# model pages; He et al. (arXiv 1512.03385, table 6); Huang et al. (arXiv 1608.06993, table 2);
# Liu et al. (arXiv 1810.05270, VGG-16 without biases). MobileNetV2 for CIFAR has torchvision's
# layers with 10 classes.
PUBLISHED = {
    "resnet18": (1814.07, 11.689512),
    "resnet34": (3663.76, 21.797672),
    "resnet50": (4089.18, 25.557032),
    "densenet121": (2834.16, 7.978856),
    "mobilenet_v2": (300.77, 3.504872),
    "mobilenet_v3_large": (216.59, 5.483032),
    "efficientnet_b0": (385.81, 5.288548),
    "regnet_y_400mf": (401.84, 4.344144),
    "vgg16_bn": (15470.26, 138.365992),
    "cifar_mobilenet_v2": (None, 2.236682),
    "cifar_vgg16_bn": (313.2, 14.72),
    "densenet40": (None, 1.0),
    "resnet20": (None, 0.27),
    "resnet32": (None, 0.46),
    "resnet44": (None, 0.66),
    "resnet56": (None, 0.85),
    "resnet110": (None, 1.7),
}


# The largest takes half a minute.
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n == "vgg16_bn" else n for n in MODELS]


@pytest.mark.parametrize("name", NAMES)
def test_registered_facts_are_those_of_the_built_network(name: str) -> None:
    assert facts(name) == measure(name)


def test_the_file_of_facts_has_the_registered_models_and_no_others() -> None:
    assert set(json.loads(FACTS_FILE.read_text())) == set(MODELS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_cost_and_parameters_are_the_published_ones(name: str) -> None:
    known = facts(name)
    assert known is not None
    macs, params = PUBLISHED[name]
    # Rounded in print; option B shortcuts add 1 to 2 % to the ResNets for CIFAR.
    assert known.params / 1e6 == pytest.approx(params, rel=0.021)
    if macs is not None:
        assert known.macs / 1e6 == pytest.approx(macs, rel=2e-5)


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith("resnet")])
def test_the_name_counts_the_layers_with_weights(name: str) -> None:
    model = prune3d.build(name, 10, 8)
    counted = [
        n
        for n, m in model.named_modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and not {"shortcut", "downsample"} & {*n.split(".")}
    ]
    assert len(counted) == int(name.removeprefix("resnet").removesuffix("_wd2"))


@pytest.mark.parametrize("name", ["resnet20", "resnet32"])
def test_wd2_names_the_network_with_half_of_the_channels(name: str) -> None:
    halved = prune3d.prune(prune3d.build(name, 10, 32), 1.0, 0.5, 1.0, images=None)
    narrow = prune3d.build(f"{name}_wd2", 10, 32)
    shapes = {name: tensor.shape for name, tensor in narrow.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in halved.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_side_is_taken_and_the_next_smaller_is_not(name: str) -> None:
    known = facts(name)
    assert known is not None
    side = known.smallest_side
    model = prune3d.build(name, 7, known.image_size).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, side, side)).shape == (2, 7)
        if side > 1:
            with pytest.raises(RuntimeError):
                model(torch.zeros(2, 3, side - 1, side - 1))


@pytest.mark.parametrize("name", ["resnet8", "densenet40", "cifar_vgg16_bn", "mobilenet_v2"])
def test_grey_images_are_taken(name: str) -> None:
    model = prune3d.build(name, 4, 32, in_channels=1).eval()
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 4)


def test_the_blocks_that_change_the_shape_are_not_removable() -> None:
    blocks = present_blocks(prune3d.build("resnet20", 10, 32))
    assert [b.name for b in blocks] == [f"layer{i}.{j}" for i in (1, 2, 3) for j in range(3)]
    assert [b.name for b in blocks if not b.removable] == ["layer2.0", "layer3.0"]


# From the papers: a stage's first block changes the shape, the others can go; of a VGG the
# convolutions that keep the channels; of a DenseNet every layer but one.
BLOCKS = {
    "resnet50": (3 + 4 + 6 + 3, 4),
    "resnet34": (3 + 4 + 6 + 3, 3),
    "mobilenet_v2": (17, 7),
    "efficientnet_b0": (16, 7),
    "regnet_y_400mf": (1 + 3 + 6 + 6, 4),
    "mobilenet_v3_large": (15, 5),
    "densenet121": (6 + 12 + 24 + 16, 1),
    "densenet40": (36, 1),
    "cifar_vgg16_bn": (13, 4),
    "vgg16_bn": (13, 4),
    "cifar_vgg19_bn": (16, 4),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_those_of_the_papers(name: str) -> None:
    known = facts(name)
    assert known is not None
    assert (known.blocks, known.fewest_blocks) == BLOCKS[name]


def test_the_same_torch_seed_gives_the_same_weights() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(5)
        networks.append(prune3d.build("resnet8", 10, 8).state_dict())
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("resnet21", 10, 8), ["resnet21", "resnet20", "resnet110", "timm/NAME"]),
        (("resnet8", 1, 8), ["num_classes is 1", "at least 2"]),
        (("resnet8", 10, 0), ["image_size is 0", "at least 1"]),
        (("resnet8", 10, 8, 0), ["in_channels is 0", "at least 1"]),
        (("timm/resnet_of_nobody", 10, 32), ["timm", "resnet_of_nobody", "resnet"]),
        (("no/such/file.py:build", 10, 8), ["no/such/file.py", "cannot be read"]),
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

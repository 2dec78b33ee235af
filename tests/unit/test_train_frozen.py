"""What must not be trained: frozen layers and layers that the forward pass leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSet
from prune3d.errors import UserError
from prune3d.train import Compute, Recipe, train
from prune3d.train.sgd import NesterovSGD

OWN = """
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.stem.requires_grad_(False)
        self.conv = nn.Sequential(nn.Conv2d(6, 7, 3), nn.BatchNorm2d(7), nn.ReLU(inplace=True))
        self.unused = nn.Conv2d(7, 7, 3)
        self.partly = nn.BatchNorm2d(7)
        self.partly.bias.requires_grad_(False)
        self.fc = nn.Linear(7, classes)

    def forward(self, x):
        return self.fc(self.partly(self.conv(self.stem(x))).mean((2, 3)))


def make(num_classes):
    return Net(num_classes)


def frozen(num_classes):
    return Net(num_classes).requires_grad_(False)
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(OWN)
    return str(tmp_path / "net.py")


def some_images() -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (16, 3, 12, 12), generator=generator).byte()
    return ImageSet(pixels, torch.arange(16) % 5, (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("layout", ["always", "never"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_frozen_and_unused_layers_stay_bit_equal(own: str, layout: str, ema: float) -> None:
    model = prune3d.build(f"{own}:make", 5, 12)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipe = Recipe(
        epochs=2, batch_size=8, learning_rate=0.1, warmup_epochs=0, weight_decay=0.1, ema=ema
    )
    train(model, some_images(), recipe, seed=0, compute=Compute(channels_last=layout))
    same = {name for name, value in model.state_dict().items() if torch.equal(value, before[name])}
    stay = {name for name in before if name.startswith(("stem.", "unused."))} | {"partly.bias"}
    assert same == stay


def test_a_network_without_a_free_parameter_is_refused(own: str) -> None:
    model = prune3d.build(f"{own}:frozen", 5, 12)
    with pytest.raises(UserError, match=r"every parameter of .*:frozen is frozen"):
        train(model, some_images(), Recipe(epochs=1, batch_size=8), seed=0)


def test_parameters_without_a_gradient_are_treated_as_by_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.ModuleList(nn.Linear(3, 3, bias=False) for _ in range(2)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    sgd = torch.optim.SGD(theirs.parameters(), 0.1, 0.9, weight_decay=0.1, nesterov=True)
    optimizer = NesterovSGD(ours, 0.9, 0.1)
    for reached in ([0, 1], [0], [1], []):
        for i in reached:
            theirs[i].weight.grad = torch.ones(3, 3)
            ours[i].weight.grad = torch.ones(3, 3)
        sgd.step()
        sgd.zero_grad()
        optimizer.step(0.1)
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, other)

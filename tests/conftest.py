"""What the unit tests share: one thread, the digits, networks whose statistics differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSplits, load_splits
from prune3d.data.settings import DataSettings
from prune3d.data.split import Fractions, prepare
from prune3d.data.storage import save_part
from prune3d.train.loop import train
from prune3d.train.recipe import Recipe

torch.set_num_threads(1)


@pytest.fixture
def make_network():
    """Return a builder of networks whose batch norms all differ, in evaluation mode."""

    def make(
        name: str = "resnet14", classes: int = 10, size: int = 16, channels: int = 3
    ) -> nn.Module:
        torch.manual_seed(7)
        model = prune3d.build(name, classes, size, channels)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def digits_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the three files of the digits, seed 0."""
    folder = tmp_path_factory.mktemp("digits")
    splits = prepare(DataSettings("digits"), Fractions(test=0.2, selection=0.2), seed=0)
    files = {name: folder / f"{name}.safetensors" for name in splits.parts}
    for name, part in splits.parts.items():
        save_part(files[name], part, splits.about)
    return files


@pytest.fixture(scope="session")
def digits(digits_files: dict[str, Path]) -> ImageSplits:
    """Return the training and selection images of the digits."""
    return load_splits(digits_files["train"], digits_files["selection"])


@pytest.fixture(scope="session")
def trained_state(digits: ImageSplits) -> dict[str, torch.Tensor]:
    """Return the weights of a ResNet-14 trained on the digits for a few epochs."""
    torch.manual_seed(1)
    model = prune3d.build("resnet14", 10, 8, 1)
    recipe = Recipe(
        epochs=5,
        batch_size=64,
        learning_rate=0.1,
        warmup_epochs=1,
        momentum=0.9,
        weight_decay=5e-4,
        shift=1,
        flip=False,
    )
    train(model, digits.train, recipe, seed=3)
    return model.state_dict()


@pytest.fixture
def trained(trained_state: dict[str, torch.Tensor]) -> nn.Module:
    """Return a fresh copy of the trained ResNet-14, in evaluation mode."""
    model = prune3d.build("resnet14", 10, 8, 1)
    model.load_state_dict(trained_state)
    return model.eval()

"""Judging a network while it is trained: what it tells, and that it changes nothing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prune3d.data.images import ImageSet
from prune3d.train import trainer
from prune3d.train.compute import Compute
from prune3d.train.evaluate import evaluate
from prune3d.train.judge import MOST_EPOCHS, judged_epochs
from prune3d.train.loop import train
from prune3d.train.recipe import Recipe
from prune3d.train.resume import ResumeFile
from prune3d.train.task import Training

Network = Callable[..., nn.Module]
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.05, warmup_epochs=0.5, shift=1, flip=True)


def random_images(count: int, seed: int) -> ImageSet:
    """Return random bytes with labels of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 8, 8), generator=generator)
    return ImageSet(images.byte(), torch.arange(count) % 10, (0.5,) * 3, (0.25,) * 3)


def network(make: Network) -> nn.Module:
    """Return a network with a random layer, which draws from torch's global generator."""
    model = make("resnet8", size=8)
    model.fc = nn.Sequential(nn.Dropout(0.2), model.fc)
    return model


def trained(
    make: Network,
    recipe: Recipe,
    judged: ImageSet | None,
    resume: ResumeFile | None = None,
    compute: Compute | None = None,
) -> tuple[nn.Module, Training]:
    model = network(make)
    training = train(model, random_images(40, 4), recipe, 5, resume, compute=compute, judged=judged)
    return model, training


@pytest.mark.parametrize("epochs", [1, 2, 3, 12, 13, 40, 160])
def test_the_last_epoch_and_some_before_it_are_judged(epochs: int) -> None:
    found = judged_epochs(epochs)
    assert found[0] == 1 and found[-1] == epochs
    assert len(found) == min(epochs, MOST_EPOCHS) == len(set(found))
    steps = [b - a for a, b in itertools.pairwise(found)]
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("ema", [0.0, 0.5])
@pytest.mark.parametrize(
    "compute", [Compute(), Compute(precision="bfloat16", channels_last="always")], ids=["", "bf16"]
)
def test_judging_changes_nothing_and_tells_what_the_network_can(
    make_network: Network, ema: float, compute: Compute
) -> None:
    recipe, judged = dataclasses.replace(RECIPE, ema=ema), random_images(30, 9)
    torch.manual_seed(3)
    one, plain = trained(make_network, recipe, None, compute=compute)
    drawn = torch.rand(3)
    torch.manual_seed(3)
    two, watched = trained(make_network, recipe, judged, compute=compute)
    assert torch.equal(torch.rand(3), drawn)
    for name, value in one.state_dict().items():
        assert torch.equal(two.state_dict()[name], value), name
    for row, other in zip(plain.history, watched.history, strict=True):
        assert row.pop("selection_top1") is None
        assert isinstance(other.pop("selection_top1"), float)
        assert row == other


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_each_epoch_is_judged_as_the_training_would_end_with_it(
    make_network: Network, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    recipe, judged = dataclasses.replace(RECIPE, ema=ema), random_images(30, 9)
    model, training = trained(make_network, recipe, judged)
    assert training.history[-1]["selection_top1"] == evaluate(model, judged)["top1"]
    # A training of as many steps at the same rates that ends after the first epoch.
    rates = trainer.learning_rate
    monkeypatch.setattr(trainer, "learning_rate", lambda _, epoch: rates(recipe, epoch))
    short, _ = trained(make_network, dataclasses.replace(recipe, epochs=1), None)
    assert training.history[0]["selection_top1"] == evaluate(short, judged)["top1"]


def test_a_resumed_training_has_the_same_judgements(
    tmp_path: Path, make_network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = random_images(30, 9)
    one, undisturbed = trained(make_network, RECIPE, judged)
    file = ResumeFile(tmp_path / "model.resume.safetensors", "digest")
    save = trainer.save_state

    def save_then_die(file: ResumeFile, state: trainer.TrainingState) -> None:
        save(file, state)
        if len(state.history) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "save_state", save_then_die)
        trained(make_network, RECIPE, judged, file)
    two, resumed = trained(make_network, RECIPE, judged, file)
    assert resumed.earlier_seconds > 0 and resumed.history == undisturbed.history
    for name, value in one.state_dict().items():
        assert torch.equal(two.state_dict()[name], value), name

"""Training in two processes against one, on a CPU with gloo: what runs on GPUs with NCCL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSet
from prune3d.data.loader import Shard
from prune3d.errors import TrainingError, UserError
from prune3d.train import Compute, Recipe, ResumeFile, train

Network = Callable[..., nn.Module]
TWO = Compute(processes=2)
# 61 images: batches of 15 are shared 7 and 8, and the last has one image, which joins.
RECIPE = Recipe(
    epochs=2,
    batch_size=15,
    learning_rate=0.05,
    shift=1,
    flip=True,
    cutout=3,
    label_smoothing=0.1,
    ema=0.9,
    distillation=0.4,
)


@pytest.fixture
def images() -> ImageSet:
    """Return random images whose number no batch size divides."""
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (61, 3, 8, 8), generator=generator).byte()
    return ImageSet(pixels, torch.arange(61) % 10, (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 7, 8, 64])
def test_the_parts_of_a_batch_cover_it_once(processes: int, count: int) -> None:
    parts = [range(count)[Shard(rank, processes).of(count)] for rank in range(processes)]
    assert [i for part in parts for i in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.slow
def test_two_processes_train_the_network_of_one(make_network: Network, images: ImageSet) -> None:
    teacher = make_network("resnet14", size=8)
    one, two = (prune3d.prune(make_network("resnet8", size=8), resolution=0.75) for _ in range(2))
    before = {name: value.clone() for name, value in one.state_dict().items()}
    expected = train(one, images, RECIPE, seed=3, teacher=teacher)
    found = train(two, images, RECIPE, seed=3, teacher=teacher, compute=TWO)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-4, atol=1e-5)
        if name.endswith(("running_mean", "running_var", "weight")):
            assert not torch.equal(value, before[name]), name
    for row, other in zip(found.history, expected.history, strict=True):
        assert row == {
            **other,
            "train_loss": pytest.approx(other["train_loss"], rel=1e-5),
            "train_top1": pytest.approx(other["train_top1"], abs=1e-9),
        }
    assert prune3d.lineage.get_lineage(two) == prune3d.lineage.get_lineage(one)


@pytest.mark.slow
def test_a_diverging_training_of_two_processes_tells_the_same_sentence(
    tmp_path: Path, make_network: Network, images: ImageSet
) -> None:
    recipe = Recipe(epochs=1, batch_size=15, learning_rate=1e30, name="dense")
    file = ResumeFile(tmp_path / "a.resume.safetensors", "digest")
    with pytest.raises(TrainingError, match=r"recipe 'dense' is .* lower dense\.learning_rate"):
        train(make_network("resnet8", size=8), images, recipe, 0, file, compute=TWO)
    assert list(tmp_path.iterdir()) == []


def test_fewer_images_a_step_than_processes_are_refused(
    make_network: Network, images: ImageSet
) -> None:
    recipe = dataclasses.replace(RECIPE, batch_size=2, distillation=0.0)
    with pytest.raises(UserError, match=r"batch_size is 2; allowed is .* each of the 3"):
        train(make_network("resnet8", size=8), images, recipe, 0, compute=Compute(processes=3))

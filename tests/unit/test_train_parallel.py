"""Training in two processes against one, on a CPU with gloo: what runs on GPUs with NCCL."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSet
from prune3d.data.loader import Shard
from prune3d.errors import TrainingError, UserError
from prune3d.tensors import read_arrays
from prune3d.train import Compute, Recipe, ResumeFile, train
from prune3d.train.resume import FORMAT

Network = Callable[..., nn.Module]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TWO = Compute(processes=2)
EPOCHS = 16
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


def random_images() -> ImageSet:
    """Return random images whose number no batch size divides."""
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (61, 3, 8, 8), generator=generator).byte()
    return ImageSet(pixels, torch.arange(61) % 10, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture
def images() -> ImageSet:
    return random_images()


def train_to_the_end(folder: Path) -> None:
    """Train in two processes as a job does."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, teacher = (prune3d.build("resnet8", 10, 8) for _ in range(2))
    file = ResumeFile.beside(folder / "model.safetensors", "digest")
    recipe = dataclasses.replace(RECIPE, epochs=EPOCHS)
    train(model, random_images(), recipe, 5, file, teacher=teacher, compute=TWO)
    torch.save(model.state_dict(), folder / "end")


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start `train_to_the_end` in a process of its own, with its own temporary folder."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    code = f"import sys; sys.path[:0] = {[str(SCRIPTS), str(Path(__file__).parent)]!r}; "
    code += "from prune3d.train import interrupt; interrupt.listen(); interrupt.defer(); "
    code += f"import test_train_parallel as t; t.train_to_the_end(t.Path({str(folder)!r}))"
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def epochs_kept(folder: Path) -> int:
    """Return how many epochs the saved state has."""
    state = folder / "model.resume.safetensors"
    return len(read_arrays(state, FORMAT)[1]["history"]) if state.exists() else 0


def wait_until(happened: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


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
    assert prune3d.models.lineage.get_lineage(two) == prune3d.models.lineage.get_lineage(one)


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


@pytest.mark.slow
def test_two_processes_that_are_ended_and_killed_go_on_and_end_bit_equal(tmp_path: Path) -> None:
    folder, undisturbed = tmp_path / "a", tmp_path / "b"
    ended = start(folder)
    wait_until(lambda: epochs_kept(folder) >= 1)
    ended.send_signal(signal.SIGTERM)
    assert ended.wait(60) == 128 + signal.SIGTERM
    first = epochs_kept(folder)
    assert 1 <= first < EPOCHS
    assert list(folder.glob("tmp/prune3d-*")) == []

    killed = start(folder)
    wait_until(lambda: epochs_kept(folder) > first)
    killed.kill()
    killed.wait()
    wait_until(lambda: not workers_in(folder))
    second = epochs_kept(folder)
    assert first < second < EPOCHS
    [left] = folder.glob("tmp/prune3d-*")
    # Neither the weights nor the images.
    assert all(path.stat().st_size < 4096 for path in left.iterdir())

    undisturbed.mkdir()
    train_to_the_end(folder)
    train_to_the_end(undisturbed)
    found, expected = (torch.load(path / "end") for path in (folder, undisturbed))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def workers_in(folder: Path) -> list[str]:
    """Return the command lines of the processes that train for a folder."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    parts = [line.decode(errors="replace") for line in lines]
    return [text for text in parts if "prune3d.train.parallel" in text and str(folder) in text]

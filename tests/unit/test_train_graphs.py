"""Captured steps against eager ones, and what must not be captured.

Without a GPU all but the capturing itself runs: warm-ups, what is put back, static tensors.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

import prune3d
from prune3d.data.images import ImageFiles, Images, ImageSet
from prune3d.models.assembly import get_spec, set_spec
from prune3d.pruning.sparsity import Sparsity, channel_penalty
from prune3d.train import Compute, Recipe, ResumeFile, graphs, train

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
EAGER = Compute(cuda_graph="never")
CAPTURED = Compute(cuda_graph="auto" if GPU else "rehearse")
# Ten steps of 16 and one of 7 in each epoch.
RECIPE = Recipe(epochs=4, batch_size=16, learning_rate=0.05, warmup_epochs=1, shift=1, flip=True)
SIDE = 8


@pytest.fixture(autouse=True)
def short_trainings_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have graphs for steps that are taken four times."""
    monkeypatch.setattr(graphs, "FEWEST_REPLAYS", 4)


@pytest.fixture
def images() -> ImageSet:
    """Return 167 random images."""
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (167, 3, SIDE, SIDE), generator=generator).byte()
    return ImageSet(pixels, torch.arange(167) % 10, (0.5,) * 3, (0.25,) * 3)


def network(name: str = "resnet8", seed: int = 0) -> nn.Module:
    """Return a network on the device."""
    torch.manual_seed(seed)
    return prune3d.build(name, 10, SIDE).to(DEVICE)


def assert_alike(model: nn.Module, other: nn.Module) -> None:
    """Assert the same weights and statistics: bit for bit on a CPU."""
    weights = other.state_dict()
    for name, value in model.state_dict().items():
        tolerance = 5e-2 if GPU else 0.0
        torch.testing.assert_close(
            value, weights[name], rtol=tolerance, atol=tolerance, equal_nan=True
        )


def assert_captured_is_eager(
    caplog: pytest.LogCaptureFixture,
    images: Images,
    recipe: Recipe = RECIPE,
    model: nn.Module | None = None,
    refused: str | None = None,
    **how: object,
) -> nn.Module:
    """Train both ways, compare, and check what the log says; return the captured one."""
    one = model or network()
    other = copy.deepcopy(one)
    histories = []
    caplog.set_level(logging.INFO, "prune3d")
    for trained, compute in ((one, CAPTURED), (other, EAGER)):
        np.random.seed(0)
        random.seed(0)
        training = train(trained, images, recipe, 3, compute=compute, **how)  # type: ignore[arg-type]
        histories.append(training.history)
    text = caplog.text
    if refused is None:
        assert "steps of 16, 7 images are captured" in text
    else:
        assert text.count("without a CUDA graph") == 1
        assert refused in text
    for row, expected in zip(*histories, strict=True):
        assert row["learning_rate"] == expected["learning_rate"]
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=0.05 if GPU else 0)
    assert_alike(one, other)
    return one


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ema": 0.9},
        {"label_smoothing": 0.1, "cutout": 2, "crop_area": 0.3},
        {"momentum": 0.0, "schedule": "one_cycle"},
        {"distillation": 0.5},
        {"mixup": 0.4, "cutmix": 1.0, "erasing": 0.5},
        {"auto_augment": "trivialaugment"},
    ],
    ids=lambda changes: " ".join(changes) or "plain",
)
def test_captured_steps_are_the_eager_ones(
    caplog: pytest.LogCaptureFixture, images: ImageSet, changes: dict[str, float]
) -> None:
    recipe = dataclasses.replace(RECIPE, **changes)  # type: ignore[arg-type]
    teacher = network(seed=1) if recipe.distillation else None
    assert_captured_is_eager(caplog, images, recipe, teacher=teacher)


@pytest.mark.parametrize("penalty", ["batchnorm_l1", "group_lasso", "group_norm"])
def test_penalties_are_captured(
    caplog: pytest.LogCaptureFixture, images: ImageSet, penalty: str
) -> None:
    model = network()
    sparsity = channel_penalty(model, Sparsity(penalty, 0.01, 0.5))
    trained = assert_captured_is_eager(caplog, images, model=model, penalty=sparsity)
    plain = network()
    train(plain, images, RECIPE, 3, compute=EAGER)
    assert not torch.equal(trained.state_dict()["fc.weight"], plain.state_dict()["fc.weight"])


def test_backward_graphs_that_are_alive_do_not_hinder_a_capture(
    caplog: pytest.LogCaptureFixture, images: ImageSet
) -> None:
    model = network()
    loss = model(images.images[:2].to(DEVICE).float()).sum()
    nodes = [get_gradient_edge(p).node for p in model.parameters()]
    assert_captured_is_eager(caplog, images, model=model)
    for parameter, node in zip(model.parameters(), nodes, strict=True):
        assert get_gradient_edge(parameter).node is not node
    assert loss.grad_fn is not None


def test_pictures_from_files_are_captured(
    caplog: pytest.LogCaptureFixture, images: ImageSet, tmp_path: Path
) -> None:
    names = [f"{i}.png" for i in range(len(images))]
    for name, pixels in zip(names, images.images, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / name)
    files = ImageFiles(
        tmp_path,
        np.frombuffer("".join(names).encode(), dtype=np.uint8),
        np.cumsum([len(name) for name in names]),
        images.labels,
        images.mean,
        images.spread,
        SIDE,
        1.0,
    )
    from_files = assert_captured_is_eager(caplog, files)
    resident = network()
    train(resident, images, RECIPE, 3, compute=CAPTURED)
    assert_alike(from_files, resident)


def test_what_is_not_taken_often_has_no_graph(
    caplog: pytest.LogCaptureFixture, images: ImageSet
) -> None:
    caplog.set_level(logging.INFO, "prune3d")
    train(network(), images, dataclasses.replace(RECIPE, epochs=3), 0, compute=CAPTURED)
    assert "steps of 16 images are captured" in caplog.text


def test_a_resumed_training_ends_as_the_undisturbed_one(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prune3d.train import trainer

    recipe = dataclasses.replace(RECIPE, ema=0.9)
    undisturbed, resumed = network(), network()
    expected = train(undisturbed, images, recipe, 3, compute=CAPTURED).history
    run = trainer.Trainer.epoch

    def killed(self: trainer.Trainer, epoch: int, progress: object) -> dict[str, object]:
        if epoch == 2:
            raise KeyboardInterrupt
        return run(self, epoch, progress)  # type: ignore[arg-type]

    state = ResumeFile(tmp_path / "state.safetensors", "x")
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train(network(), images, recipe, 3, state, compute=CAPTURED)
    history = train(resumed, images, recipe, 3, state, compute=CAPTURED).history
    assert history == expected
    weights = undisturbed.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in resumed.state_dict().items())


class Own(nn.Module):
    """A small network with something between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 10)

    def between(self, x: Tensor) -> Tensor:
        """Change the activations."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        x = self.between(F.relu(self.norm(self.conv(x))))
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


class Dropping(Own):
    """Draws random numbers on the device, which a graph can do."""

    def between(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.2, self.training)


class Starting(Own):
    """Takes the mean of the first images that it sees, which must not be noise."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor | None = None

    def between(self, x: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = x.detach().mean((0, 2, 3), keepdim=True)
        return x - self.mean


class Beginning(Own):
    """The same, told by a flag, into a buffer that is made then."""

    def between(self, x: Tensor) -> Tensor:
        if not hasattr(self, "begun"):
            self.begun = True
            self.register_buffer("mean", x.detach().mean((0, 2, 3), keepdim=True))
        return x - self.mean


class Counting(Own):
    """Counts its passes."""

    passes = 0

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def between(self, x: Tensor) -> Tensor:
        self.passes += 1
        return x * min(1.0, self.passes / 10)


class Replacing(Own):
    """Puts a new tensor in the place of a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def between(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().float().mean((0, 2, 3))
        return x - self.mean.view(1, -1, 1, 1)


class Gambling(Own):
    """Leaves its layer out now and then, as Python's random numbers have it."""

    def between(self, x: Tensor) -> Tensor:
        return 2 * x if random.random() < 0.01 else x


class NumpyDrawing(Own):
    """The same with numpy."""

    def between(self, x: Tensor) -> Tensor:
        return x * float(np.random.uniform(0.9, 1.1))


class Alternating(Own):
    """Takes another path in every other pass, told by something that is not looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = iter([i % 2 for i in range(10**4)])

    def between(self, x: Tensor) -> Tensor:
        return F.relu(x) * 2 if next(self.turn) else x


class Waiting(Own):
    """Looks at a number on the device."""

    def between(self, x: Tensor) -> Tensor:
        return x if float(x.detach().mean()) > 1e9 else x * 1.5


def own(kind: type[Own]) -> nn.Module:
    """Return an own network with the specification that a training asks for."""
    torch.manual_seed(0)
    model = kind()
    set_spec(model, get_spec(network()))
    return model.to(DEVICE)


@pytest.mark.parametrize("kind", [Own, Dropping])
def test_networks_that_can_be_captured_are(
    caplog: pytest.LogCaptureFixture, images: ImageSet, kind: type[Own]
) -> None:
    assert_captured_is_eager(caplog, images, model=own(kind))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Counting, "the network keeps 'passes'"),
        (Replacing, "the network puts a new tensor into 'mean'"),
        (Starting, "the network puts a new tensor into 'mean'"),
        (Beginning, "the network keeps 'begun'"),
        (Gambling, "draws random numbers on the processor"),
        (NumpyDrawing, "draws random numbers on the processor"),
        (Alternating, "operations differ"),
        (Waiting, "reads a number from a tensor (" + __file__ + ", line"),
    ],
)
def test_networks_that_change_from_step_to_step_are_trained_eagerly(
    caplog: pytest.LogCaptureFixture,
    images: ImageSet,
    kind: type[Own],
    reason: str,
) -> None:
    model = own(kind)
    if kind is Alternating:
        # An iterator cannot be put back, nor copied.
        caplog.set_level(logging.INFO, "prune3d")
        train(model, images, RECIPE, 0, compute=CAPTURED)
        assert reason in caplog.text
    else:
        assert_captured_is_eager(caplog, images, model=model, refused=reason)


def test_an_error_of_the_network_is_told_with_its_place(
    caplog: pytest.LogCaptureFixture, images: ImageSet
) -> None:
    calls: list[int] = []

    class Failing(Own):
        def between(self, x: Tensor) -> Tensor:
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("not while\nwarming up")
            return x

    caplog.set_level(logging.INFO, "prune3d")
    model = own(Failing)
    history = train(model, images, RECIPE, 0, compute=CAPTURED).history
    assert "without a CUDA graph: not while (" in caplog.text
    assert f"{Path(__file__).name}, line" in caplog.text
    assert len(history) == RECIPE.epochs

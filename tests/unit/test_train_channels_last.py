"""Batch norm for channels that lie side by side, against torch's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import prune3d
from prune3d.data.images import ImageSet
from prune3d.errors import TrainingError
from prune3d.train import Recipe, train
from prune3d.train.channels_last import (
    FoldedBatchNorm2d,
    fold_batch_norms,
    unfold_batch_norms,
)

Network = Callable[..., nn.Module]


def norms(channels: int, dtype: torch.dtype) -> tuple[nn.BatchNorm2d, nn.Sequential]:
    """Return torch's and a folded batch norm with the same random weights."""
    theirs = nn.BatchNorm2d(channels, dtype=dtype)
    with torch.no_grad():
        theirs.weight.normal_()
        theirs.bias.normal_()
    ours = nn.Sequential(copy.deepcopy(theirs))
    fold_batch_norms(ours)
    return theirs, ours


def side_by_side(*shape: int, dtype: torch.dtype) -> Tensor:
    values = 3 + 2 * torch.randn(shape, dtype=dtype)
    return values.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize(
    "shape", [(4, 5, 6, 7), (2, 1, 3, 3), (8, 17, 1, 1), (1, 3, 2, 2), (2, 40, 8, 1)]
)
def test_outputs_gradients_and_statistics_are_those_of_torch(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    theirs, ours = norms(shape[1], torch.float64)
    assert type(ours[0]) is FoldedBatchNorm2d
    for _ in range(3):
        x = side_by_side(*shape, dtype=torch.float64)
        y = x.detach().clone().requires_grad_()
        weights = torch.randn(shape, dtype=torch.float64)
        outputs = ours(x), theirs(y)
        for output in outputs:
            (output * weights).square().sum().backward()
        torch.testing.assert_close(outputs[0], outputs[1])
        torch.testing.assert_close(x.grad, y.grad)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[f"0.{name}"], value)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(dict(ours[0].named_parameters())[name].grad, parameter.grad)


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    _, ours = norms(3, torch.float64)
    assert torch.autograd.gradcheck(ours, side_by_side(2, 3, 2, 2, dtype=torch.float64))


def test_a_large_mean_does_not_cost_the_variance() -> None:
    torch.manual_seed(0)
    _, ours = norms(3, torch.float32)
    x = (1000 + torch.randn(16, 3, 8, 8)).contiguous(memory_format=torch.channels_last)
    nn.init.ones_(ours[0].weight)
    ours(x)
    exact = 0.9 + 0.1 * x.double().transpose(0, 1).flatten(1).var(1)
    torch.testing.assert_close(ours[0].running_var.double(), exact, rtol=1e-4, atol=0)


def test_what_cannot_be_folded_is_left_to_torch() -> None:
    torch.manual_seed(0)
    theirs, ours = norms(5, torch.float32)
    x = torch.randn(4, 5, 6, 6)
    assert torch.equal(ours(x), theirs(x))  # contiguous
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(ours.eval()(last), theirs.eval()(last))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ours.train()(torch.randn(1, 5, 1, 1))


class Doubled(nn.BatchNorm2d):
    """A batch norm of a user's own, which must be left alone."""

    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Twice(nn.Module):
    """One norm at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.norm(x).relu_() + x)


class Added(nn.Module):
    """A sum in place, as in residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(x)
        out += x
        return out.clamp_(-1, 1)


def frozen_norm() -> nn.BatchNorm2d:
    return nn.BatchNorm2d(5).requires_grad_(False)


def judging_norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(5)
    norm.train = lambda mode=True: norm  # type: ignore[method-assign, misc]
    norm.training = False
    return norm


def uncounted_norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(5)
    norm.num_batches_tracked = None
    return norm


BEHIND: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.Sequential(nn.BatchNorm2d(5), nn.ReLU(inplace=True)),
    "relu6": lambda: nn.Sequential(nn.BatchNorm2d(5), nn.ReLU6(inplace=True)),
    "hardswish": lambda: nn.Sequential(nn.BatchNorm2d(5), nn.Hardswish(inplace=True)),
    "silu": lambda: nn.Sequential(nn.BatchNorm2d(5), nn.SiLU(inplace=True)),
    "leaky": lambda: nn.Sequential(nn.BatchNorm2d(5), nn.LeakyReLU(inplace=True)),
    "dropout": lambda: nn.Sequential(nn.BatchNorm2d(5), nn.Dropout(0.0, inplace=True)),
    "added": Added,
    "twice": Twice,
    "subclass": lambda: Doubled(5),
    "no parameters": lambda: nn.BatchNorm2d(5, affine=False),
    "no statistics": lambda: nn.BatchNorm2d(5, track_running_stats=False),
    "cumulative": lambda: nn.BatchNorm2d(5, momentum=None),
    "no counter": uncounted_norm,
    "frozen": lambda: nn.Sequential(frozen_norm(), nn.ReLU(inplace=True)),
    "judging": lambda: nn.Sequential(judging_norm(), nn.ReLU(inplace=True)),
}


@pytest.mark.parametrize("kind", BEHIND)
def test_gradients_are_torchs_whatever_the_norm_and_what_follows_in_place(kind: str) -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 5, 3), BEHIND[kind](), nn.Conv2d(5, 2, 3)).double()
    theirs.to(memory_format=torch.channels_last)
    ours = copy.deepcopy(theirs)
    fold_batch_norms(ours)
    images = side_by_side(4, 3, 8, 8, dtype=torch.float64)
    weights = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    for _ in range(2):
        for model in (ours, theirs):
            (model(images) * weights).sum().backward()
    for (name, parameter), other in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, msg=name)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5), (4, 6, 3, 3)])
def test_inputs_that_torch_refuses_are_refused_alike(shape: tuple[int, ...]) -> None:
    theirs, ours = norms(5, torch.float32)
    errors = []
    for norm in (theirs, ours):
        with pytest.raises((ValueError, RuntimeError)) as error:
            norm(torch.randn(shape))
        errors.append(str(error.value))
    assert errors[0] == errors[1]


def test_second_derivatives_are_refused_instead_of_being_wrong() -> None:
    _, ours = norms(5, torch.float64)
    x = side_by_side(2, 5, 4, 4, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(ours(x).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_only_what_is_faster_is_folded_and_all_is_undone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(16), nn.BatchNorm2d(13), nn.BatchNorm2d(32))
    fold_batch_norms(model)
    assert [type(m) is FoldedBatchNorm2d for m in model] == [False, True, False]
    unfold_batch_norms(model)
    assert all(type(m) is nn.BatchNorm2d for m in model)


@pytest.mark.parametrize("learning_rate", [0.1, 1e30])
def test_a_trained_network_has_torchs_batch_norms(
    make_network: Network, learning_rate: float
) -> None:
    model = prune3d.prune(make_network("resnet8", size=8), width=0.6)
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (32, 3, 8, 8), generator=generator).byte()
    images = ImageSet(pixels, torch.arange(32) % 10, (0.5,) * 3, (0.25,) * 3)
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=learning_rate)
    diverges = learning_rate > 1
    with pytest.raises(TrainingError) if diverges else nullcontext():
        train(model, images, recipe, seed=0)
    kinds = {type(m) for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert kinds == {nn.BatchNorm2d}


VOLUMES = """import torch
from torch import nn


class Volumes(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.deep = nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1))
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x))).unsqueeze(2)
        return self.head(torch.relu(self.deep(x)).mean((2, 3, 4)))


def build(num_classes):
    return Volumes(num_classes)
"""


def test_networks_with_convolutions_of_volumes_are_trained(tmp_path: Path) -> None:
    (tmp_path / "volumes.py").write_text(VOLUMES)
    model = prune3d.build(f"{tmp_path / 'volumes.py'}:build", 4, 8)
    before = model.deep.weight.detach().clone()
    pixels = torch.randint(0, 256, (16, 3, 8, 8), generator=torch.Generator().manual_seed(4)).byte()
    images = ImageSet(pixels, torch.arange(16) % 4, (0.5,) * 3, (0.25,) * 3)
    train(model, images, Recipe(epochs=1, batch_size=8), seed=0)
    assert not torch.equal(model.deep.weight, before)

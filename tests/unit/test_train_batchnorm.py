"""Batch norm that processes share, in one process, against torch's own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from prune3d.errors import UserError
from prune3d.train.batchnorm import (
    ActivatedSynchronizedBatchNorm,
    SharedBatchNorm2d,
    SynchronizedBatchNorm,
    share_batch_norm,
)

KINDS: dict[str, Callable[[], nn.BatchNorm2d]] = {
    "usual": lambda: nn.BatchNorm2d(5),
    "no parameters": lambda: nn.BatchNorm2d(5, affine=False),
    "no statistics": lambda: nn.BatchNorm2d(5, track_running_stats=False),
    "neither": lambda: nn.BatchNorm2d(5, affine=False, track_running_stats=False),
    "cumulative": lambda: nn.BatchNorm2d(5, momentum=None),
    "frozen": lambda: nn.BatchNorm2d(5).requires_grad_(False),
}


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("judging", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_alone_it_is_torchs_batch_norm(kind: str, judging: bool) -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 5, 3), KINDS[kind](), nn.ReLU(inplace=True))
    ours = copy.deepcopy(theirs)
    share_batch_norm(ours, torch.device("cpu"))
    assert type(ours[1]) is SharedBatchNorm2d
    images = torch.randn(4, 3, 8, 8)
    weights = torch.randn(4, 5, 6, 6)
    for _ in range(2):
        for model in (ours, theirs):
            model[1].train(not judging)
            (model(images) * weights).sum().backward()
    for parameter, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-4)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


@pytest.mark.parametrize("kind", KINDS)
def test_on_gpus_it_is_torchs_shared_one_with_the_same_tensors(kind: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), KINDS[kind]())
    model(torch.randn(4, 3, 8, 8))
    before, images = model.state_dict(keep_vars=True), torch.randn(4, 3, 8, 8)
    expected = model.eval()(images)
    share_batch_norm(model, torch.device("cuda"))
    made = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(KINDS[kind]()))[0]
    assert type(model[1]) is SynchronizedBatchNorm and isinstance(model[1], type(made))
    assert vars(model[1]).keys() == vars(made).keys()
    assert all(model.state_dict(keep_vars=True)[name] is value for name, value in before.items())
    assert torch.equal(model(images), expected)


def test_a_process_without_images_sends_what_the_others_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch's own needs a GPU, and takes the dtype of its statistics from an empty input."""
    model, given = nn.Sequential(nn.BatchNorm2d(5)), []
    share_batch_norm(model, torch.device("cuda"))

    def note(self: nn.Module, input: torch.Tensor) -> torch.Tensor:
        given.append(input.dtype)
        return input

    monkeypatch.setattr(nn.SyncBatchNorm, "forward", note)
    for count in (0, 1):
        model(torch.zeros(count, 5, 4, 4, dtype=torch.bfloat16))
    assert given == [torch.float32, torch.bfloat16]


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("judging", [False, True])
def test_timms_norms_with_an_activation_are_shared_too(judging: bool) -> None:
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 5, 3), layers.BatchNormAct2d(5, act_layer=nn.SiLU))
    ours, on_gpus = copy.deepcopy(theirs), copy.deepcopy(theirs)
    share_batch_norm(ours, torch.device("cpu"))
    share_batch_norm(on_gpus, torch.device("cuda"))
    assert type(on_gpus[1]) is ActivatedSynchronizedBatchNorm
    images, weights = torch.randn(4, 3, 8, 8), torch.randn(4, 5, 6, 6)
    outputs = []
    for model in (ours, theirs):
        model[1].train(not judging)
        outputs.append(model(images))
        (outputs[-1] * weights).sum().backward()
    torch.testing.assert_close(*outputs)
    for parameter, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-4)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_other_kinds_are_refused(device: str) -> None:
    model = nn.Sequential(nn.Conv1d(3, 5, 3), nn.BatchNorm1d(5))
    with pytest.raises(UserError, match=r"layer '1' is a BatchNorm1d, .* or one process"):
        share_batch_norm(model, torch.device(device))

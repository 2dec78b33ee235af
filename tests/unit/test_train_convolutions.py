"""Strided convolutions of one pixel: torch's numbers without the kernel in question."""

from __future__ import annotations

import copy
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import prune3d
from prune3d.data.images import ImageSet, ImageSplits
from prune3d.pruning import PruningOptions
from prune3d.train import Compute, Recipe, train
from prune3d.train.convolutions import avoid_faulty_kernel

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
RECIPE = Recipe(epochs=1, batch_size=8, learning_rate=0.01, distillation=0.5)
OWN = '''
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint


class Functional(nn.Module):
    """A weight of its own, convolved by a function."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))

    def forward(self, x):
        return F.conv2d(x, weight=self.weight, stride=2)


class Standardized(nn.Conv2d):
    """Weights standardized before each pass."""

    def forward(self, x):
        weight = self.weight - self.weight.mean()
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1, stride=2, padding=1)
        self.a = Functional(6, 7)
        self.b = Standardized(7, 5, 1, stride=(2, 1))
        self.c = nn.Sequential(nn.Conv2d(5, 5, 1, stride=3, groups=5), nn.BatchNorm2d(5))
        self.fc = nn.Linear(5, classes)

    def forward(self, x):
        x = self.a(torch.relu(self.stem(x)))
        x = checkpoint(self.b, x, use_reentrant=False)
        return self.fc(self.c(x).mean((2, 3)))


def make(num_classes):
    return Net(num_classes)
'''


@pytest.fixture
def mended() -> Iterator[None]:
    """Return with the gradients of prune3d's trainings."""
    library = avoid_faulty_kernel()
    yield
    library._destroy()
    avoid_faulty_kernel.cache_clear()


def some_images(side: int) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (16, 3, side, side), generator=generator).byte()
    return ImageSet(pixels, torch.arange(16) % 5, (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2, (1, 3), [4, 2]])
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradients_are_those_of_torch(
    request: pytest.FixtureRequest,
    kernel: int,
    stride: int | Sequence[int],
    layout: torch.memory_format,
) -> None:
    cases = list(product((0, 1, (2, 1), "valid"), (1, 2), (5, 8), (True, False)))
    expected = [gradients(kernel, stride, layout, *case) for case in cases]
    request.getfixturevalue("mended")
    for case, theirs in zip(cases, expected, strict=True):
        for ours, other in zip(gradients(kernel, stride, layout, *case), theirs, strict=True):
            torch.testing.assert_close(ours, other, msg=str(case))


def gradients(
    kernel: int,
    stride: int | Sequence[int],
    layout: torch.memory_format,
    padding: Any,
    groups: int,
    side: int,
    of_input: bool,
) -> Sequence[Tensor]:
    torch.manual_seed(0)
    x = torch.randn(3, 4, side, side, dtype=torch.float64).to(memory_format=layout)
    weight = torch.randn(6, 4 // groups, kernel, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    output = F.conv2d(x.requires_grad_(of_input), weight, bias, stride, padding, groups=groups)
    leaves = [weight, bias, x] if of_input else [weight, bias]
    return torch.autograd.grad(output.square().sum(), leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_of_sequences_are_those_of_torch(
    request: pytest.FixtureRequest, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv1d(4, 6, 1, stride=2, padding=1).to(dtype)
    x = torch.randn(2, 9, 4, dtype=dtype).transpose(1, 2)
    theirs = torch.autograd.grad(layer(x).sum(), list(layer.parameters()))
    request.getfixturevalue("mended")
    for ours, other in zip(
        torch.autograd.grad(layer(x).sum(), list(layer.parameters())), theirs, strict=True
    ):
        torch.testing.assert_close(ours, other)


@pytest.mark.parametrize(("side", "stride"), [(1, 2), (1, 3), (2, 3), (2, 4), (3, 4), (3, 2)])
@pytest.mark.parametrize("groups", [1, 8])
def test_gradients_of_strides_longer_than_the_image_are_written(
    mended: None, side: int, stride: int, groups: int
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(24, 32, 3, stride, padding=1, groups=groups)
    exact = copy.deepcopy(layer.bfloat16()).double()
    layer.to(memory_format=torch.channels_last)
    x = torch.randn(4, 24, side, side).bfloat16().to(memory_format=torch.channels_last)
    litter = [torch.full(layer.weight.shape, 1e9, dtype=torch.bfloat16) for _ in range(64)]
    del litter  # what is left unwritten is this
    ours = torch.autograd.grad(layer(x).sum(), list(layer.parameters()))
    theirs = torch.autograd.grad(exact(x.double()).sum(), list(exact.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=0.05, atol=0.05)


SCAN = Path(__file__).resolve().parents[1] / "bench/scan_convolutions.py"


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["AVX2", "ALL"])
def test_few_of_the_scan_are_right(instructions: str) -> None:
    limits = ["--isa", instructions, "--count", "500", "--seconds", "10", "--mended"]
    done = subprocess.run(
        [sys.executable, str(SCAN), *limits], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.findall(r"(\d+) right", done.stdout)
    assert len(told) == 2 and all(int(number) > 0 for number in told)


CHILD = """
import sys, torch
sys.path[:0] = {paths!r}
import test_train_convolutions as tests
torch.set_num_threads(1)
tests.train_and_score({own!r}, {layout!r})
print("ended")
"""


def train_and_score(own: str, layout: str) -> None:
    """Train a narrow network and one of a user's own, each after the other, and score channels."""
    torch.manual_seed(0)
    dense = prune3d.build("resnet8", 5, 16)
    narrow = prune3d.prune(dense, width=0.3, options=PruningOptions(channel_criterion="random"))
    other, compute = prune3d.build(own, 5, 16), Compute(channels_last=layout)
    for network, teacher in ((narrow, other), (other, narrow)):
        train(network, some_images(16), RECIPE, seed=0, teacher=teacher, compute=compute)
    parts = ImageSplits(some_images(16), some_images(16))
    taylor = PruningOptions(channel_criterion="taylor")
    dense.to(memory_format=torch.channels_last)
    prune3d.prune(dense, width=0.5, options=taylor, images=parts)


@pytest.mark.slow
@pytest.mark.parametrize("instructions", ["AVX2", "SSE41", "DEFAULT"])
@pytest.mark.parametrize("layout", ["auto", "never"])
def test_no_training_and_no_criterion_runs_the_kernel(
    tmp_path: Path, layout: str, instructions: str
) -> None:
    (tmp_path / "net.py").write_text(OWN)
    paths = [str(SCRIPTS), str(Path(__file__).parent)]
    code = CHILD.format(paths=paths, own=f"{tmp_path / 'net.py'}:make", layout=layout)
    limits = {"ONEDNN_MAX_CPU_ISA": instructions, "ONEDNN_VERBOSE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **limits},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("ended\n")
    lines = [x for x in done.stdout.splitlines() if "convolution" in x and "backward_w" in x]
    assert lines or platform.machine() not in ("x86_64", "AMD64")
    assert not [x for x in lines if re.search(r"kh1sh[2-9]", x)]

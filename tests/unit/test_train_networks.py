"""Every kind of network, dense and narrow, has on CPUs the gradients of the plain network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import prune3d
from prune3d.data.images import ImageSet
from prune3d.models import MODELS
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.models.registry import usual_size
from prune3d.pruning import PruningOptions
from prune3d.train import Compute, Recipe, train
from prune3d.train.channels_last import FoldedBatchNorm2d, fold_batch_norms
from prune3d.train.convolutions import UnstridedConv2d, remove_strides, restore_strides
from prune3d.train.trainer import begin_training

OWN = Path(__file__).parent / "own"
FOREIGN = (
    *("aux_tuple", "aux_dict", "named", "tied", "frozen", "folded"),
    *("reads_attributes", "reads_layers", "twice", "remembers", "lazy", "parallel_inside"),
    *("synchronized", "branches_by_sizes", "single_block", "instance_normed", "clamped"),
    "spectrally_normed",
)
NETWORKS = ("Plain", "Residual", "Staged", "Shuffled", "UnequalGroups", "Unused", "GroupNormed")
TIMM = (
    *("resnet10t", "resnext26ts", "convnext_atto", "regnetx_002", "ghostnet_100"),
    *("mobilenetv3_small_100", "cspresnet50", "res2net50_26w_4s", "mobilevit_xxs"),
)
CLASSES, IMAGES = 5, 4


# What they compute mixes all channels, or cannot be taken apart.
DENSE_ONLY = ("operators", "fourier")
missing = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


def networks() -> Iterator[object]:
    """Yield name, image side and width of each network; large ones with the smallest maps."""
    kinds = [
        *((name, name, 16 if usual_size(name)[1] == 32 else 64) for name in MODELS),
        *((name, f"timm/{name}", 64) for name in TIMM),
        *((name, f"{OWN / 'foreign.py'}:{name}", 16) for name in (*FOREIGN, *DENSE_ONLY)),
        *((name, f"{OWN / 'networks.py'}:{name}", 16) for name in NETWORKS),
    ]
    for known, name, side in kinds:
        marks = [missing] if name.startswith("timm/") else []
        for width in (1.0, 0.7)[: 1 if known in DENSE_ONLY else 2]:
            yield pytest.param(name, side, width, id=f"{known}-{width}", marks=marks)


def build(name: str, side: int, width: float) -> nn.Module:
    """Build a network, narrow where it can be, without what is random while training."""
    torch.manual_seed(0)
    model = prune3d.build(name, CLASSES, side)
    if width < 1:
        model = prune3d.prune(model, width=width, options=PruningOptions(channel_criterion="l1"))
    for module in model.modules():
        for probability in ("p", "drop_prob", "drop_rate"):
            if isinstance(getattr(module, probability, None), float):
                setattr(module, probability, 0.0)
    return model


def images(side: int) -> ImageSet:
    pixels = torch.randint(0, 256, (IMAGES, 3, side, side), generator=torch.manual_seed(1)).byte()
    return ImageSet(pixels, torch.arange(IMAGES) % CLASSES, (0.5,) * 3, (0.25,) * 3)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}


def plain(
    model: nn.Module, data: ImageSet, layout: torch.memory_format = torch.contiguous_format
) -> dict[str, Tensor]:
    """Return the gradients of the loss as torch has them in double precision."""
    model.double().to(memory_format=layout)
    begin_training(model)
    x = ((data.images.double() / 255 - 0.5) / 0.25).to(memory_format=layout)
    F.cross_entropy(model(x), data.labels).backward()
    return gradients(model)


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return how far gradients are apart, as a part of their length."""
    assert found.keys() == expected.keys()
    off = sum(float((found[n] - expected[n]).square().sum()) for n in expected)
    return math.sqrt(off / sum(float(g.square().sum()) for g in expected.values()))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side", "width"), list(networks()))
def test_a_network_trains_on_the_gradients_of_the_plain_one(
    name: str, side: int, width: float
) -> None:
    model, data = build(name, side, width), images(side)
    exact = plain(copy_network(model), data)

    mended = copy_network(model)
    fold_batch_norms(mended)
    remove_strides(mended)
    assert distance(plain(mended, data, torch.channels_last), exact) < 1e-8

    steps: list[dict[str, Tensor]] = []
    recipe = Recipe(
        epochs=3, batch_size=IMAGES, learning_rate=1e-3, warmup_epochs=0, shift=0, flip=False
    )
    trained = train(
        model,
        data,
        recipe,
        seed=0,
        penalty=lambda network: steps.append(gradients(network)),
        compute=Compute(channels_last="always"),
    )
    # A unit that rounding puts on the other side of zero moves gradients by up to a twentieth.
    assert distance(steps[0], exact) < 0.1
    assert len(steps) == 3
    assert all(math.isfinite(row["train_loss"]) for row in trained.history)
    assert not [m for m in model.modules() if isinstance(m, FoldedBatchNorm2d | UnstridedConv2d)]


class Convolutions(TorchDispatchMode):
    """Notes kernels and strides of the convolutions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if function is torch.ops.aten.convolution.default:
            self.seen.add((tuple(args[1].shape[2:]), tuple(args[3])))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", MODELS)
def test_no_registered_network_strides_over_pixels_once_strides_are_removed(name: str) -> None:
    model = prune3d.build(name, CLASSES, 32).train()
    x = torch.zeros(2, 3, get_spec(model).side, get_spec(model).side)
    remove_strides(model)
    with Convolutions() as calls:
        model(x)
    assert calls.seen
    assert not [c for c in calls.seen if max(c[0]) == 1 < max(c[1])]
    changed = [m for m in model.modules() if isinstance(m, UnstridedConv2d)]
    restore_strides(model)
    assert all(type(m) is nn.Conv2d for m in changed)

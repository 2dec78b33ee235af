"""Whether a pruned network computes what the unpruned one does with silent channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.costs.count import pass_image
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.models.registry import MODELS
from prune3d.models.shapes import tensors_of
from prune3d.pruning.channels.follow import image_of
from prune3d.pruning.channels.groups import ChannelGraph
from prune3d.pruning.channels.silent import silent_outputs
from prune3d.pruning.channels.trace import TraceError

IMAGES = 4
# Of what varies from image to image, and of the outputs themselves.
TOLERANCE, ROUNDING = 1e-3, 1e-5


@contextmanager
def full_float32() -> Iterator[None]:
    """Keep GPUs from rounding what convolutions and products read to TF32.

    Its 10 bits of mantissa are torch's default for convolutions, and leave differences above
    `TOLERANCE`.
    """
    cudnn: Any = torch.backends.cudnn  # the stubs of its module lack `conv`
    backends = (cudnn.conv, torch.backends.cuda.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


@full_float32()
def expected_outputs(
    model: nn.Module, graph: ChannelGraph, kept: Mapping[str, Tensor]
) -> Tensor | None:
    """Return what the network must compute without some channels.

    Returns
    -------
    Tensor or None
        Shape (images, classes); None for a network whose outputs are random.
    """
    images = image_of(model, IMAGES)
    known = get_spec(model).name in MODELS  # none of which is random
    if not known and not torch.equal(pass_image(model, images), pass_image(model, images)):
        return None
    training = model.training
    try:
        return silent_outputs(model.eval(), graph, kept, images)
    except TraceError as error:
        raise PruningError(
            f"{get_spec(model).name} cannot be pruned along width: it takes one image but not "
            f"{IMAGES} ('{error.module}': {error.reason})."
        ) from None
    finally:
        model.train(training)


@full_float32()
def compare(model: nn.Module, expected: Tensor) -> None:
    """Refuse a pruned network that does not compute what is expected.

    What is the same for all images, such as a bias, is taken off first: beside it a wrong branch
    would be small.

    Raises
    ------
    PruningError
        If the layers do not fit together, or channels were mixed up on the way.
    """
    spec = get_spec(model)
    try:
        found = pass_image(model, image_of(model, IMAGES))
    except Exception as error:
        text = " ".join(str(error).split())
        raise PruningError(
            f"{spec.name} cannot be pruned along width: its layers no longer fit together ({text})."
        ) from None
    wrong = found.shape != expected.shape
    if not wrong:
        varies = (expected - expected.mean(0)).abs().max()
        difference = (found - found.mean(0)) - (expected - expected.mean(0))
        allowed = TOLERANCE * varies + ROUNDING * expected.abs().max() + 1e-7
        # A comparison with NaN is false.
        wrong = not bool(difference.abs().max() <= allowed)
    if wrong:
        raise PruningError(
            f"{spec.name} cannot be pruned along width: without the removed channels it does not "
            "compute what it computes when they are silent; an operation mixes channels in a way "
            "that is not understood."
        )


def liven(model: nn.Module, seed: int = 0) -> None:
    """Draw norms and constant parameters at random, in place, so that every branch counts.

    The last scale of a residual branch often starts at zero, and hides what is wrong in it.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: Tensor, low: float, high: float) -> None:
        values = torch.rand(tensor.shape, generator=generator) * (high - low) + low
        tensor.copy_(values)

    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    inside = {id(t) for norm in norms for t in tensors_of(norm).values()}
    with torch.no_grad():
        for norm in norms:
            for key, low, high in (
                ("weight", 0.5, 1.5),
                ("bias", -0.3, 0.3),
                ("running_mean", -0.2, 0.2),
                ("running_var", 0.5, 1.5),
            ):
                if getattr(norm, key, None) is not None:
                    draw(getattr(norm, key), low, high)
        for parameter in model.parameters():
            constant = parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all())
            if constant and id(parameter) not in inside and parameter.is_floating_point():
                draw(parameter, 0.5, 1.5)

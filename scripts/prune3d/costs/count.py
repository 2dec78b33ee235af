"""What a network costs: multiply-accumulates (MACs) and parameters.

A MAC is one multiplication and one addition of a convolution or a matrix product, for one image:
layers, attention and functional operators alike. Norms, activations, pooling and biases are not
counted. `torch.utils.flop_counter` counts the same operations at two a MAC.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from prune3d.costs.layers import LayerCounter
from prune3d.costs.ratios import side_of
from prune3d.errors import PruningError, what_failed
from prune3d.models.assembly import dense_skeleton, get_spec
from prune3d.models.foreign import copy_network
from prune3d.models.registry import MODELS
from prune3d.models.spec import NetworkSpec


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one image.

    Attributes
    ----------
    macs
        Multiply-accumulates of convolutions, linear layers and other matrix products.
    params
        Parameters, trainable or not; one that several layers share counts once.
    """

    macs: int
    params: int


def cost(model: nn.Module, resolution: float | None = None) -> Cost:
    """Measure a network built by `prune3d.build`.

    Parameters
    ----------
    model
        The network, pruned or not.
    resolution
        Image side relative to the dense network's, in (0, 1]; by default the side that the network
        is meant for now.

    Returns
    -------
    Cost
        Counted in a forward pass.

    Examples
    --------
    >>> import prune3d
    >>> model = prune3d.build("resnet20", num_classes=10, image_size=32)
    >>> prune3d.cost(model)
    Cost(macs=40813184, params=272474)
    >>> prune3d.cost(model, resolution=0.5).macs
    10203776
    """
    spec = get_spec(model)
    side = spec.side if resolution is None else side_of(resolution, spec.image_size)
    return Cost(sum(module_macs(model, side).values()), sum(p.numel() for p in model.parameters()))


def module_macs(model: nn.Module, side: int) -> dict[str, int]:
    """Return the MACs that each module itself makes for one image, by the module's name.

    Parameters
    ----------
    model
        The network. Where its layers make all MACs, a batch without images is passed through it,
        which does no arithmetic; else an image, and every operator is counted. (Torch's meta device
        would do as well, but takes seconds to load.)
    side
        Image side in pixels.

    Returns
    -------
    dict
        A module's part is what its own code computes, not what modules inside it do; modules
        without any are missing.

    Raises
    ------
    PruningError
        If the network cannot take images of that side.
    """
    try:
        if layers_make_all(get_spec(model).dense()):
            return _layer_macs(model, side, images=0)
        return _operator_macs(model, side)
    except Exception as error:
        raise PruningError(
            f"{get_spec(model).name} cannot take images of {side}x{side} pixels "
            f"({what_failed(error)})."
        ) from None


@cache
def layers_make_all(spec: NetworkSpec) -> bool:
    """Tell whether convolutions and linear layers, called without an image, make all MACs."""
    if spec.name in MODELS:
        return True
    model = dense_skeleton(spec)
    try:
        return _layer_macs(model, spec.image_size, images=0) == _operator_macs(
            model, spec.image_size
        )
    except Exception:  # such as a view of an empty tensor; an image may do
        return False


def _layer_macs(model: nn.Module, side: int, images: int) -> dict[str, int]:
    """Count the layers that are called."""
    with LayerCounter(model) as counter:
        pass_image(model, torch.zeros(images, get_spec(model).in_channels, side, side))
    return counter.macs


def _operator_macs(model: nn.Module, side: int) -> dict[str, int]:
    """Count every operator, in the innermost module that runs."""
    from prune3d.costs.operators import OperatorCounter

    with OperatorCounter(model) as counter:
        pass_image(model, torch.zeros(1, get_spec(model).in_channels, side, side))
    return counter.macs


def counted_by_torch(model: nn.Module, images: int = 1) -> int:
    """Return the MACs that one image more makes by torch's `FlopCounterMode`.

    What is computed from weights alone is made once for any number of images, and falls out.

    Parameters
    ----------
    model
        The network.
    images
        To how many images the one is added.
    """
    from torch.utils.flop_counter import FlopCounterMode

    from prune3d.costs.operators import flop_formulas

    spec, totals = get_spec(model), []
    for count in (images, images + 1):
        counter = FlopCounterMode(display=False, custom_mapping=flop_formulas())
        with _without_gradients(model), counter:
            pass_image(model, torch.zeros(count, spec.in_channels, spec.side, spec.side))
        totals.append(counter.get_total_flops())
    return (totals[1] - totals[0]) // 2


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    """Let no parameter require gradients: torch's counter fails on views of those that do."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def macs_by_side(model: nn.Module) -> dict[int, dict[str, int]]:
    """Return for each image side that a network can take the MACs of its modules.

    Every side in pixels up to the dense one is tried, and from which of them on the network works
    with an image, and can be trained. See `module_macs`.
    """
    look = _known_at_sides if get_spec(model).name in MODELS else _at_sides
    found = look(model, range(get_spec(model).image_size, 0, -1))
    sides = sorted(found)
    if sides and not takes_side(model, sides[0]):
        sides = sides[bisect_left(sides, True, key=lambda side: takes_side(model, side)) :]
    return {side: found[side] for side in sides}


def _at_sides(model: nn.Module, sides: Iterable[int]) -> dict[int, dict[str, int]]:
    """Return the MACs at each side that a network can take."""
    found: dict[int, dict[str, int]] = {}
    for side in sides:
        with suppress(PruningError):
            found[side] = module_macs(model, side)
    return found


def _known_at_sides(model: nn.Module, sides: Iterable[int]) -> dict[int, dict[str, int]]:
    """Do so for a registered network, whose modules do the same for maps of the same size."""
    found: dict[int, dict[str, int]] = {}
    channels = get_spec(model).in_channels
    with LayerCounter(model, remember=True) as counter:
        for side in sides:
            counter.restart()
            with suppress(Exception):
                pass_image(model, torch.zeros(0, channels, side, side))
                found[side] = counter.macs
    return found


def legal_sides(model: nn.Module) -> tuple[int, ...]:
    """Return the image sides in pixels that a network can take, ascending, up to the dense one."""
    return tuple(macs_by_side(model))


def takes_side(model: nn.Module, side: int) -> bool:
    """Tell whether a network takes an image of a side in pixels, also while it is trained.

    Auxiliary heads, which run while training only, may need a larger one; and at a pixel or two
    there may be no variance, so that logits are no numbers.
    """
    spec = get_spec(model)
    images = torch.zeros(2, spec.in_channels, side, side)
    try:
        pass_image(model, images[:1])
        if spec.name not in MODELS:
            if not _gives_numbers(model, side) and _gives_numbers(model, spec.image_size):
                return False
            copied = copy_network(model, spec.name).train()
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                copied(images.to(next(model.parameters()).device))
    except Exception:
        return False
    return True


def _gives_numbers(model: nn.Module, side: int) -> bool:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, get_spec(model).in_channels, side, side, generator=generator)
    return bool(torch.isfinite(pass_image(model, images)).all())


def pass_image(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Pass images through a network, without gradients and in evaluation mode."""
    device = next(model.parameters()).device
    training = model.training
    if any(module.training for module in model.modules()):
        model.eval()
    try:
        with torch.no_grad():
            return model(images.to(device))
    finally:
        if training:
            model.train()

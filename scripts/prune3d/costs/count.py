"""What a network costs: multiply-accumulates (MACs) and parameters, counted layer by layer.

A MAC is one multiplication and one addition of a convolution or a linear layer, for one image.
Batch norms, activations, pooling and biases are not counted. `torch.utils.flop_counter` counts the
same operations at two a MAC.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prune3d.costs.ratios import side_of
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass over one image.

    Attributes
    ----------
    macs
        Multiply-accumulates of convolutions and linear layers.
    params
        Parameters, trainable or not.
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
    positions = output_positions(model, side)
    macs = sum(
        positions[name] * macs_per_position(layer) for name, layer in counted_layers(model).items()
    )
    return Cost(macs, sum(p.numel() for p in model.parameters()))


def counted_layers(model: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Return the layers whose MACs are counted, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def macs_per_position(layer: nn.Conv2d | nn.Linear) -> int:
    """Return a layer's MACs for one output position (a pixel of a feature map): its weights."""
    return layer.weight.numel()


def output_positions(model: nn.Module, side: int) -> dict[str, int]:
    """Return the number of output positions of each counted layer for one image.

    Parameters
    ----------
    model
        The network. A batch without images is passed through it, which does no arithmetic, or one
        image where the network refuses that. (Torch's meta device would do as well, but takes
        seconds to load.)
    side
        Image side in pixels.

    Raises
    ------
    PruningError
        If the network cannot take images of that side.
    """
    try:
        return _positions(model, side, images=0)
    except Exception:  # such as a view of an empty tensor; an image may do
        pass
    try:
        return _positions(model, side, images=1)
    except Exception as error:
        raise PruningError(
            f"{get_spec(model).name} cannot take images of {side}x{side} pixels ({error})."
        ) from None


def _positions(model: nn.Module, side: int, images: int) -> dict[str, int]:
    positions: dict[str, int] = {}

    def record(name: str) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            # The images are the first dimension; a convolution has its channels second, a linear
            # layer last.
            shape = output.shape[2:] if isinstance(layer, nn.Conv2d) else output.shape[1:-1]
            positions[name] = positions.get(name, 0) + math.prod(shape)

        return hook

    handles = [
        layer.register_forward_hook(record(name)) for name, layer in counted_layers(model).items()
    ]
    try:
        pass_image(model, torch.zeros(images, get_spec(model).in_channels, side, side))
    finally:
        for handle in handles:
            handle.remove()
    return positions


def legal_sides(model: nn.Module) -> tuple[int, ...]:
    """Return the image sides in pixels that a network can take, ascending, up to the dense one.

    Every side is tried without an image, the smallest one found with an image as well.
    """
    sides: list[int] = []
    for side in range(get_spec(model).image_size, 0, -1):
        try:
            output_positions(model, side)
        except PruningError:
            continue
        sides.append(side)
    while sides and not takes_side(model, sides[-1]):
        sides.pop()
    return tuple(sides[::-1])


def takes_side(model: nn.Module, side: int) -> bool:
    """Tell whether a network takes an image of a side in pixels."""
    try:
        _positions(model, side, images=1)
    except Exception:
        return False
    return True


def pass_image(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Pass images through a network, without gradients and in evaluation mode."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return model(images.to(device))
    finally:
        model.train(training)

"""What a network costs: multiply-accumulates (MACs) and parameters, counted layer by layer.

A MAC is one multiplication and one addition of a convolution or a linear layer, for one image.
Batch norms, activations, pooling and biases are not counted. `torch.utils.flop_counter` counts the
same operations at two a MAC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.ratios import side_of


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
        Measured by a forward pass of one image.
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
        The network; one image is passed through it. (Torch's meta device would do no arithmetic,
        but takes seconds to load.)
    side
        Image side in pixels.

    Raises
    ------
    PruningError
        If the network cannot take images of that side.
    """
    positions: dict[str, int] = {}

    def record(name: str) -> Any:
        def hook(layer: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            channels = output.shape[1] if isinstance(layer, nn.Conv2d) else output.shape[-1]
            positions[name] = positions.get(name, 0) + output.numel() // channels

        return hook

    handles = [
        layer.register_forward_hook(record(name)) for name, layer in counted_layers(model).items()
    ]
    try:
        pass_one_image(model, side)
    except RuntimeError as error:
        raise PruningError(
            f"{get_spec(model).name} cannot take images of {side}x{side} pixels ({error})."
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    return positions


def pass_one_image(model: nn.Module, side: int) -> None:
    """Pass one black image through a network, without gradients and in evaluation mode."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, get_spec(model).in_channels, side, side, device=device))
    finally:
        model.train(training)

"""Shapes of a network's tensors, and the attributes of layers that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from prune3d.errors import CheckpointError

KNOWN_LAYERS = (
    *(_ConvNd, nn.Linear, _NormBase, nn.LayerNorm, nn.GroupNorm, nn.PReLU),
    nn.MultiheadAttention,
)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers, each once, by their first names."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def tensor_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer."""
    return {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}


def replace_tensors(model: nn.Module, new: Mapping[str, Tensor]) -> None:
    """Put tensors in the place of parameters and buffers, wherever each of them is used.

    A parameter stays one, and trainable or not; a buffer becomes one that is saved.
    """
    old = tensors_of(model)
    by_identity = {id(old[name]): tensor for name, tensor in new.items()}
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for key, parameter in list(module._parameters.items()):
            if parameter is not None and id(parameter) in by_identity:
                if id(parameter) not in made:
                    content = by_identity[id(parameter)]
                    made[id(parameter)] = nn.Parameter(content, parameter.requires_grad)
                module._parameters[key] = made[id(parameter)]
        for key, buffer in list(module._buffers.items()):
            if buffer is not None and id(buffer) in by_identity:
                module._buffers[key] = by_identity[id(buffer)]
                module._non_persistent_buffers_set.discard(key)
    fit_attributes(model, {name.rpartition(".")[0] for name in new})


def reshape_tensors(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give parameters and buffers other shapes; what they hold then means nothing.

    Raises
    ------
    CheckpointError
        If there is no tensor of a name, or none of that many dimensions.
    """
    known = tensors_of(model)
    new = {}
    for name, shape in shapes.items():
        if name not in known or known[name].dim() != len(shape):
            raise CheckpointError(f"there is no tensor '{name}' of shape {shape} in the network.")
        new[name] = known[name].detach().new_zeros(shape)
    replace_tensors(model, new)


def set_attributes(model: nn.Module, attributes: Mapping[str, int]) -> None:
    """Set whole numbers that modules keep; for their names see `NetworkSpec.attributes`.

    Raises
    ------
    CheckpointError
        If there is no such number.
    """
    for name, value in attributes.items():
        try:
            path, key, *place = name.split(":")
            module = model.get_submodule(path)
            old = getattr(module, key)
            setattr(module, key, _with(old, int(place[0]), value) if place else value)
        except (AttributeError, IndexError, ValueError, TypeError):
            raise CheckpointError(f"there is no number '{name}' in the network.") from None


def _with(numbers: Any, place: int, value: int) -> Any:
    changed = list(numbers)
    changed[place] = value
    return changed if isinstance(numbers, list) else tuple(changed)


def fit_attributes(model: nn.Module, owners: set[str]) -> None:
    """Set the attributes of torch's layers that follow from the shapes of their tensors.

    Parameters
    ----------
    model
        The network.
    owners
        Names of the modules whose tensors have other shapes now.
    """
    for owner in owners:
        name = owner.partition(".parametrizations.")[0]
        layer = model.get_submodule("" if owner.startswith("parametrizations.") else name)
        if isinstance(layer, KNOWN_LAYERS):
            _fit(layer)


def _fit_attention(layer: nn.MultiheadAttention) -> None:
    """Let attention count its heads, all of the size that they had."""
    weights: list[Any] = [layer.in_proj_weight] * 3
    if layer.in_proj_weight is None:
        weights = [layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight]
    layer.embed_dim, layer.kdim, layer.vdim = (int(weight.shape[1]) for weight in weights)
    layer.num_heads = layer.embed_dim // layer.head_dim


def _fit(layer: nn.Module) -> None:
    shape = weight_shape(layer)
    if isinstance(layer, nn.MultiheadAttention):
        _fit_attention(layer)
    elif isinstance(layer, _ConvTransposeNd) and shape:
        if layer.groups > 1:
            layer.groups = shape[0] // (layer.in_channels // layer.groups)
        layer.in_channels, layer.out_channels = shape[0], shape[1] * layer.groups
    elif isinstance(layer, _ConvNd) and shape:
        # Whole groups go, so that the outputs of each stay.
        if layer.groups > 1:
            layer.groups = shape[0] // (layer.out_channels // layer.groups)
        layer.in_channels, layer.out_channels = shape[1] * layer.groups, shape[0]
    elif isinstance(layer, nn.Linear) and shape:
        layer.out_features, layer.in_features = shape
    elif isinstance(layer, nn.PReLU) and shape:
        layer.num_parameters = shape[0]
    elif isinstance(layer, nn.LayerNorm) and shape:
        layer.normalized_shape = shape
    elif isinstance(layer, nn.GroupNorm) and shape:
        layer.num_channels = shape[0]
    elif isinstance(layer, _NormBase):
        found = shape or (tuple(layer.running_mean.shape) if layer.running_mean is not None else ())
        layer.num_features = found[0] if found else layer.num_features


def weight_shape(layer: nn.Module) -> tuple[int, ...]:
    """Return the shape of a layer's weight, computed from another tensor or not; () if none."""
    for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
        for key in ("weight", "weight_v", "weight_orig"):
            if name == key:
                return tuple(tensor.shape)
    computed = getattr(getattr(layer, "parametrizations", None), "weight", None)
    originals = [p for _, p in computed.named_parameters(recurse=False)] if computed else []
    return tuple(max(originals, key=torch.numel).shape) if originals else ()

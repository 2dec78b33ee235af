"""From a specification to a module: build the dense network, cut out blocks, set the shapes."""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache

import torch
from torch import nn

from prune3d.errors import CheckpointError, UserError
from prune3d.models.registry import facts
from prune3d.models.spec import NetworkSpec


def build_dense(spec: NetworkSpec) -> nn.Module:
    """Build the unpruned network of a specification; see `prune3d.models.build`."""
    known = facts(spec.name)
    if spec.num_classes < 2:
        raise UserError(f"num_classes is {spec.num_classes}; at least 2 are needed.")
    if spec.image_size < known.smallest_side:
        raise UserError(
            f"image_size is {spec.image_size}; {spec.name} takes at least {known.smallest_side}."
        )
    module, function = known.factory.split(":")
    model: nn.Module = getattr(importlib.import_module(module), function)(
        *known.arguments, spec.num_classes, spec.in_channels
    )
    set_spec(model, spec.dense())
    return model


def rebuild(spec: NetworkSpec) -> nn.Module:
    """Build the network of a specification, with weights that mean nothing.

    Torch's meta device would spare the initialization, but takes seconds to load.
    """
    with torch.random.fork_rng(devices=[]):
        model = build_dense(spec)
    remove_blocks(model, spec.removed_blocks)
    for name, shape in spec.shapes.items():
        _reshape(model.get_submodule(name), name, shape)
    set_spec(model, spec)
    return model


@cache
def dense_skeleton(spec: NetworkSpec) -> nn.Module:
    """Return the dense network of a specification, to look at: it is shared, its weights random."""
    return rebuild(spec.dense())


def get_spec(model: nn.Module) -> NetworkSpec:
    """Return the specification that a network carries.

    Raises
    ------
    UserError
        If the network was not built by prune3d.
    """
    spec = getattr(model, "spec", None)
    if not isinstance(spec, NetworkSpec):
        raise UserError(
            f"this {type(model).__name__} was not built by prune3d.build and has no specification."
        )
    return spec


def set_spec(model: nn.Module, spec: NetworkSpec) -> None:
    """Attach a specification to a network."""
    model.spec = spec  # type: ignore[assignment]


def with_current_shapes(model: nn.Module) -> None:
    """Write the shapes that the network's layers have now into its specification."""
    spec = get_spec(model)
    dense_shapes = layer_shapes(dense_skeleton(spec.dense()))
    changed = {k: shape for k, shape in layer_shapes(model).items() if shape != dense_shapes[k]}
    set_spec(model, replace(spec, shapes=changed))


def layer_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of the weight of each layer that width pruning changes."""
    return {
        name: tuple(layer.weight.shape)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    }


def remove_blocks(model: nn.Module, names: tuple[str, ...]) -> None:
    """Replace blocks by identities; exact for residual blocks, whose input is already activated."""
    for name in names:
        parent, _, child = name.rpartition(".")
        try:
            setattr(model.get_submodule(parent), child, nn.Identity())
        except AttributeError:
            raise CheckpointError(f"there is no block '{name}' to remove.") from None


def _reshape(layer: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    if isinstance(layer, nn.Conv2d):
        if layer.groups == layer.in_channels > 1:
            layer.groups = layer.in_channels = shape[0]
        else:
            layer.in_channels = shape[1] * layer.groups
        layer.out_channels = shape[0]
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = shape
    elif isinstance(layer, nn.BatchNorm2d):
        layer.num_features = shape[0]
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean = layer.running_mean.new_empty(shape)
        layer.running_var = layer.running_var.new_empty(shape)
    else:
        raise CheckpointError(f"layer '{name}' is a {type(layer).__name__}, which has no width.")
    layer.weight = nn.Parameter(layer.weight.new_empty(shape))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.new_empty(shape[:1]))

"""From a specification to a module: build the dense network, cut out blocks, set the shapes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.errors import CheckpointError, UserError
from prune3d.models.attached import attach, attached
from prune3d.models.foreign import adopt
from prune3d.models.registry import MODELS, factory_of, is_own
from prune3d.models.spec import NetworkSpec
from prune3d.models.stand_ins import replace_modules


def build_dense(spec: NetworkSpec) -> nn.Module:
    """Build the unpruned network of a specification; see `prune3d.models.build`."""
    for key, least in (("num_classes", 2), ("image_size", 1), ("in_channels", 1)):
        if getattr(spec, key) < least:
            raise UserError(f"{key} is {getattr(spec, key)}; at least {least} is needed.")
    factory = factory_of(spec.name)
    module, function = factory.function.split(":")
    model: nn.Module = getattr(importlib.import_module(module), function)(
        *factory.arguments, spec.num_classes, spec.image_size, spec.in_channels
    )
    if spec.name not in MODELS:
        model = adopt(model, spec.name, (spec.in_channels, spec.image_size, spec.image_size))
    set_spec(model, replace(spec.dense(), code=_code(spec), frozen=_frozen(model)))
    return model


def _code(spec: NetworkSpec) -> dict[str, str]:
    """Return the digests of the user's files that build a network.

    Raises
    ------
    CheckpointError
        If they have changed since the specification was made.
    """
    if not is_own(spec.name):
        return {}
    from prune3d.models.own import digests_of, trusted_name

    if spec.code:
        trusted_name(spec.name, spec.code, spec.name)
    return digests_of(spec.name)


def rebuild(spec: NetworkSpec) -> nn.Module:
    """Build the network of a specification, with weights that mean nothing.

    Torch's meta device would spare the initialization, but takes seconds to load.
    """
    with torch.random.fork_rng(devices=[]):
        model = build_dense(spec)
    strange = [name for name in spec.removed_blocks if name not in spec.replaced]
    if strange:
        raise CheckpointError(f"nothing is said to replace the removed block '{strange[0]}'.")
    replace_modules(model, spec.replaced)
    layers = dict(model.named_modules())
    resized: dict[nn.Parameter, nn.Parameter] = {}
    for name, shape in spec.shapes.items():
        if name not in layers:
            raise CheckpointError(f"there is no layer '{name}' in {spec.name}.")
        _reshape(layers[name], name, shape, resized)
    if spec.frozen is not None:
        _freeze(model, spec.frozen)
    set_spec(model, spec)
    return model


@cache
def dense_skeleton(spec: NetworkSpec) -> nn.Module:
    """Return the dense network of a specification, to look at: it is shared, its weights random."""
    return rebuild(spec.dense()).eval()


def get_spec(model: nn.Module) -> NetworkSpec:
    """Return the specification that a network carries.

    Raises
    ------
    UserError
        If the network was not built by prune3d.
    """
    spec = attached(model, "spec")
    if not isinstance(spec, NetworkSpec):
        raise UserError(
            f"this {type(model).__name__} was not built by prune3d.build and has no specification; "
            "name its function, path/to/file.py:function, and build it with that."
        )
    return spec


def set_spec(model: nn.Module, spec: NetworkSpec) -> None:
    """Attach a specification to a network."""
    attach(model, "spec", spec)


def spec_to_save(model: nn.Module) -> NetworkSpec:
    """Return a network's specification with the parameters that are frozen now."""
    return replace(get_spec(model), frozen=_frozen(model))


def _frozen(model: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, p in model.named_parameters() if not p.requires_grad)


def _freeze(model: nn.Module, frozen: Sequence[str]) -> None:
    parameters = dict(model.named_parameters())
    strange = [name for name in frozen if name not in parameters]
    if strange:
        raise CheckpointError(f"there is no parameter '{strange[0]}' to freeze.")
    for name, parameter in parameters.items():
        if parameter.is_floating_point():
            parameter.requires_grad_(name not in frozen)


def with_current_shapes(model: nn.Module) -> None:
    """Write the shapes that the network's layers have now into its specification."""
    spec = get_spec(model)
    dense_shapes = layer_shapes(dense_skeleton(spec.dense()))
    changed = {k: shape for k, shape in layer_shapes(model).items() if shape != dense_shapes[k]}
    set_spec(model, replace(spec, shapes=changed))


def layer_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of each layer that width pruning can change."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.PReLU):
            shapes[name] = tuple(layer.weight.shape)
        elif isinstance(layer, _BatchNorm):
            shapes[name] = (layer.num_features,)
    return shapes


def _reshape(
    layer: nn.Module,
    name: str,
    shape: tuple[int, ...],
    resized: dict[nn.Parameter, nn.Parameter],
) -> None:
    """Give a layer another shape; a parameter that another layer has, too, stays one."""
    if isinstance(layer, nn.Conv2d):
        if layer.groups > 1:
            # Whole groups go, so that the outputs of each stay.
            layer.groups = shape[0] // (layer.out_channels // layer.groups)
        layer.in_channels = shape[1] * layer.groups
        layer.out_channels = shape[0]
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = shape
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = shape[0]
    elif isinstance(layer, _BatchNorm):
        layer.num_features = shape[0]
        for key in ("running_mean", "running_var"):
            if getattr(layer, key) is not None:
                setattr(layer, key, getattr(layer, key).new_empty(shape))
    else:
        raise CheckpointError(f"layer '{name}' is a {type(layer).__name__}, which has no width.")
    for key, wanted in (("weight", shape), ("bias", shape[:1])):
        value = getattr(layer, key, None)
        if isinstance(value, nn.Parameter):
            if value not in resized:
                empty = value.detach().new_empty(wanted)
                resized[value] = nn.Parameter(empty, requires_grad=value.requires_grad)
            setattr(layer, key, resized[value])

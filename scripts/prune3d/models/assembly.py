"""From a specification to a module: build the dense network, cut out blocks, set the shapes."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import nn

from prune3d.errors import CheckpointError, UserError
from prune3d.models.attached import attach, attached
from prune3d.models.foreign import adopt
from prune3d.models.registry import MODELS, factory_of, is_own
from prune3d.models.shapes import reshape_tensors, set_attributes, tensor_shapes
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
    reshape_tensors(model, spec.shapes)
    set_attributes(model, spec.attributes)
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
    dense_shapes = tensor_shapes(dense_skeleton(spec.dense()))
    changed = {k: shape for k, shape in tensor_shapes(model).items() if shape != dense_shapes[k]}
    set_spec(model, replace(spec, shapes=changed))

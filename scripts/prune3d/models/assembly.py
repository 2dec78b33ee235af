"""From a specification to a module: build the dense network, cut out blocks, set the shapes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.errors import CheckpointError, UserError
from prune3d.models.registry import factory_of, is_own
from prune3d.models.spec import NetworkSpec

IDENTITY, NOTHING = "identity", "nothing"


class NoChannels(nn.Module):
    """Stands for a layer whose output was appended to others: gives a tensor without channels."""

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """Return a tensor of shape (N, 0, height, width)."""
        like = x if isinstance(x, Tensor) else x[0]
        return like.new_zeros(len(like), 0, *like.shape[2:])


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
    set_spec(model, replace(spec.dense(), code=_code(spec)))
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


def check_outputs(model: nn.Module) -> None:
    """Refuse a network that does not take its images or does not give logits.

    Raises
    ------
    UserError
        With the shape of the images and that of the outputs.
    """
    spec = get_spec(model)
    images = torch.zeros(2, spec.in_channels, spec.image_size, spec.image_size)
    training = model.training
    try:
        with torch.no_grad():
            logits = model.eval()(images)
    except Exception as error:
        raise UserError(
            f"{spec.name} failed on images of shape {tuple(images.shape)} "
            f"({type(error).__name__}: {error})."
        ) from error
    finally:
        model.train(training)
    expected = (2, spec.num_classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"{spec.name} gave {found} for images of shape {tuple(images.shape)}; expected is "
            f"{expected}, a logit for each class."
        )


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
    for name, shape in spec.shapes.items():
        if name not in layers:
            raise CheckpointError(f"there is no layer '{name}' in {spec.name}.")
        _reshape(layers[name], name, shape)
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
    spec = getattr(model, "spec", None)
    if not isinstance(spec, NetworkSpec):
        raise UserError(
            f"this {type(model).__name__} was not built by prune3d.build and has no specification; "
            "name its function, path/to/file.py:function, and build it with that."
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
    """Return the shape of each layer that width pruning can change."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.PReLU):
            shapes[name] = tuple(layer.weight.shape)
        elif isinstance(layer, _BatchNorm):
            shapes[name] = (layer.num_features,)
    return shapes


def replace_modules(model: nn.Module, replaced: Mapping[str, str]) -> None:
    """Put an identity or `NoChannels` in the place of modules.

    Exact for residual blocks, whose input is already activated.
    """
    for name, kind in replaced.items():
        parent, _, child = name.rpartition(".")
        try:
            holder = model.get_submodule(parent)
            holder.get_submodule(child)
        except AttributeError:
            raise CheckpointError(f"there is no module '{name}' to remove.") from None
        if isinstance(holder, nn.ModuleDict):
            holder[child] = _stand_in(name, kind)
        else:
            setattr(holder, child, _stand_in(name, kind))


def _stand_in(name: str, kind: str) -> nn.Module:
    if kind == IDENTITY:
        return nn.Identity()
    if kind == NOTHING:
        return NoChannels()
    raise CheckpointError(f"module '{name}' is replaced by '{kind}', which is not known.")


def _reshape(layer: nn.Module, name: str, shape: tuple[int, ...]) -> None:
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
    if isinstance(layer.weight, nn.Parameter):
        layer.weight = nn.Parameter(layer.weight.new_empty(shape))
    bias = getattr(layer, "bias", None)
    if isinstance(bias, nn.Parameter):
        layer.bias = nn.Parameter(bias.new_empty(shape[:1]))

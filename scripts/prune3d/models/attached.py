"""What prune3d keeps on a network, where nothing of the user's can collide with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


_PREFIX = "_prune3d_"


def attach(model: nn.Module, name: str, value: Any) -> None:
    """Keep a value on a network; where the name is free, it is an attribute of that name, too."""
    before = vars(model).get(_key(name))
    if vars(model).get(name, before) is before and not _is_taken(model, name):
        vars(model)[name] = value
    vars(model)[_key(name)] = value


def attached(model: nn.Module, name: str, default: Any = None) -> Any:
    """Return what was kept under a name."""
    return vars(model).get(_key(name), default)


def attach_as(model: nn.Module, other: nn.Module) -> None:
    """Keep on a network what is kept on another one, where copying has lost it."""
    for key, value in vars(other).items():
        if key.startswith(_PREFIX) and key not in vars(model):
            attach(model, key.removeprefix(_PREFIX), value)


def _key(name: str) -> str:
    return f"{_PREFIX}{name}"


def _is_taken(model: nn.Module, name: str) -> bool:
    held = (model._modules, model._parameters, model._buffers)
    return any(name in names for names in held) or hasattr(type(model), name)

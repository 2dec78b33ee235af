"""What takes the place of modules that were removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from prune3d.errors import CheckpointError

IDENTITY, NOTHING = "identity", "nothing"


class StandIn(nn.Identity):
    """Stands for a removed module: is called like it and has its plain attributes.

    Parameters
    ----------
    original
        The module whose attributes, such as a stride that the network reads, are kept; modules,
        parameters, buffers and methods are not.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        for key, value in _plain_attributes(original).items():
            vars(self).setdefault(key, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the first argument that is a tensor, copied, or holds one, as it is.

        Copied, since what follows may change the block's output in place, but not its input.
        """
        given = next(value for value in (*args, *kwargs.values()) if has_tensor(value))
        return given.clone() if isinstance(given, Tensor) else given


class NoChannels(StandIn):
    """Stands for a module whose output was appended to others: gives a tensor without channels."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return a tensor of shape (N, 0, height, width)."""
        like = next(tensors((args, kwargs)))
        return like.new_zeros(like.shape[0], 0, *like.shape[2:])


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and mappings, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part)


def has_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor or holds one."""
    return next(tensors(value), None) is not None


def replace_modules(model: nn.Module, replaced: Mapping[str, str]) -> None:
    """Put a `StandIn` or `NoChannels` in the place of modules, under all names that they have.

    Exact for residual blocks, whose input is already activated.
    """
    for name, kind in replaced.items():
        try:
            original = model.get_submodule(name)
        except AttributeError:
            raise CheckpointError(f"there is no module '{name}' to remove.") from None
        put_in_place(model, original, _stand_in(original, name, kind))


def put_in_place(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace a module by another one wherever it is held."""
    for holder in list(model.modules()):
        for key, child in holder._modules.items():
            if child is old:
                holder._modules[key] = new


def _stand_in(original: nn.Module, name: str, kind: str) -> nn.Module:
    if kind == IDENTITY:
        return StandIn(original)
    if kind == NOTHING:
        return NoChannels(original)
    raise CheckpointError(f"module '{name}' is replaced by '{kind}', which is not known.")


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    """Return a module's own attributes and those of its class, without what torch gives to all."""
    own = {k: v for k, v in vars(module).items() if k != "training" and not k.startswith("_")}
    classes = [c for c in type(module).__mro__ if c not in nn.Module.__mro__]
    shared = {k: v for c in reversed(classes) for k, v in vars(c).items() if not k.startswith("_")}
    found = {**{k: v for k, v in shared.items() if not _is_code(v)}, **own}
    return {k: v for k, v in found.items() if not _holds_weights(v)}


def _is_code(value: Any) -> bool:
    return callable(value) or hasattr(value, "__get__") or hasattr(value, "__func__")


def _holds_weights(value: Any) -> bool:
    """Tell whether a value is, or refers to, tensors, modules or the methods of one."""
    if isinstance(value, list | tuple | set):
        return any(_holds_weights(part) for part in value)
    if isinstance(value, Mapping):
        return any(_holds_weights(part) for part in value.values())
    owner = getattr(value, "__self__", None)
    return isinstance(value, Tensor | nn.Module) or isinstance(owner, nn.Module)

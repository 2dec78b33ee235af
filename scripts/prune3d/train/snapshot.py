"""What a step of a training changes, kept to be compared and put back."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_PLAIN = (int, float, complex, str, bytes, type(None))


class Snapshot:
    """The state of networks, of further tensors, and of the random numbers.

    Parameters
    ----------
    networks
        By their role.
    tensors
        What else changes.
    device
        Where the networks compute.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], tensors: Sequence[Tensor], device: torch.device
    ) -> None:
        self._networks, self._device = networks, device
        self._modules = [
            (f"layer '{name}' of the {role}" if name else f"the {role}", module)
            for role, network in networks.items()
            for name, module in network.named_modules()
        ]
        self._plain = [copy.deepcopy(_plain(module)) for _, module in self._modules]
        self._places = [[dict(place) for place in _places(module)] for _, module in self._modules]
        held = [t for _, module in self._modules for t in _held(module).values()]
        self._values = [(tensor, tensor.detach().clone()) for tensor in (*held, *tensors)]
        self._random = _random_states()

    def difference(self) -> str | None:
        """Say what has changed that is no value of a tensor, if anything has."""
        for (name, module), plain, places in zip(
            self._modules, self._plain, self._places, strict=True
        ):
            now = _plain(module)
            changed = [
                k for k, value in now.items() if k not in plain or not _same(plain[k], value)
            ]
            if changed:
                return f"{name} keeps '{changed[0]}', which changes from one step to the next"
            for (place, key), tensor in _held(module).items():
                if places[place].get(key) is not tensor:
                    return f"{name} puts a new tensor into '{key}'"
        states = _random_states()
        # On a CPU layers rightly draw from torch's generator there.
        kinds = [kind for kind in states if kind != "torch" or self._device.type != "cpu"]
        if any(not _same(states[kind], self._random[kind]) for kind in kinds):
            return "the network draws random numbers on the processor"
        return None

    def restore(self) -> None:
        """Put everything back, and forget all gradients."""
        for (_, module), plain, places in zip(
            self._modules, self._plain, self._places, strict=True
        ):
            for place, before in zip(_places(module), places, strict=True):
                for key in place.keys() - before.keys():
                    del place[key]
                place.update(before)
            vars(module).update(copy.deepcopy(plain))
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for network in self._networks.values():
            network.zero_grad(set_to_none=True)
        random.setstate(self._random["python"])
        np.random.set_state(self._random["numpy"])
        torch.set_rng_state(self._random["torch"])


def _plain(module: nn.Module) -> dict[str, Any]:
    """Return the attributes that are numbers, texts, or containers of such."""
    return {
        key: value
        for key, value in vars(module).items()
        if key not in _OF_EVERY_MODULE and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return type(value) in (list, tuple, set) and all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN)


def _places(module: nn.Module) -> list[dict[str, Any]]:
    """Return where a module keeps parameters, buffers, and everything else."""
    return [module._parameters, module._buffers, vars(module)]


def _held(module: nn.Module) -> dict[tuple[int, str], Tensor]:
    """Return the tensors that a module holds itself, by the number of their place and name."""
    return {
        (place, key): value
        for place, values in enumerate(_places(module))
        for key, value in values.items()
        if isinstance(value, Tensor)
    }


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        return all(map(_same, one, other))
    # A value that is not a number differs from itself.
    return bool(one == other) or (one != one and other != other)


def _random_states() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }

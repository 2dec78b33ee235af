"""Things in the user's own files: networks, criteria. They are named ``path/to/file.py:name``."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from types import ModuleType
from typing import Any

from torch import nn

from prune3d.errors import UserError
from prune3d.models.registry import check_own, own_file


def load_own(name: str) -> Any:
    """Return what ``path/to/file.py:name`` names.

    Raises
    ------
    UserError
        If the file is missing, has no such name, or fails when it is run.
    """
    check_own(name)
    return getattr(_run(name), name.rpartition(":")[2])


def build(name: str, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """Call the user's function with those of the three numbers that it takes, by name.

    Raises
    ------
    UserError
        If it fails or does not return a network.
    """
    function = load_own(name)
    if not callable(function):
        raise UserError(f"'{name}' is a {type(function).__name__}, not a function.")
    given = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    taken = inspect.signature(function).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        given = {key: given[key] for key in given if key in {p.name for p in taken}}
    try:
        model = function(**given)
    except Exception as error:
        raise UserError(
            f"'{name}' failed when called with {given} ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(model, nn.Module):
        raise UserError(f"'{name}' returned a {type(model).__name__}, not a torch.nn.Module.")
    return model


def _run(name: str) -> ModuleType:
    path = own_file(name).resolve()
    content = path.read_bytes()
    key = f"prune3d_own_{hashlib.sha256(str(path).encode() + content).hexdigest()[:16]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while the file runs.
    sys.modules[key] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[key]
        raise UserError(
            f"'{name}': running {path.name} failed ({type(error).__name__}: {error})."
        ) from error
    finally:
        sys.path.remove(str(path.parent))
    return module

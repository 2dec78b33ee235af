"""Weights from elsewhere: a state_dict in safetensors, or in torch's format loaded as data only."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prune3d.errors import CheckpointError
from prune3d.models.assembly import get_spec

# Under these keys training scripts keep the weights beside other things.
USUAL_KEYS = ("state_dict", "model", "model_state_dict", "state_dict_ema")
PREFIXES = ("module.", "_orig_mod.")


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load the weights of a dense network in place.

    Parameters
    ----------
    model
        A dense network built by prune3d.
    path
        A safetensors file, or one written by ``torch.save`` that holds a state_dict, alone or under
        one of `USUAL_KEYS`. No code of the file is run. Prefixes of parallel or compiled networks
        are taken off the names.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds something else, or does not fit the network.
    """
    found = _without_prefixes(_read(Path(path)))
    own = model.state_dict()
    name = get_spec(model).name
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in found and key not in counters]
    foreign = [key for key in found if key not in own]
    if missing or foreign:
        raise CheckpointError(
            f"{path} does not fit {name}: it lacks {_some(missing)} and has {_some(foreign)} "
            "that the network lacks."
        )
    for key, value in found.items():
        if value.shape != own[key].shape:
            raise CheckpointError(
                f"{path} does not fit {name}: '{key}' has shape {tuple(value.shape)}, the network "
                f"{tuple(own[key].shape)}; num_classes, image_size or the model may differ."
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path} has values in '{key}' that are not finite.")
    model.load_state_dict({**own, **found})


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist or is no file.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values, which could run code when loaded; "
            "save model.state_dict() alone, or as safetensors."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged or not a PyTorch file ({error}).") from None
    return _state_dict(content, path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({error}).") from None
    return tensors


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    for key in USUAL_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a state_dict.")
    strange = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(
            f"{path} holds no state_dict, alone or under one of {', '.join(USUAL_KEYS)}: "
            f"{_some(strange)} are no tensors."
        )
    return dict(content)


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more

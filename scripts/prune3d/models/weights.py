"""Weights from elsewhere: a state_dict in safetensors, or in torch's format loaded as data only."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prune3d.errors import CheckpointError
from prune3d.models.assembly import get_spec
from prune3d.tensors import in_short

# Under these keys training scripts keep the weights beside other things, the first one that is
# there is taken.
USUAL_KEYS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "params", "weights"),
    *("model_state", "state_dict_ema", "model_ema", "ema_state_dict", "params_ema", "ema"),
    *("module", "shadow", "shadow_params"),
)
# Parts of names that parallel and compiled networks have and others do not.
WRAPPERS = {"module", "_orig_mod"}
COUNTER = "num_batches_tracked"
# Of torch.optim.swa_utils.AveragedModel.
AVERAGED = "n_averaged"
BEGINS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the weights; run git lfs pull",
    b"<": "is a web page or XML, as of a failed download; fetch the weights again",
    b"\x89HDF": "is an HDF5 file, as of Keras; save a state_dict from PyTorch",
    b"\x1f\x8b": "is compressed by gzip; unpack it",
    b"\x89PNG": "is a picture",
}
SAVE = "save model.state_dict() alone, or as safetensors"


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load the weights of a dense network in place.

    Parameters
    ----------
    model
        A dense network built by prune3d.
    path
        A safetensors file, or one written by ``torch.save``, whatever its name ends in, that holds
        a state_dict, alone or under one of `USUAL_KEYS`. No code of the file is run. What parallel,
        compiled or Lightning networks put before the names is taken off; half precision becomes
        the network's.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds something else, or does not fit the network.
    """
    path = Path(path)
    found = _named_as(model, _read(path), path)
    own = model.state_dict()
    name = get_spec(model).name
    for key, value in found.items():
        if value.shape != own[key].shape:
            raise CheckpointError(
                f"{path} does not fit {name}: '{key}' has shape {tuple(value.shape)}, the network "
                f"{tuple(own[key].shape)}; num_classes, image_size or the model may differ."
            )
        if not _can_become(value, own[key]):
            raise CheckpointError(
                f"{path} does not fit {name}: '{key}' is {_kind(value)}, the network's "
                f"{_kind(own[key])}."
            )
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all()):
            raise CheckpointError(f"{path} has values in '{key}' that are not finite.")
    try:
        check_shared(model, found)
    except CheckpointError as error:
        raise CheckpointError(f"{path} does not fit {name}: {error}") from None
    model.load_state_dict({**own, **found})


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist or is no file.")
    try:
        with path.open("rb") as stream:
            begin = stream.read(64)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from None
    if not begin:
        raise CheckpointError(f"{path} is empty.")
    for known, what in BEGINS.items():
        if begin.lstrip().startswith(known):
            raise CheckpointError(f"{path} {what}.")
    if begin[8:9] == b"{" or path.suffix == ".safetensors":
        return _read_safetensors(path)
    if begin.startswith(b"PK"):
        _check_archive(path)
    elif not begin.startswith(b"\x80"):
        raise CheckpointError(f"{path} is no PyTorch file and no safetensors file.")
    return _state_dict(_unpickled(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({in_short(error)})."
        ) from None
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors.")
    return tensors


def _check_archive(path: Path) -> None:
    """Refuse archives that are no state_dict of torch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a PyTorch file ({in_short(error)})."
        ) from None
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(
            f"{path} is a TorchScript network, which is code; load it with torch.jit.load and "
            f"{SAVE}."
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise CheckpointError(
            f"{path} is an archive of {_some(names)}, not a PyTorch file; give the weights alone."
        )


def _unpickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)|class (\S+?)\.? ", str(error))
        if code is None and "truncated" in str(error) + str(error.__context__):
            raise CheckpointError(f"{path} is truncated.") from None
        if code is None:
            raise CheckpointError(
                f"{path} is damaged, or holds more than tensors and plain values, which could run "
                f"code when loaded; {SAVE}."
            ) from None
        raise CheckpointError(
            f"{path} holds an object of {(code[1] or code[2])[:100]!r}, which could run code when "
            f"loaded; {SAVE}."
        ) from None
    except Exception as error:  # what damaged files raise in torch's reader is not foreseeable
        raise CheckpointError(
            f"{path} is damaged or not a PyTorch file ({in_short(error)})."
        ) from None


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    for _ in USUAL_KEYS:
        inner = _inner(content)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        what = "nothing" if isinstance(content, Mapping) else f"a {type(content).__name__}"
        raise CheckpointError(f"{path} holds {what}, not a state_dict.")
    strange = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(
            f"{path} holds no state_dict, alone or under one of {', '.join(USUAL_KEYS)}: "
            f"{_some(strange)} are no tensors."
        )
    return {str(key): value for key, value in content.items()}


def _inner(content: Any) -> Mapping[Any, Any] | None:
    if not isinstance(content, Mapping):
        return None
    found = (content.get(key) for key in USUAL_KEYS)
    return next((value for value in found if isinstance(value, Mapping) and value), None)


def _named_as(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors under the network's names, without those that stand for something else.

    Raises
    ------
    CheckpointError
        If some are missing, unknown, or there more than once.
    """
    own = model.state_dict()
    name = get_spec(model).name
    needed = [key for key in own if not key.endswith(COUNTER)]
    plain = _unwrapped(tensors, own)
    prefix = _prefix(plain, needed, path)
    found = {k.removeprefix(prefix): v for k, v in plain.items() if k.startswith(prefix)}
    for group in _shared(model):
        given = next((key for key in group if key in found), None)
        found |= {key: found[given] for key in group if given and key not in found}
    missing = [key for key in needed if key not in found]
    foreign = [key for key in found if key not in own and not _is_counter(key, own)]
    if missing or foreign:
        raise CheckpointError(
            f"{path} does not fit {name}: it lacks {_some(missing)} and has {_some(foreign)} "
            "that the network lacks."
        )
    return {key: value for key, value in found.items() if key in own}


def _unwrapped(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the parts of names off that wrappers add, and put those in that the network has."""
    whole = {_without_wrappers(key): key for key in own}
    plain: dict[str, Tensor] = {}
    for key, value in tensors.items():
        short = _without_wrappers(key)
        if key in own:
            plain[key] = value
        elif key != AVERAGED:
            plain.setdefault(whole.get(short, short), value)
    return plain


def _without_wrappers(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in WRAPPERS)


def _prefix(tensors: Mapping[str, Tensor], needed: list[str], path: Path) -> str:
    """Return what stands before each of the network's names, such as ``model.``."""
    places: dict[str, int] = {"": 0}
    known = set(needed)
    for key in tensors:
        for prefix in _beginnings(key):
            if key[len(prefix) :] in known:
                places[prefix] = places.get(prefix, 0) + 1
    best = max(places, key=lambda prefix: places[prefix])
    whole = [prefix for prefix, count in places.items() if count == len(needed)]
    if len(whole) > 1 and "" not in whole:
        raise CheckpointError(
            f"{path} holds the network {len(whole)} times, under {_some(whole)}; keep one of them."
        )
    return "" if "" in whole else best


def _beginnings(key: str) -> Iterator[str]:
    parts = key.split(".")
    for i in range(min(len(parts), 6)):
        yield "".join(f"{part}." for part in parts[:i])


def _is_counter(key: str, own: Mapping[str, Tensor]) -> bool:
    """Tell whether a name is that of a counter that a norm of the network does without."""
    return key.endswith(COUNTER) and key.replace(COUNTER, "running_mean") in own


def _shared(model: nn.Module) -> list[list[str]]:
    """Return the names of each parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def check_shared(model: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Refuse different values for one parameter that several layers share.

    Raises
    ------
    CheckpointError
        With the names of two of them.
    """
    for first, *others in _shared(model):
        for other in others:
            if not torch.equal(found[first], found[other]):
                raise CheckpointError(
                    f"'{first}' and '{other}' differ, but are one weight in the network."
                )


def _can_become(value: Tensor, own: Tensor) -> bool:
    usual = value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"
    return usual and (
        value.is_floating_point() == own.is_floating_point()
        and value.is_complex() == own.is_complex()
    )


def _kind(value: Tensor) -> str:
    dtype = str(value.dtype).removeprefix("torch.")
    return dtype if value.layout == torch.strided else f"a sparse tensor of {dtype}"


def _some(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"{name[:100]!r}" for name in names[:3]) + more

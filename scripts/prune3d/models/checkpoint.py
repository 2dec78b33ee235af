"""Model files: weights in safetensors, with all else that makes the network in the header.

No code is stored. A network whose function lies in a file of the user's is built by that file only
where the caller says so. The header also holds a digest of its content and of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from prune3d.errors import CheckpointError, UserError
from prune3d.models.assembly import rebuild, spec_to_save
from prune3d.models.description import FORMAT, Header, description_schema
from prune3d.models.lineage import get_lineage, set_lineage
from prune3d.models.meaning import get_meaning, set_meaning
from prune3d.models.registry import MODELS, is_own
from prune3d.models.spec import NetworkSpec
from prune3d.models.weights import check_shared
from prune3d.tensors import AGAIN, digest, parse_as, read_arrays, read_header, write_arrays

UNREACHABLE = "prune3d unreachable 2"
# Numbers in the largest image on which a loaded network is tried.
LARGEST_TRIAL = 2**23
# What building by a specification raises that does not fit its network.
EXPECTED = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def save(model: nn.Module, path: str | Path) -> None:
    """Write a network built by prune3d; the file appears whole or not at all.

    Parameters
    ----------
    model
        On any device.
    path
        Name of the file, by custom ending in ``.safetensors``.

    Examples
    --------
    >>> import prune3d
    >>> model = prune3d.build("resnet20", num_classes=10, image_size=32)
    >>> prune3d.save(prune3d.prune(model, width=0.5), "narrow.safetensors")
    >>> prune3d.load("narrow.safetensors").conv1.out_channels
    8
    """
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    meaning = get_meaning(model)
    header = asdict(Header(spec_to_save(model), get_lineage(model), meaning, meaning.resize))
    write_arrays(path, arrays, FORMAT, {**header, "digest": digest(header, arrays)})


def load(
    path: str | Path, device: str | torch.device = "cpu", code: str | Path | None = None
) -> nn.Module:
    """Rebuild a network from its file.

    Parameters
    ----------
    path
        Name of the file.
    device
        Where the network is put.
    code
        The user's file that builds the network, ``path/to/file.py`` or ``path/to/file.py:name``,
        where it is one's own. It is run only if it and the files that it imports are those with
        which the network was built. Not needed where this process has built a network by the same
        code before.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, with bit-equal weights and statistics.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, changed, of another version, stands for a
        policy that could not reach its budget, or needs code that is not given or was changed.
    """
    reason = unreachable_reason(path)
    if reason is not None:
        raise CheckpointError(f"{path} holds no network: {reason.rstrip('. ')}.")
    arrays, header = read_arrays(path, FORMAT)
    known, content = header.pop("digest", None), {k: header[k] for k in header if k != "format"}
    if known != digest(content, arrays):
        raise _changed(path)
    described = parse_as(description_schema(), content, path)
    try:
        model = _restore(described, arrays, code)
    except UserError as error:
        raise CheckpointError(f"{path} describes a network that cannot be built: {error}") from None
    except EXPECTED as error:
        raise CheckpointError(
            f"{path} describes a network that cannot be built ({type(error).__name__}: "
            f"{str(error)[:300]}); {AGAIN}."
        ) from None
    return model.to(device).eval()


def _restore(
    header: Header, arrays: Mapping[str, NDArray[Any]], code: str | Path | None
) -> nn.Module:
    spec = header.spec
    if is_own(spec.name):
        from prune3d.models.own import trusted_name

        spec = replace(spec, name=trusted_name(spec.name, spec.code, code))
    _check_sizes(spec, arrays)
    model = rebuild(spec)
    _check_tensors(model, arrays)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    check_shared(model, tensors)
    # Copied into place, so that a weight that two layers share stays one.
    model.load_state_dict(tensors)
    _check_use(model, spec)
    set_lineage(model, header.lineage)
    set_meaning(model, header.meaning)
    return model


def _check_sizes(spec: NetworkSpec, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse numbers that the weights do not bear out, before they make a network."""
    total = sum(array.size for array in arrays.values())
    for name, shape in spec.shapes.items():
        if math.prod(shape) > total:
            raise CheckpointError(f"layer '{name}' would have more weights than the file.")
    if spec.name not in MODELS:
        return
    if all(len(a.shape) == 0 or a.shape[0] != spec.num_classes for a in arrays.values()):
        raise CheckpointError(f"no weights are for {spec.num_classes} classes.")
    if all(a.ndim < 2 or a.shape[1] != spec.in_channels for a in arrays.values()):
        raise CheckpointError(f"no weights are for images of {spec.in_channels} channels.")


def _check_tensors(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse tensors that are missing, unknown, or of another shape or type."""
    wanted = model.state_dict()
    for name in [*(n for n in wanted if n not in arrays), *(n for n in arrays if n not in wanted)]:
        whose = "the file lacks" if name in wanted else "the network lacks"
        raise CheckpointError(f"{whose} the tensor {name!r}.")
    for name, tensor in wanted.items():
        found = torch.from_numpy(arrays[name])
        if found.shape != tensor.shape:
            raise CheckpointError(
                f"the tensor '{name}' has shape {tuple(found.shape)}, the network "
                f"{tuple(tensor.shape)}."
            )
        if found.dtype != tensor.dtype:
            raise CheckpointError(
                f"the tensor '{name}' is {found.dtype}, the network's {tensor.dtype}."
            )


def _check_use(model: nn.Module, spec: NetworkSpec) -> None:
    """Refuse a network that does not take the images that it is said to be for."""
    if spec.in_channels * spec.side**2 > LARGEST_TRIAL:
        return
    image = torch.zeros(1, spec.in_channels, spec.side, spec.side)
    try:
        with torch.no_grad():
            logits = model.eval()(image)
    except Exception as error:
        raise CheckpointError(
            f"it fails on images of {spec.in_channels} channels and {spec.side}x{spec.side} "
            f"pixels ({type(error).__name__}: {str(error)[:200]})."
        ) from None
    if tuple(logits.shape) != (1, spec.num_classes):
        raise CheckpointError(
            f"it gives {tuple(logits.shape)[1:]} for an image instead of {spec.num_classes} logits."
        )


def save_unreachable(path: str | Path, reason: str) -> None:
    """Write a model file without a network, for a policy that cannot reach its budget."""
    header = {"reason": reason}
    write_arrays(path, {}, UNREACHABLE, {**header, "digest": digest(header, {})})


def unreachable_reason(path: str | Path) -> str | None:
    """Return why a model file has no network, or None where it has one."""
    header = read_header(path)
    if header.get("format") != UNREACHABLE:
        return None
    content = {"reason": header.get("reason")}
    if header.get("digest") != digest(content, {}):
        raise _changed(path)
    return str(content["reason"])


def _changed(path: str | Path) -> CheckpointError:
    return CheckpointError(
        f"{path} was changed after it was written: its digest is not right; {AGAIN}."
    )

"""Model files: weights in safetensors, with the specification and the lineage in the header.

No code is stored or run. The header also holds a digest of specification, lineage and weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from prune3d.errors import CheckpointError, UserError
from prune3d.models.assembly import get_spec, rebuild
from prune3d.models.lineage import Step, get_lineage, set_lineage, to_dicts
from prune3d.models.spec import NetworkSpec
from prune3d.tensors import digest, read_arrays, read_header, write_arrays

FORMAT = "prune3d model 2"
UNREACHABLE = "prune3d unreachable 1"


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
    header = {"spec": get_spec(model).to_dict(), "lineage": to_dicts(get_lineage(model))}
    write_arrays(path, arrays, FORMAT, {**header, "digest": digest(header, arrays)})


def load(path: str | Path, device: str | torch.device = "cpu") -> nn.Module:
    """Rebuild a network from its file.

    Returns
    -------
    torch.nn.Module
        In evaluation mode, with bit-equal weights and statistics.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, foreign, changed, of another version, or stands for a
        policy that could not reach its budget.
    """
    reason = unreachable_reason(path)
    if reason is not None:
        raise CheckpointError(f"{path} holds no network: {reason}")
    arrays, header = read_arrays(path, FORMAT)
    content = {key: header.get(key) for key in ("spec", "lineage")}
    if header.get("digest") != digest(content, arrays):
        raise CheckpointError(f"{path} was changed after it was written: its digest is not right.")
    try:
        model = rebuild(NetworkSpec.from_dict(header["spec"]))
        model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, assign=True)
        set_lineage(model, [Step(**step) for step in header["lineage"]])
    except (UserError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path} describes a network that cannot be built: {error}") from None
    return model.to(device).eval()


def save_unreachable(path: str | Path, reason: str) -> None:
    """Write a model file without a network, for a policy that cannot reach its budget."""
    write_arrays(path, {}, UNREACHABLE, {"reason": reason})


def unreachable_reason(path: str | Path) -> str | None:
    """Return why a model file has no network, or None where it has one."""
    header = read_header(path)
    return str(header["reason"]) if header.get("format") == UNREACHABLE else None

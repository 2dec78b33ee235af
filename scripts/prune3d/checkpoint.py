"""Model files: weights in safetensors, with the specification and the lineage in the metadata.

No code is stored or run. The metadata also hold a digest of specification, lineage and weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from prune3d.errors import CheckpointError
from prune3d.files import atomic_path
from prune3d.lineage import Step, get_lineage, set_lineage, to_dicts
from prune3d.models._build import get_spec, rebuild
from prune3d.models.spec import NetworkSpec
from prune3d.tensors import read_metadata, read_tensors

FORMAT = "prune3d model 1"
UNREACHABLE = "prune3d unreachable 1"


def save(model: nn.Module, path: str | Path) -> None:
    """Write a network built by prune3d; the file appears whole or not at all.

    Parameters
    ----------
    model
        On any device.
    path
        Name of the file, by custom ending in ``.safetensors``.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "spec": json.dumps(get_spec(model).to_dict(), sort_keys=True),
        "lineage": json.dumps(to_dicts(get_lineage(model)), sort_keys=True),
    }
    metadata["digest"] = digest(metadata, tensors)
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


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
    tensors, metadata = read_tensors(path, FORMAT)
    try:
        recorded, spec, lineage = (metadata[key] for key in ("digest", "spec", "lineage"))
        network = NetworkSpec.from_dict(json.loads(spec))
        steps = [Step(**step) for step in json.loads(lineage)]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} has damaged metadata ({error}).") from None
    if recorded != digest(metadata, tensors):
        raise CheckpointError(f"{path} was changed after it was written: its digest is not right.")
    model = rebuild(network)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the network that it describes ({error})."
        ) from None
    set_lineage(model, steps)
    return model.to(device).eval()


def save_unreachable(path: str | Path, reason: str) -> None:
    """Write a model file without a network, for a policy that cannot reach its budget."""
    with atomic_path(path) as temporary:
        save_file({}, temporary, metadata={"format": UNREACHABLE, "reason": reason})


def unreachable_reason(path: str | Path) -> str | None:
    """Return why a model file has no network, or None where it has one."""
    metadata = read_metadata(path)
    return metadata["reason"] if metadata.get("format") == UNREACHABLE else None


def digest(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of specification, lineage and tensors."""
    sha = hashlib.sha256()
    for key in ("spec", "lineage"):
        sha.update(metadata[key].encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()

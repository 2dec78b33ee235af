"""The state from which a killed training continues: one safetensors file, renewed every epoch.

It lies beside the training's output under a name that Snakemake does not know, since Snakemake
deletes the outputs of a job that fails.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from prune3d.errors import CheckpointError
from prune3d.tensors import digest, read_arrays, write_arrays
from prune3d.train.averaging import WeightAverage
from prune3d.train.sgd import NesterovSGD

FORMAT = "prune3d training 3"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumeFile:
    """Where the state of one training is kept.

    Attributes
    ----------
    path
        File name.
    digest
        Stands for everything that the training depends on; a state with another is not used.
    """

    path: Path
    digest: str

    @classmethod
    def beside(cls, output: str | Path, digest: str) -> ResumeFile:
        """Return the state of the training that will write `output`."""
        output = Path(output)
        return cls(output.with_name(f"{output.stem}.resume.safetensors"), digest)


@dataclass
class TrainingState:
    """What changes while training.

    Attributes
    ----------
    model, optimizer
        The network and its optimizer.
    generator
        The CPU generator of batch order and augmentation.
    history
        One row for each epoch done.
    average
        The moving average of the network, where there is one.
    seconds
        Time spent in the epochs done, over all runs of this training.
    """

    model: nn.Module
    optimizer: NesterovSGD
    generator: torch.Generator
    history: list[dict[str, Any]]
    average: WeightAverage | None = None
    seconds: float = 0.0


def save_state(file: ResumeFile, state: TrainingState) -> None:
    """Write the state; the file before it stays whole until the new one is.

    Raises
    ------
    UserError
        If it cannot be written, as on a full disk.
    """
    arrays = _arrays(state)
    header = {
        "history": state.history,
        "seconds": state.seconds,
        "steps": state.average.steps if state.average else 0,
        "parameters": _fingerprint(file),
    }
    write_arrays(file.path, arrays, FORMAT, {**header, "digest": _seal(file, header, arrays)})


def _fingerprint(file: ResumeFile) -> str:
    return hashlib.sha256(f"parameters {file.digest}".encode()).hexdigest()


def _seal(file: ResumeFile, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    """Return a digest that only who knows the training's parameters can compute."""
    return digest({**header, "known": file.digest}, arrays)


def restore_state(file: ResumeFile, state: TrainingState) -> bool:
    """Put a saved state into a new training.

    Returns
    -------
    bool
        False where there is no state, a damaged one, or one of other parameters; `state` is then
        as it was.
    """
    if not file.path.exists():
        return False
    try:
        arrays, header = _read(file, state)
    except CheckpointError as error:
        log.warning("starting anew: %s", error)
        return False
    if header is None:
        log.info("starting anew: %s belongs to other parameters or inputs.", file.path)
        return False
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    model = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    state.model.load_state_dict(model)
    for name, momentum in state.optimizer.momenta.items():
        momentum.copy_(tensors[f"momentum.{name}"])
    state.generator.set_state(tensors["generator"])
    if state.average is not None:
        for name, value in state.average.values.items():
            value.copy_(tensors[f"average.{name}"])
        state.average.steps = header["steps"]
    state.history[:] = header["history"]
    state.seconds = header["seconds"]
    return True


def _read(
    file: ResumeFile, state: TrainingState
) -> tuple[dict[str, NDArray[Any]], dict[str, Any] | None]:
    """Return a state's arrays and header, None where it belongs to another training.

    Raises
    ------
    CheckpointError
        If the file is damaged or was changed, or its arrays are not those of the training.
    """
    arrays, header = read_arrays(file.path, FORMAT)
    if header.get("parameters") != _fingerprint(file):
        return arrays, None
    content = {key: header.get(key) for key in ("history", "seconds", "steps", "parameters")}
    if header.get("digest") != _seal(file, content, arrays):
        raise CheckpointError(f"{file.path} is damaged or was changed: its digest is not right.")
    wanted = {name: (a.shape, a.dtype) for name, a in _arrays(state).items()}
    if wanted != {name: (a.shape, a.dtype) for name, a in arrays.items()}:
        raise CheckpointError(f"{file.path} holds the state of another network.")
    return arrays, header


def _arrays(state: TrainingState) -> dict[str, NDArray[Any]]:
    tensors = {f"model.{k}": v.detach() for k, v in state.model.state_dict().items()}
    tensors |= {f"momentum.{k}": v for k, v in state.optimizer.momenta.items()}
    if state.average is not None:
        tensors |= {f"average.{k}": v for k, v in state.average.values.items()}
    tensors["generator"] = state.generator.get_state()
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}

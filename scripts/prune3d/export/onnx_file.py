"""ONNX files of final networks."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from prune3d.errors import UserError
from prune3d.files import atomic_path
from prune3d.models.assembly import get_spec

TOLERANCE = 1e-3


def export(model: nn.Module, path: str | Path) -> float:
    """Write a network as ONNX and compare its outputs with the original's.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU.
    path
        Name of the file. Its input ``images`` has shape (N, channels, side, side), N free; its
        output ``logits`` (N, classes).

    Returns
    -------
    float
        The largest absolute difference of logits on random images, in ONNX Runtime on the CPU.

    Raises
    ------
    UserError
        If it is above 1e-3 of the largest logit.
    """
    spec = get_spec(model)
    images = torch.randn(
        4, spec.in_channels, spec.side, spec.side, generator=torch.Generator().manual_seed(0)
    )
    with atomic_path(path) as temporary:
        _write(model, images, temporary)
        found = _run(temporary, images)
        with torch.no_grad():
            expected = model(images).numpy()
        difference = float(np.abs(found - expected).max())
        if difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise UserError(f"{path} differs from the network by {difference:.3g} in its logits.")
    return difference


def export_unreachable(path: str | Path, reason: str) -> None:
    """Write an ONNX file without nodes that says why there is no network."""
    from onnx import helper

    model = helper.make_model(helper.make_graph([], "unreachable", [], []), doc_string=reason)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _write(model: nn.Module, images: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model,
            (images,),
            str(path),
            # The exporter by tracing: the newer one takes twenty times as long on a plain CNN.
            dynamo=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
        )


def _run(path: Path, images: torch.Tensor) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, {"images": images.numpy()})
    return outputs[0]

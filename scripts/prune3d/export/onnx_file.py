"""ONNX files of final networks."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from prune3d.errors import UserError, what_failed
from prune3d.export.classifier import start_session
from prune3d.export.decisions import decisions
from prune3d.export.equivalents import Equivalents
from prune3d.export.packages import check_packages, missing
from prune3d.files import atomic_path
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.models.meaning import get_meaning

TOLERANCE = 1e-3
TRACED_IMAGES, OTHER_IMAGES = 4, 3


class ExportError(UserError):
    """A network that cannot be written as ONNX."""


def export(model: nn.Module, path: str | Path) -> float:
    """Write a network as ONNX and compare its outputs with the original's.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU.
    path
        Name of the file. Its input ``images`` has shape (N, channels, side, side), N free; its
        output ``logits`` (N, classes). Its metadata tell, as JSON, what is known of ``classes``,
        ``mean``, ``spread``, ``crop``, ``stored_side`` and ``resize``, see
        `prune3d.models.meaning.Meaning`, and the ``side`` in pixels.

    Returns
    -------
    float
        The largest absolute difference of logits on random images, in ONNX Runtime on the CPU.

    Raises
    ------
    ExportError
        If the network uses what cannot be written, decides by the images what it computes, or if
        the difference is above 1e-3 of the largest logit.
    UserError
        If onnx or onnxruntime is not installed.
    """
    check_packages()
    with atomic_path(path) as temporary:
        difference = _write_and_compare(model, get_spec(model).side, temporary)
        _tell_meaning(temporary, known_of(model))
        return difference


def write_at_side(model: nn.Module, side: int, path: Path) -> None:
    """Write a network for images of a side in pixels, without metadata; see `export`.

    The network may be on any device; it is written as it would be on the CPU.
    """
    check_packages()
    if next(model.parameters()).device.type != "cpu":
        model = copy_network(model, get_spec(model).name).cpu()
    _write_and_compare(model.eval(), side, path)


def why_not_onnx(model: nn.Module, sides: Iterable[int]) -> str | None:
    """Return why a network cannot be written as ONNX for images of some sides in pixels, or None.

    It is written and compared, to a file that is deleted. Where onnx or onnxruntime is missing,
    nothing is known.
    """
    if missing() is not None:
        return None
    with TemporaryDirectory() as folder:
        try:
            for side in sides:
                _write_and_compare(model, side, Path(folder) / "model.onnx")
        except ExportError as error:
            return str(error)
    return None


def export_unreachable(path: str | Path, reason: str) -> None:
    """Write an ONNX file without nodes that says why there is no network."""
    check_packages()
    from onnx import helper

    model = helper.make_model(helper.make_graph([], "unreachable", [], []), doc_string=reason)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _write_and_compare(model: nn.Module, side: int, path: Path) -> float:
    """Write a network for images of a side and return the largest difference of its logits.

    First with fixed sizes, then with those that the exporter traces: each writes networks that the
    other does not.
    """
    places = decisions(model, _images(model, TRACED_IMAGES, side))
    if places:
        raise ExportError(
            f"{get_spec(model).name} cannot be written as ONNX: it decides by the images what it "
            f"computes, at {places[0]}, and the file would keep one decision for all."
        )
    reasons = []
    for fixed_sides in (True, False):
        try:
            _write(model, _images(model, TRACED_IMAGES, side), path, Equivalents(fixed_sides))
            session = start_session(path)
            counts = (TRACED_IMAGES, OTHER_IMAGES)
            return max(_difference(model, session, _images(model, n, side)) for n in counts)
        except Exception as error:  # the exporter's are of many types
            reasons.append(error if isinstance(error, ExportError) else _as_told(model, error))
    raise reasons[0] from None


def known_of(model: nn.Module) -> dict[str, Any]:
    """Return what a file tells of a network's inputs and outputs, see `export`."""
    meaning = get_meaning(model)
    told = {**asdict(meaning), "resize": meaning.resize, "side": get_spec(model).side}
    return {name: value for name, value in told.items() if value is not None}


def _tell_meaning(path: Path, known: Mapping[str, Any]) -> None:
    import onnx

    file = onnx.load(path)
    onnx.helper.set_model_props(file, {name: json.dumps(value) for name, value in known.items()})
    onnx.save(file, path)


def _as_told(model: nn.Module, error: Exception) -> ExportError:
    # What follows is the exporter's own graph.
    told = what_failed(error).split(" [Caused by")[0].split(". Please")[0].rstrip(".")
    return ExportError(f"{get_spec(model).name} cannot be written as ONNX ({told}).")


def _images(model: nn.Module, count: int, side: int) -> torch.Tensor:
    shape = (count, get_spec(model).in_channels, side, side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _write(model: nn.Module, images: torch.Tensor, path: Path, equivalents: Equivalents) -> None:
    with warnings.catch_warnings(), _without_output(), equivalents:
        # Whether the trace holds for other images is looked at by other means.
        warnings.simplefilter("ignore")
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


@contextmanager
def _without_output() -> Iterator[None]:
    """Keep what native code prints from the screen.

    Of a network that it cannot write the exporter prints the whole graph, and no setting stops it.
    """
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _difference(model: nn.Module, session: Any, images: torch.Tensor) -> float:
    count = len(images)
    found: np.ndarray = session.run(None, {"images": images.numpy()})[0]
    with torch.no_grad():
        expected = model(images).numpy()
    if found.shape != expected.shape:
        raise ExportError(
            f"the ONNX file of {get_spec(model).name} gives {found.shape} for {count} images."
        )
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ExportError(
            f"the ONNX file of {get_spec(model).name} differs from the network by "
            f"{difference:.3g} in its logits for {count} images."
        )
    return difference

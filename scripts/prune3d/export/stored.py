"""ONNX files on the images that a run has stored."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prune3d.export.classifier import open_session
from prune3d.export.packages import check_packages

if TYPE_CHECKING:
    from prune3d.data.images import Images


def why_no_network(path: str | Path) -> str | None:
    """Return why an ONNX file that `prune3d.export` wrote holds no network, None if it does."""
    check_packages()
    import onnx

    file = onnx.load(path)
    return None if file.graph.node else str(file.doc_string)


def why_no_program(path: str | Path) -> str | None:
    """Return why a file holds no program, None if it does."""
    return None if zipfile.is_zipfile(path) else Path(path).read_text(encoding="utf-8").strip()


def inputs_of(images: Images, file: str | Path) -> list[NDArray[np.float32]]:
    """Return images as the inputs of an ONNX file, each of shape (channels, side, side)."""
    (given,) = open_session(Path(file)).get_inputs()
    return [image for batch in images.batches(given.shape[-1]) for image in batch.numpy()]


def accuracy_of(file: str | Path, images: Images) -> float:
    """Return the part of the images that an ONNX file classifies right, on the CPU."""
    session = open_session(Path(file))
    (given,) = session.get_inputs()
    found = [
        session.run(None, {given.name: batch.numpy()})[0].argmax(1)
        for batch in images.batches(given.shape[-1])
    ]
    return float((np.concatenate(found) == images.labels.numpy()).mean())

"""ONNX files in 8-bit integers: static quantization by ONNX Runtime."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.errors import UserError, what_failed
from prune3d.export.classifier import open_session
from prune3d.export.packages import check_packages
from prune3d.files import atomic_path

# Images by which the ranges of 8-bit integers are set.
CALIBRATED = 256
# Images of a pass; the last, smaller one counts as well.
BATCH = 32


def quantize(source: str | Path, target: str | Path, images: Sequence[NDArray[np.float32]]) -> None:
    """Write an ONNX file whose convolutions and matrix products compute in 8-bit integers.

    Weights have a scale for each channel, activations one each, from the range that they have on
    the images. The same images give the same file. Activations are unsigned and weights signed: on
    x86-64 without VNNI it needs the session option ``session.x64quantprecision`` = ``1``, without
    which ONNX Runtime's sums of products may overflow there; `open_session` sets it.

    Parameters
    ----------
    source
        A file that `prune3d.export.export` wrote.
    target
        Name of the new file, with the same input, output and metadata.
    images
        Inputs to calibrate on, each of shape (channels, side, side): training images, normalized; a
        few hundred are enough.

    Raises
    ------
    UserError
        If there are no images, or the file cannot be quantized.
    """
    check_packages()
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source = Path(source)
    if not len(images):
        raise UserError(f"{source} cannot be quantized without images to calibrate on; give some.")
    (given,) = open_session(source).get_inputs()
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises what is done here
    try:
        with atomic_path(target) as temporary, TemporaryDirectory() as folder:
            prepared = Path(folder) / "model.onnx"
            quant_pre_process(str(source), str(prepared))
            quantize_static(
                str(prepared),
                str(temporary),
                _reader(given.name, images),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            written = onnx.load(temporary)
            told = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
            onnx.helper.set_model_props(written, told)
            onnx.save(written, temporary)
            open_session(temporary)
    except UserError:
        raise
    except Exception as error:  # of many types
        raise UserError(f"{source} cannot be quantized ({what_failed(error)}).") from error
    finally:
        root.setLevel(level)


def _reader(name: str, images: Sequence[NDArray[np.float32]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Gives the images in batches, once."""

        def __init__(self) -> None:
            self._batches: Iterator[dict[str, NDArray[np.float32]]] = (
                {name: np.stack(images[first : first + BATCH])}
                for first in range(0, len(images), BATCH)
            )

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            """Return the next batch, None after the last."""
            return next(self._batches, None)

    return Reader()

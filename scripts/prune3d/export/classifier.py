"""A network to classify pictures with, from a model file or an ONNX file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.errors import CheckpointError, what_failed
from prune3d.export.packages import READING, check_packages
from prune3d.export.preprocessing import Preprocessing

Floats = NDArray[np.float32]
BATCH = 64
READERS = 4
CPU = ("CPUExecutionProvider",)
KNOWN = ("classes", "mean", "spread", "crop", "stored_side", "resize", "side")


@dataclass(frozen=True)
class Classifier:
    """A network with what is needed to use it.

    Attributes
    ----------
    classes
        Names of the classes in the order of the logits; None where they are not known.
    num_classes
        Number of logits.
    read
        From a picture file to an input: float32 of shape (channels, side, side), or, where resizing
        is inside the network's file, uint8 of shape (height, width, 3).
    infer
        From inputs to logits, shape (N, classes).
    """

    classes: tuple[str, ...] | None
    num_classes: int
    read: Callable[[Path], NDArray[Any]]
    infer: Callable[[Sequence[NDArray[Any]]], Floats]

    def logits(self, paths: Sequence[Path]) -> Iterator[Floats]:
        """Yield the logits of picture files in batches, in order."""
        with ThreadPoolExecutor(READERS) as pool:
            for first in range(0, len(paths), BATCH):
                some = paths[first : first + BATCH]
                yield self.infer(list(pool.map(self.read, some)))

    def name_of(self, label: int) -> str:
        """Return the name of a class, or its number."""
        return self.classes[label] if self.classes else str(label)


def open_classifier(path: Path, code: str | None = None) -> Classifier:
    """Open a file ``.safetensors`` of prune3d, or an ONNX file that `prune3d.export` wrote.

    The latter may have resizing inside, as `prune3d.export.pictures_inside.take_pictures` writes.

    Raises
    ------
    UserError
        If it is neither, or does not say how pictures become inputs.
    """
    return _of_onnx(path) if path.suffix == ".onnx" else _of_model(path, code)


def _of_model(path: Path, code: str | None) -> Classifier:
    import torch

    from prune3d.models.assembly import get_spec
    from prune3d.models.checkpoint import load
    from prune3d.models.meaning import get_meaning

    model = load(path, code=code)
    spec, meaning = get_spec(model), get_meaning(model)
    rule = Preprocessing.of(asdict(meaning), spec.side, spec.in_channels, path)

    def infer(images: Sequence[Floats]) -> Floats:
        with torch.inference_mode():
            logits: Floats = model(torch.from_numpy(np.stack(images))).numpy()
        return logits

    return Classifier(meaning.classes, spec.num_classes, rule.read, infer)


def _of_onnx(path: Path) -> Classifier:
    session = open_session(path)
    told = told_by(session, path)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(outputs) != 1:
        raise CheckpointError(f"{path} does not take one batch of images and give logits.")
    classes = told.get("classes")
    known = tuple(classes) if classes else None
    name, count = inputs[0].name, int(outputs[0].shape[-1])

    def infer(images: Sequence[NDArray[Any]]) -> Floats:
        logits: Floats = session.run(None, {name: np.stack(images)})[0]
        return logits

    def infer_alone(pictures: Sequence[NDArray[Any]]) -> Floats:
        """Pass pictures one by one, since their sizes differ."""
        return np.concatenate([infer([picture]) for picture in pictures])

    if inputs[0].type == "tensor(uint8)" and inputs[0].shape[3] == 3:
        return Classifier(known, count, _read_whole, infer_alone)
    channels, side = inputs[0].shape[1], inputs[0].shape[3]
    if inputs[0].type != "tensor(float)" or not isinstance(side, int):
        raise CheckpointError(
            f"{path} takes {inputs[0].type} of shape {inputs[0].shape}; allowed are float images "
            "of a fixed side, (N, channels, side, side), and uint8 pictures, (N, height, width, 3)."
        )
    return Classifier(known, count, Preprocessing.of(told, side, channels, path).read, infer)


def _read_whole(path: Path) -> NDArray[np.uint8]:
    """Return a picture file upright in RGB, shape (height, width, 3)."""
    from prune3d.data.pictures import read_picture

    return np.asarray(read_picture(path))


def open_session(path: Path, threads: int | None = None, providers: Sequence[str] = CPU) -> Any:
    """Open an ONNX file in ONNX Runtime.

    Parameters
    ----------
    path
        The file.
    threads
        Of the CPU; None leaves them to ONNX Runtime.
    providers
        What may compute, the first that can.

    Raises
    ------
    UserError
        If it is missing or damaged, holds no network, or ONNX Runtime is not installed.
    """
    check_packages(READING)
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist or is no file.")
    try:
        session = start_session(path, threads, providers)
    except Exception as error:  # ONNX Runtime's are of many types
        raise CheckpointError(f"{path} is no usable ONNX file ({what_failed(error)}).") from None
    if not session.get_inputs():
        raise CheckpointError(f"{path} holds no network: {session.get_modelmeta().description}.")
    return session


def start_session(path: Path, threads: int | None = None, providers: Sequence[str] = CPU) -> Any:
    """Return a session of ONNX Runtime for a file; its own errors are raised, and not printed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # Where a processor's sums of 8-bit products overflow (x86-64 without VNNI): exact kernels.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # Threads that wait for the next pass would take the processor from other sessions.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=list(providers))


def told_by(session: Any, path: Path) -> dict[str, Any]:
    """Return what an ONNX file's metadata tell of inputs and outputs."""
    found = session.get_modelmeta().custom_metadata_map
    try:
        return {name: json.loads(found[name]) for name in KNOWN if name in found}
    except ValueError:
        raise CheckpointError(
            f"{path} has metadata that are not JSON; export the network again."
        ) from None


@dataclass(frozen=True)
class Score:
    """Accuracy of a classifier on pictures.

    Attributes
    ----------
    top1, top5
        In [0, 1]; top5 among at most 5 classes.
    low, high
        Ends of the 95 % Wilson interval of top1.
    loss
        Mean cross entropy in nats.
    images
        Number of pictures.
    """

    top1: float
    top5: float
    low: float
    high: float
    loss: float
    images: int


def score(classifier: Classifier, paths: Sequence[Path], labels: NDArray[np.int64]) -> Score:
    """Classify pictures whose classes are known, each once."""
    logits = np.concatenate(list(classifier.logits(paths))).astype(np.float64)
    top = min(5, logits.shape[1])
    best = np.argsort(-logits, axis=1, kind="stable")[:, :top] == labels[:, None]
    peak = logits.max(1)
    sums = peak + np.log(np.exp(logits - peak[:, None]).sum(1))
    loss = float((sums - logits[np.arange(len(labels)), labels]).mean())
    right, n = int(best[:, 0].sum()), len(labels)
    low, high = wilson(right, n)
    return Score(right / n, float(best.any(1).mean()), low, high, loss, n)


def wilson(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a proportion.

    >>> [round(end, 3) for end in wilson(90, 100)]
    [0.826, 0.945]
    """
    z, p = 1.959964, right / of
    middle = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    reach = z * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2)) / (1 + z**2 / of)
    return max(0.0, middle - reach), min(1.0, middle + reach)

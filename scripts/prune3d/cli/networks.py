"""Networks as they are named on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prune3d.errors import CheckpointError, UserError
from prune3d.models.registry import MODELS, factory_of, is_own, usual_size

if TYPE_CHECKING:
    from torch import nn

    from prune3d.models.spec import NetworkSpec

Network = Annotated[
    str, typer.Argument(metavar="NETWORK", help="Name, path/to/file.py:function, or model file.")
]
Classes = Annotated[
    int | None,
    typer.Option("--classes", min=2, max=2**20, help="Number of classes of a named network."),
]
Side = Annotated[
    int | None,
    typer.Option("--side", min=1, max=100_000, help="Image side in pixels of a named network."),
]
Channels = Annotated[
    int | None,
    typer.Option(
        "--channels", min=1, max=2**16, help="Channels of the images of a named network [3]."
    ),
]
Weights = Annotated[
    Path | None, typer.Option("--weights", help="File of a named network's weights (a state_dict).")
]
Code = Annotated[
    str | None,
    typer.Option("--code", help="path/to/file.py:function that builds a model file's network."),
]
Keep = Annotated[
    list[str] | None,
    typer.Option(
        "--keep", help="Pattern of layers that stay as they are; may be given several times."
    ),
]
Threads = Annotated[int, typer.Option(min=1, max=1024, help="Threads of the CPU, for the times.")]
Runs = Annotated[int, typer.Option(min=1, max=2**20, help="Passes of which the median is taken.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Given:
    """What is said of a network beside its name; None where nothing is."""

    classes: int | None = None
    side: int | None = None
    channels: int | None = None
    weights: Path | None = None
    code: str | None = None


def open_network(name: str, given: Given) -> nn.Module:
    """Load a model file, or build a named network, with weights of its own or drawn by lot.

    Raises
    ------
    UserError
        If there is no such network, or what is given does not go with it.
    """
    check_not_onnx(name)
    if name.endswith(".py"):
        raise UserError(f"{name} names no function in it; write {name}:function.")
    if is_model_file(name):
        return _load(name, given)
    factory_of(name)
    import torch

    from prune3d.models import build
    from prune3d.models.weights import load_weights

    if given.code is not None:
        raise UserError(f"--code is for model files, and '{name}' is built by its name.")
    classes, side = given.classes, given.side
    if name in MODELS:
        usual = usual_size(name)
        classes, side = classes or usual[0], side or usual[1]
    if classes is None or side is None:
        raise UserError(
            f"nothing is known of the images of '{name}'; give --classes and --side in pixels."
        )
    torch.manual_seed(0)
    model = build(name, classes, side, given.channels or 3)
    if given.weights is not None:
        load_weights(model, given.weights)
    return model.eval()


def is_model_file(name: str) -> bool:
    """Tell whether a network is named by its file, and not by how it is built."""
    is_named = name in MODELS or is_own(name)
    return name.endswith(".safetensors") or (not is_named and Path(name).is_file())


def _load(name: str, given: Given) -> nn.Module:
    from prune3d.models.checkpoint import load

    for option in ("classes", "side", "channels", "weights"):
        if getattr(given, option) is not None:
            raise UserError(f"--{option} is for named networks; {name} says it itself.")
    try:
        return load(name, code=given.code)
    except CheckpointError as error:
        if not Path(name).is_file() or _is_ours(name):
            raise
        raise CheckpointError(
            f"{str(error).rstrip('.')}; a file of weights alone goes with the name of its network: "
            f"prune3d prune NAME --weights {name}."
        ) from None


def _is_ours(name: str) -> bool:
    """Tell whether a file has a header of prune3d's."""
    from prune3d.tensors import read_header

    try:
        return "format" in read_header(name)
    except CheckpointError:
        return False


def check_not_onnx(file: str | Path) -> None:
    """Refuse an ONNX file where a model file is wanted.

    Raises
    ------
    UserError
        In one sentence.
    """
    if str(file).endswith(".onnx"):
        raise UserError(f"{file} is an ONNX file; give the .safetensors file of the network.")


def check_not_itself(given: str | Path, output: Path) -> None:
    """Refuse to write a file in the place of the one that it is made of.

    Raises
    ------
    UserError
        In one sentence.
    """
    if output.exists() and Path(given).exists() and output.samefile(given):
        raise UserError(f"{output} is the file given itself, which would be lost; name another.")


@contextmanager
def naming(file: Path, *made_of_it: Path) -> Iterator[None]:
    """Let errors name the user's file where they name a temporary one that was made of it."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for one in made_of_it:
            text = text.replace(str(one), str(file))
        raise UserError(text) from None


def title(spec: NetworkSpec) -> str:
    """Return a network's name, classes and images as text."""
    return (
        f"{spec.name}: {spec.num_classes} classes, images of "
        f"{spec.in_channels} x {spec.side} x {spec.side}"
    )

"""A training written down for other processes: a small JSON file that names files.

Networks are rebuilt from model files, images are read from theirs, and a penalty is made anew by
the function that its name says. Nothing is pickled.
"""

from __future__ import annotations

import importlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict
from torch import nn

from prune3d.data.images import Images, load_images, save_images
from prune3d.errors import UserError
from prune3d.models.assembly import get_spec
from prune3d.models.checkpoint import load, save
from prune3d.models.registry import is_own, own_file, own_name
from prune3d.records import AtLeastOne, JsonKind, Name, Record
from prune3d.train.compute import Compute
from prune3d.train.recipe import Recipe
from prune3d.train.resume import ResumeFile
from prune3d.train.task import Penalty, Task


class Network(Record):
    """A model file, and the user's code that may be run to rebuild it, ``path/to/file.py:name``."""

    file: Name
    code: str | None


class ImagesFile(Record):
    """A file of images, and its digest where it was not written for this training."""

    file: Name
    digest: str | None


class State(Record):
    """See `prune3d.train.resume.ResumeFile`."""

    file: Name
    digest: str


class Made(Record):
    """A penalty: a function ``module:name``; with settings, what it returns for a network."""

    function: Name
    settings: dict[str, Any] | None


class Order(Record):
    """A training; the fields are those of `Task` but for the last two."""

    # A recipe comes from JSON as a dict.
    model_config = ConfigDict(strict=False)

    model: Network
    images: ImagesFile
    recipe: Recipe
    seed: int
    resume: State | None
    compute: Compute
    teacher: Network | None
    penalty: Made | None
    tensorboard: str | None
    judged: ImagesFile | None
    device: Literal["cpu", "cuda"]
    threads: AtLeastOne


ORDER = JsonKind("training order", 1, Order)


def write_order(path: Path, task: Task, device: str, threads: int) -> None:
    """Write a training down, with what of it lies in no file beside the order.

    Parameters
    ----------
    path
        Name of the order, in a folder that only this user can read or write.
    task
        The training.
    device
        ``cuda``, one GPU for each process, or ``cpu``.
    threads
        Of all processes together.

    Raises
    ------
    UserError
        If the penalty is no function that another process can find.
    """
    folder, classes = path.parent.absolute(), get_spec(task.model).num_classes
    resume, board, penalty = task.resume, task.tensorboard, task.penalty
    order = {
        "model": _written_network(task.model, folder, "model"),
        "teacher": _written_network(task.teacher, folder, "teacher"),
        "images": _written_images(task.images, folder, "images", classes),
        "judged": _written_images(task.judged, folder, "judged", classes),
        "recipe": asdict(task.recipe),
        "seed": task.seed,
        "resume": None if resume is None else _state(resume),
        "compute": asdict(task.compute),
        "penalty": None if penalty is None else _named(penalty),
        "tensorboard": None if board is None else str(board.absolute()),
        "device": device,
        "threads": threads,
    }
    ORDER.write(path, order)


def read_order(path: Path) -> Order:
    """Read an order.

    Raises
    ------
    UserError
        If it is missing, damaged, or of another version.
    """
    return Order.model_validate(ORDER.read(path))


def make_task(order: Order, rank: int) -> Task:
    """Return the training of an order, its networks rebuilt.

    Parameters
    ----------
    order
        What is to be done.
    rank
        Of this process; the first alone judges.

    Raises
    ------
    UserError
        If a file is missing or not what it was when the order was written.
    """
    model = _rebuilt(order.model)
    resume, penalty = order.resume, order.penalty
    judged = order.judged if rank == 0 else None
    return Task(
        model=model,
        images=_read_images(order.images),
        recipe=order.recipe,
        seed=order.seed,
        resume=None if resume is None else ResumeFile(Path(resume.file), resume.digest),
        compute=order.compute,
        teacher=None if order.teacher is None else _rebuilt(order.teacher),
        penalty=None if penalty is None else _make(penalty, model),
        tensorboard=None if order.tensorboard is None else Path(order.tensorboard),
        judged=None if judged is None else _read_images(judged),
    )


def remove_files(path: Path, order: Order) -> None:
    """Remove networks and images that were written for this training alone, beside its order."""
    files = (order.model, order.teacher, order.images, order.judged)
    for file in (Path(file.file) for file in files if file is not None):
        if file.parent == path.parent.absolute():
            file.unlink(missing_ok=True)


def _written_network(model: nn.Module | None, folder: Path, kind: str) -> dict[str, Any] | None:
    if model is None:
        return None
    path, name = folder / f"{kind}.safetensors", get_spec(model).name
    save(model, path)
    # Who built it has said that this code may be run.
    code = f"{own_file(name).absolute()}:{own_name(name)}" if is_own(name) else None
    return {"file": str(path), "code": code}


def _rebuilt(given: Network) -> nn.Module:
    return load(given.file, code=given.code)


def _written_images(
    images: Images | None, folder: Path, kind: str, classes: int
) -> dict[str, Any] | None:
    if images is None:
        return None
    if images.file is not None:
        return {"file": str(images.file.absolute()), "digest": images.known}
    path = folder / f"{kind}.safetensors"
    save_images(path, images, classes)
    return {"file": str(path), "digest": None}


def _read_images(given: ImagesFile) -> Images:
    images = load_images(given.file)
    if given.digest is not None and images.known != given.digest:
        raise UserError(f"{given.file} has changed since the training began; start it again.")
    return images


def _named(penalty: Penalty) -> dict[str, Any]:
    made_by = getattr(penalty, "made_by", None)
    if made_by is not None:
        function, settings = made_by
        return {"function": _name_of(function), "settings": settings}
    return {"function": _name_of(penalty), "settings": None}


def _name_of(function: Any) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    try:
        found = _find(f"{module}:{name}")
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is not function or module == "__main__":
        raise UserError(
            f"the penalty {name or type(function).__name__} of {module} cannot be found by other "
            "processes; allowed is a function of a module that can be imported, or one process."
        )
    return f"{module}:{name}"


def _find(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _make(made: Made, model: nn.Module) -> Penalty:
    function = _find(made.function)
    penalty: Penalty = function if made.settings is None else function(model, **made.settings)
    return penalty


def _state(file: ResumeFile) -> dict[str, str]:
    return {"file": str(file.path.absolute()), "digest": file.digest}

"""The models that can be named, and the facts about them that need no torch.

The facts are measured on the networks themselves by ``python -m prune3d.pruning.measure_models``
and kept in facts.json, so that a config can be checked within a second.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prune3d.errors import UserError

FACTS_FILE = Path(__file__).with_name("facts.json")
CIFAR_SIDE, IMAGENET_SIDE = 32, 224


@dataclass(frozen=True)
class Factory:
    """How a network is built.

    Attributes
    ----------
    function
        ``module:function`` that builds it from the arguments below, num_classes, image_size and
        in_channels.
    arguments
        The function's first arguments.
    """

    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a registered model without building it.

    Attributes
    ----------
    num_classes, image_size
        Of the network that was measured, with three input channels.
    macs, params
        Its multiply-accumulates for one image, and its parameters.
    blocks
        Number of blocks that depth counts.
    removable
        How many of them can be removed.
    groups
        Groups of layers that must keep the same channels: their channels, what the number that is
        kept must be a multiple of, and how many such groups there are.
    smallest_side
        Smallest image side in pixels that the network takes.
    layers
        Names of the layers with parameters.
    """

    num_classes: int
    image_size: int
    macs: int
    params: int
    blocks: int
    removable: int
    groups: tuple[tuple[int, int, int], ...]
    smallest_side: int
    layers: tuple[str, ...]

    @property
    def fewest_blocks(self) -> int:
        """Blocks that are left when all that can go are gone; a depth ratio is above zero."""
        return min(self.blocks, max(1, self.blocks - self.removable))


_CIFAR = {
    **{
        f"resnet{layers}": Factory("prune3d.models.cifar_resnet:resnet", (layers, 16))
        for layers in (8, 14, 20, 32, 44, 56, 110)
    },
    # With half of the channels: small networks for small images, with little to spare in width.
    **{
        f"resnet{layers}_wd2": Factory("prune3d.models.cifar_resnet:resnet", (layers, 8))
        for layers in (20, 32)
    },
    **{
        f"cifar_vgg{layers}_bn": Factory("prune3d.models.cifar_vgg:vgg", (layers,))
        for layers in (16, 19)
    },
    "densenet40": Factory("prune3d.models.cifar_densenet:densenet", (40, 12)),
    "cifar_mobilenet_v2": Factory("prune3d.models.cifar_mobilenet:mobilenet_v2", ()),
}

_TORCHVISION = (
    "resnet18",
    "resnet34",
    "resnet50",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "regnet_y_400mf",
    "vgg16_bn",
)

MODELS: dict[str, Factory] = {
    **_CIFAR,
    **{name: Factory("prune3d.models.from_torchvision:build", (name,)) for name in _TORCHVISION},
}


def usual_size(name: str) -> tuple[int, int]:
    """Return the number of classes and the image side for which a registered model was designed."""
    return (10, CIFAR_SIDE) if name in _CIFAR else (1000, IMAGENET_SIDE)


@cache
def all_facts() -> dict[str, ModelFacts]:
    """Read the facts of all registered models."""
    content = json.loads(FACTS_FILE.read_text(encoding="utf-8"))
    return {
        name: ModelFacts(
            **{
                **known,
                "groups": tuple(map(tuple, known["groups"])),
                "layers": tuple(known["layers"].split()),
            }
        )
        for name, known in content.items()
    }


def facts(name: str) -> ModelFacts | None:
    """Return what is known of a model before it is built: None for timm's and one's own.

    Raises
    ------
    UserError
        If there is no model of that name.
    """
    factory_of(name)
    return all_facts()[name] if name in MODELS else None


def factory_of(name: str) -> Factory:
    """Return how to build the model of a name.

    Parameters
    ----------
    name
        A name in `MODELS`, ``timm/NAME``, or ``path/to/file.py:function``.

    Raises
    ------
    UserError
        If there is no such model, timm is not installed, or the file has no such function.
    """
    if name in MODELS:
        return MODELS[name]
    if name.startswith("timm/"):
        if find_spec("timm") is None:
            raise UserError(f"model '{name}' needs timm, which is not installed; install timm.")
        return Factory("prune3d.models.from_timm:build", (name.removeprefix("timm/"),))
    if is_own(name):
        check_own(name)
        return Factory("prune3d.models.own:build", (name,))
    raise UserError(
        f"unknown model '{name}'; registered are: {', '.join(MODELS)}; "
        "others are named timm/NAME or path/to/file.py:function."
    )


def is_own(name: str) -> bool:
    """Tell whether a name means something in a file of the user's."""
    return ".py:" in name


def own_file(name: str) -> Path:
    """Return the file of ``path/to/file.py:name``."""
    return Path(name.rpartition(":")[0])


def own_name(name: str) -> str:
    """Return what ``path/to/file.py:name`` names in the file."""
    return name.rpartition(":")[2]


def check_own(name: str) -> None:
    """Refuse ``path/to/file.py:name`` if the file is missing, is not Python or has no such name.

    The file is parsed, not run.
    """
    path = own_file(name)
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise UserError(f"'{name}': the file {path} cannot be read ({error.strerror}).") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"'{name}': the file {path} is not Python ({error}).") from None
    names = _top_level_names(tree)
    if own_name(name) not in names and "*" not in names:
        raise UserError(f"'{name}': the file {path} has no function or class '{own_name(name)}'.")


def _top_level_names(tree: ast.Module) -> set[str]:
    """Return the names that a file gives, in branches too; ``*`` for all those of another."""
    names: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.ImportFrom | ast.Import):
                names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            elif not isinstance(node, ast.Lambda):
                waiting.append(node)
    return names

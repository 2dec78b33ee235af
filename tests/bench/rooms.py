"""Draw the library's rooms and the imports between them: ``python tests/bench/rooms.py``.

Writes docs/images/rooms.svg. Imports are read from the source, those within functions and for type
checkers included.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "scripts/prune3d"
PICTURE = ROOT / "docs/images/rooms.svg"
# From the lowest room to the highest; below them all is the ground: modules without a room.
ROOMS = (
    "predictor",
    "data",
    "models",
    "export",
    "sampling",
    "costs",
    "train",
    "pruning",
    "optimize",
    "workflow",
    "report",
    "cli",
)
MODULES = sorted(LIBRARY.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return a module's name below ``prune3d``, such as ``train.loop``; empty for the door."""
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported(path: Path) -> Iterator[str]:
    """Yield the names below ``prune3d`` that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (n.removeprefix("prune3d.") for n in names if n.startswith("prune3d."))


def room_of(module: str) -> str:
    """Return the room of a module, empty for the ground."""
    first = module.partition(".")[0]
    return first if first in ROOMS else ""


def arrows() -> Counter[tuple[str, str]]:
    """Count the modules of each room that import from another room."""
    found: Counter[tuple[str, str]] = Counter()
    for path in MODULES:
        room = room_of(name_of(path))
        others = {room_of(name) for name in imported(path)} - {"", room}
        found.update((room, other) for other in others if room)
    return found


def draw() -> None:
    """Draw the rooms from the highest down, an arrow for each pair, thicker for more modules."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "rooms"
    figure = Figure(figsize=(7, 7.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-3, 3)
    axes.set_ylim(-0.7, len(ROOMS) - 0.3)
    modules = Counter(room_of(name_of(path)) for path in MODULES)
    for level, room in enumerate(ROOMS):
        text = f"{room}  ({modules[room]})"
        box = {"boxstyle": "round,pad=0.4", "facecolor": "#eef3fb", "edgecolor": "#34508a"}
        axes.text(0, level, text, ha="center", va="center", bbox=box, fontsize=11, zorder=3)
    for (upper, lower), count in sorted(arrows().items()):
        high, low = ROOMS.index(upper), ROOMS.index(lower)
        side = 1 if (high + low) % 2 else -1
        style = {
            "arrowstyle": "-|>",
            "connectionstyle": f"arc3,rad={-side * 0.45}",
            "color": "#34508a",
            "linewidth": 0.5 + 0.25 * count,
            "alpha": 0.45,
        }
        ends = ((side * 0.75, low), (side * 0.75, high))
        axes.annotate("", *ends, arrowprops=style, zorder=2)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    draw()

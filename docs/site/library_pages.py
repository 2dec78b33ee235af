"""Pages on the library, one for each room, for Sphinx to fill from the docstrings."""

from __future__ import annotations

import ast
from pathlib import Path


def write_pages(library: Path, folder: Path) -> None:
    """Write a page on the package itself and one on each room, and delete those of no room."""
    folder.mkdir(exist_ok=True)
    pages = {"prune3d.rst": door_page(library)} | {
        f"prune3d.{door.parent.name}.rst": room_page(door.parent)
        for door in library.glob("*/__init__.py")
    }
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in folder.iterdir():
        if path.name not in pages:
            path.unlink()


def door_page(library: Path) -> str:
    """Return the page on what users call: functions that are imported when first used."""
    names = [name for name, _ in homes(library, "prune3d") if not name.startswith("_")]
    functions = [f".. autofunction:: prune3d.{name}\n\n" for name in names]
    return titled("prune3d", "=") + ".. automodule:: prune3d\n\n" + "".join(functions)


def room_page(room: Path) -> str:
    """Return the page on a room: the names at its door, then all of its modules."""
    package = f"prune3d.{room.name}"
    parts = [titled(package, "="), f".. automodule:: {package}\n\n", exported(room, package)]
    for path in sorted(room.rglob("*.py")):
        if path.name.startswith("__") and path.parent == room:
            continue
        inside = path.relative_to(room).with_suffix("").parts
        module = ".".join([package, *(part for part in inside if part != "__init__")])
        parts.append(titled(module.removeprefix(f"{package}."), "-") + automodule(module))
    return "".join(parts)


def exported(room: Path, package: str) -> str:
    """Return the names that the door of a room gives to others, each a link to its home."""
    names = [f":py:obj:`{name} <{home}.{name}>`" for name, home in homes(room, package)]
    return f"To be imported from ``{package}``: {', '.join(names)}.\n\n" if names else ""


def homes(folder: Path, package: str) -> list[tuple[str, str]]:
    """Return the names that a package takes from its modules, and from which, by name."""
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return sorted(
        (alias.name, str(node.module))
        for node in imports
        if f"{node.module}.".startswith(f"{package}.")
        for alias in node.names
    )


def titled(text: str, line: str) -> str:
    """Return a heading."""
    return f"{text}\n{line * len(text)}\n\n"


def automodule(name: str) -> str:
    """Return the directive that documents the public names of a module."""
    return f".. automodule:: {name}\n   :members:\n\n"

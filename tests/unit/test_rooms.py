"""The library's rooms: imports point down or sideways in a room, never up; nothing lies loose.

The order is that of docs/architecture.md. Imports are read from the source, those within functions
and for type checkers included.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rooms import LIBRARY, MODULES, ROOMS, imported, name_of, room_of

GROUND = ("errors", "seeds", "files", "records", "tensors", "progress", "processes", "_version")


def level(module: str) -> int:
    """Return the height of a module's room, 0 for the ground."""
    room = room_of(module)
    return 1 + ROOMS.index(room) if room else 0


def test_only_the_door_and_the_ground_are_loose() -> None:
    loose = {path.stem for path in LIBRARY.glob("*.py")}
    assert loose == {"__init__", *GROUND}
    assert {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()} == set(
        ROOMS
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_points_up(path: Path) -> None:
    module = name_of(path)
    if not module:
        return  # the door opens to all rooms
    known = {*GROUND, *ROOMS}
    up = [n for n in imported(path) if n.partition(".")[0] in known and level(n) > level(module)]
    assert not up, f"{module} imports from a higher room: {', '.join(up)}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {name_of(path): path for path in MODULES}
    arrows = {
        name: {n for n in imported(path) if n in names and n != name}
        for name, path in names.items()
        if name
    }
    visited: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name in visited:
            return
        for other in sorted(arrows.get(name, ())):
            # A room's door imports its modules late, for those who come from outside.
            if not (names[name].name == "__init__.py" and other.startswith(f"{name}.")):
                follow(other, (*way, name))
        visited.add(name)

    for name in arrows:
        follow(name, ())

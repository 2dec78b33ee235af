"""Things in the user's own files: networks, criteria. They are named ``path/to/file.py:name``.

Each file is run with the files beside it in a room of its own: its imports find its neighbours
first, also within functions and whenever those are called, and neighbours of two projects that
have the same name are two modules.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from prune3d.errors import CheckpointError, UserError, what_failed
from prune3d.models.registry import check_own, own_file, own_name
from prune3d.models.sources import Sources, absolute, read_sources

ROOM = "prune3d_own_"


class Project:
    """A file of one's own and its neighbours as modules.

    They are registered in `sys.modules` under names of their own, so that classes can be found by
    their module (dataclasses, pickles).

    Parameters
    ----------
    sources
        The files; what was read is run, even if they are changed meanwhile.
    """

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._room = ROOM + sources.key
        self._modules: dict[str, ModuleType] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}
        room = ModuleType(self._room)
        room.__path__ = []
        sys.modules[self._room] = room

    @property
    def loaded(self) -> list[str]:
        """The modules that have been run so far."""
        return list(self._modules)

    def module(self, name: str) -> ModuleType:
        """Return a module of the project, run at its first use, its packages before it.

        Raises
        ------
        ModuleNotFoundError
            If the project has no such module.
        """
        if name in self._modules:
            return self._modules[name]
        parent, _, child = name.rpartition(".")
        above = self.module(parent) if parent else None
        if name in self._modules:  # its package imports it
            return self._modules[name]
        module = self._run(name)
        if above is not None:
            setattr(above, child, module)
        return module

    def _run(self, name: str) -> ModuleType:
        source = self.sources.modules.get(name)
        folders = self.sources.folders(name)
        if source is None and not (folders and self._has_inside(name)):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        full = f"{self._room}.{name}"
        module = ModuleType(full)
        module.__dict__["__builtins__"] = self._builtins
        if source is None or source.is_package:
            module.__path__ = folders
        module.__package__ = full if hasattr(module, "__path__") else full.rpartition(".")[0]
        self._modules[name] = sys.modules[full] = module
        if source is not None:
            module.__file__ = str(source.path)
            try:
                exec(compile(source.content, source.path, "exec"), module.__dict__)
            except BaseException:
                del self._modules[name], sys.modules[full]
                raise
        return module

    def _has_inside(self, name: str) -> bool:
        return any(module.startswith(f"{name}.") for module in self.sources.modules)

    def _has(self, name: str) -> bool:
        return name in self.sources.modules or self._has_inside(name)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Do what `__import__` does, the project's modules first."""
        full = self._absolute(name, level, globals or {})
        if level and not full:
            return self._neighbours(fromlist or ())
        if not self._has(full.partition(".")[0]):
            found = builtins.__import__(name, globals, locals, fromlist or (), level)
            return self._importlib() if found is importlib else found
        module = self.module(full)
        if not fromlist:
            return module if level else self.module(full.partition(".")[0])
        if hasattr(module, "__path__"):
            wanted = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
            for each in wanted:
                if not hasattr(module, each) and self._has(f"{full}.{each}"):
                    self.module(f"{full}.{each}")
        return module

    def _neighbours(self, names: Sequence[str]) -> ModuleType:
        """Return what ``from . import`` in the main file takes its neighbours from."""
        room = sys.modules[self._room]
        for name in names:
            setattr(room, name, self.module(name))
        return room

    def _absolute(self, name: str, level: int, globals: Mapping[str, Any]) -> str:
        if level == 0:
            return name.removeprefix(f"{self._room}.")
        importing = str(globals.get("__name__", "")).removeprefix(f"{self._room}.")
        return absolute(name, importing, "__path__" in globals, level)

    def _importlib(self) -> ModuleType:
        """Return importlib with an `import_module` that knows the project."""
        changed = ModuleType("importlib")
        changed.__dict__.update(vars(importlib))

        def import_module(name: str, package: str | None = None) -> ModuleType:
            dots = len(name) - len(name.lstrip("."))
            asking = {"__name__": package or "", "__path__": []}
            full = self._absolute(name[dots:], dots, asking)
            if self._has(full.partition(".")[0]):
                return self.module(full)
            return importlib.import_module(name, package)

        changed.__dict__["import_module"] = import_module
        return changed


_projects: dict[str, Project] = {}


def _project(sources: Sources) -> Project:
    if sources.key not in _projects:
        _projects[sources.key] = Project(sources)
    return _projects[sources.key]


def load_own(name: str) -> Any:
    """Return what ``path/to/file.py:name`` names.

    Raises
    ------
    UserError
        If the file is missing, has no such name, fails when it is run, or ends the process.
    """
    return _load(name, read_sources(own_file(name)))


def _load(name: str, sources: Sources) -> Any:
    check_own(name)
    with _told(f"'{name}': running {sources.main.path.name} failed"), _as_program(sources):
        module = _project(sources).module(sources.main.module)
    try:
        return getattr(module, own_name(name))
    except AttributeError:
        raise UserError(
            f"'{name}': {sources.main.path} has no '{own_name(name)}' once it was run."
        ) from None


def build(name: str, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """Call the user's function with those of the three numbers that it takes, by name.

    Raises
    ------
    UserError
        If it fails, ends the process or does not return a network.
    """
    function = load_own(name)
    if not callable(function):
        raise UserError(f"'{name}' is a {type(function).__name__}, not a function.")
    given = {"num_classes": num_classes, "image_size": image_size, "in_channels": in_channels}
    with (
        _told(f"'{name}' failed when called with {given}"),
        _as_program(read_sources(own_file(name))),
    ):
        taken = inspect.signature(function).parameters.values()
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
            given = {key: given[key] for key in given if key in {p.name for p in taken}}
        model = function(**given)
    if not isinstance(model, nn.Module):
        raise UserError(f"'{name}' returned a {type(model).__name__}, not a torch.nn.Module.")
    return model


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the user's whose failures are told in one sentence."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with _told(f"'{name}' failed when called"):
            return function(*arguments, **options)

    return call


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn an exception into one sentence, and the wish to end the process likewise."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} ({what_failed(error)}).") from error
    except SystemExit as error:
        # A kind of it is how a job is asked to end.
        if type(error) is not SystemExit:
            raise
        raise UserError(
            f"{what} (it ends the process by SystemExit: {error}; what reads the command line or "
            "ends belongs under if __name__ == '__main__')."
        ) from None


@contextmanager
def _as_program(sources: Sources) -> Iterator[None]:
    """While a file is run, give it an empty command line, and take back what it changes outside.

    What other packages import for it by name is found as well, and then forgotten.
    """
    arguments, path, modules = sys.argv, list(sys.path), set(sys.modules)
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    sys.argv = [str(sources.main.path)]
    sys.path += map(str, sources.roots)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device().type == "meta":
            torch.set_default_device(None)
        sys.argv = arguments
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if not name.startswith(ROOM) and file and Path(file) in set(sources.paths):
                del sys.modules[name]


def digests_of(name: str) -> dict[str, str]:
    """Return the SHA-256 of each file that ``path/to/file.py:name`` is made of, by label."""
    return read_sources(own_file(name)).digests


def trusted_name(name: str, digests: Mapping[str, str], code: str | Path | None) -> str:
    """Return ``path/to/file.py:name`` of the code that may be run for what a file names.

    Parameters
    ----------
    name
        What the file names.
    digests
        SHA-256 of each file that the network was built with, by label.
    code
        The caller's word: ``path/to/file.py`` or ``path/to/file.py:name``. Without one, only what
        this process has run before by the caller's word is right, such as in `prune3d.build`.

    Raises
    ------
    CheckpointError
        If nobody said that the code may be run, or it is not the same.
    """
    if code is None:
        known = [p.sources for p in _projects.values() if p.loaded]
        places = [s.main.path for s in known if s.digests == digests]
        if places:
            here = own_file(name).absolute() in places
            return name if here else f"{places[0]}:{own_name(name)}"
        raise CheckpointError(
            f"its network is built by '{name}', code that is not run unless you say so: if you "
            f"trust that file, pass code='{name}' to prune3d.load (--code on the command line), or "
            "the place where it lies now."
        )
    place = str(code) if ".py:" in str(code) else f"{code}:{own_name(name)}"
    if own_name(place) != own_name(name):
        raise CheckpointError(f"its network is built by '{name}', but code names '{place}'.")
    found = digests_of(place)
    if found != digests:
        raise CheckpointError(
            f"{_difference(place, found, digests)} since the network was built; put it back as it "
            "was, or make the network anew."
        )
    return place


def _difference(place: str, found: Mapping[str, str], known: Mapping[str, str]) -> str:
    folder = read_sources(own_file(place)).folder
    for label in sorted(set(found) | set(known)):
        if found.get(label) != known.get(label):
            verb = "has changed" if label in known else "is new"
            verb = verb if label in found else "is gone"
            return f"{folder / label}, part of '{place}', {verb}"
    return f"'{place}' is the same"

"""The files that a file of one's own is made of: itself, and what it imports of the user's files.

They are found by parsing, not by running; needs no torch, so that rules can name them as inputs.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from prune3d.errors import UserError

# Folders that hold no modules, wherever they lie.
SKIPPED = {"__pycache__", "node_modules", "results", "site-packages"}
MOST_FILES = 2000
# What a file may compute a folder of imports with.
PATH_NAMES: dict[str, Any] = {"os": os, "Path": Path, "str": str, "osp": os.path}
PATH_PARTS = {"path", "dirname", "join", "abspath", "realpath", "normpath", "Path"} | {
    *("parent", "parents", "resolve", "absolute", "joinpath", "pardir", "curdir", "fspath")
}


@dataclass(frozen=True)
class Source:
    """One file, as it was when it was read.

    Attributes
    ----------
    module
        Its dotted name, as it is imported.
    path
        Where it lies.
    content
        Its bytes.
    """

    module: str
    path: Path
    content: bytes

    @property
    def is_package(self) -> bool:
        """Tell whether it stands for a folder of modules."""
        return self.path.name == "__init__.py"

    @property
    def label(self) -> str:
        """Name of the file, the same wherever the project lies, such as ``parts/blocks.py``."""
        parts = self.module.replace(".", "/")
        return f"{parts}/__init__.py" if self.is_package else f"{parts}.py"

    @cached_property
    def tree(self) -> ast.Module | None:
        """The parsed file; None where it is not Python."""
        try:
            return ast.parse(self.content)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


@dataclass(frozen=True)
class Sources:
    """A file of one's own with what it imports, directly or not.

    Attributes
    ----------
    main
        The file that was named.
    modules
        All files by module, the main one included.
    roots
        Folders in which its imports are looked for.
    """

    main: Source
    modules: dict[str, Source]
    roots: list[Path] = field(default_factory=list)

    @property
    def paths(self) -> list[Path]:
        """The files, the main one first."""
        others = {s.path for s in self.modules.values()} - {self.main.path}
        return [self.main.path, *sorted(others)]

    @property
    def folder(self) -> Path:
        """The folder from which the labels of files start."""
        return self.main.path.parents[self.main.label.count("/")]

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, by label."""
        found = {s.label: hashlib.sha256(s.content).hexdigest() for s in self.modules.values()}
        return dict(sorted(found.items()))

    @cached_property
    def key(self) -> str:
        """Stands for the place and the content of all files."""
        known = f"{self.main.path}\0{self.digests}".encode("utf-8", "surrogateescape")
        return hashlib.sha256(known).hexdigest()[:16]

    def in_roots(self, module: str) -> Path | None:
        """Return the file of a module beside the own one, or in a folder it names."""
        for root in self.roots:
            base = root.joinpath(*module.split("."))
            for path in (base / "__init__.py", base.with_name(f"{base.name}.py")):
                if path.is_file():
                    return path
        return None

    def folders(self, module: str) -> list[str]:
        """Return the folders of a package, which need not have a file of its own."""
        bases = [root.joinpath(*module.split(".")) for root in self.roots]
        return [str(base) for base in bases if base.is_dir()]


def read_sources(path: Path) -> Sources:
    """Read a file of one's own and the user's files that it imports.

    Installed packages, the standard library and prune3d are left out.

    Raises
    ------
    UserError
        If the file cannot be read, or computes names of modules among too many files.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  links keep their neighbours
    try:
        main = Source(path.stem.replace(".", "_"), path, path.read_bytes())
    except OSError as error:
        raise UserError(f"the file {path} cannot be read ({error.strerror}).") from None
    found = _with_imports(main, [path.parent])
    if path.name == "__init__.py" or any(_climbs(s) for s in found.modules.values()):
        # Only then is it a module of its package, whose own file is run before it.
        top, name = _package(path)
        found = _with_imports(replace(main, module=name), [path.parent, top])
    return found


def _with_imports(main: Source, folders: list[Path]) -> Sources:
    """Return a file with what it imports from folders, its neighbours' imports included."""
    found = Sources(main, {main.module: main}, [*dict.fromkeys(folders), *_user_folders()])
    waiting = [*_taken(_with_parents(main.module, found), found), main]
    while waiting:
        source = waiting.pop()
        for root in _added_folders(source):
            if root not in found.roots:
                found.roots.insert(1, root)
        waiting += _taken(_imports(source, found), found)
    return found


def _taken(modules: Iterator[tuple[str, Path]], found: Sources) -> list[Source]:
    """Read the modules that are new, and return them."""
    taken = []
    for module, file in modules:
        if module not in found.modules:
            try:
                found.modules[module] = Source(module, file, file.read_bytes())
            except OSError:
                continue
            taken.append(found.modules[module])
    return taken


def _climbs(source: Source) -> bool:
    """Tell whether a module imports from above the folder of the main one, by dots."""
    above = source.module.count(".") + (2 if source.is_package else 1)
    nodes = _statements(source.tree) if source.tree else ()
    return any(isinstance(node, ast.ImportFrom) and node.level > above for node in nodes)


def _package(path: Path) -> tuple[Path, str]:
    """Return the folder that holds a file's outermost package, and the file's module there."""
    parts = [] if path.name == "__init__.py" else [path.stem.replace(".", "_")]
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts) or path.stem


def _user_folders() -> list[Path]:
    """Return the folders of PYTHONPATH and the like, without those of installed packages."""
    installed = {Path(p).resolve() for p in sysconfig.get_paths().values()}
    installed |= {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    library = Path(__file__).resolve().parents[2]
    given = (Path(entry or ".").resolve() for entry in sys.path)
    return [
        folder
        for folder in dict.fromkeys(given)
        if folder.is_dir()
        and folder != library
        and not any(folder.is_relative_to(place) for place in installed)
    ]


def _imports(source: Source, found: Sources) -> Iterator[tuple[str, Path]]:
    """Yield module and file of every import that lies in the roots, packages above included."""
    if source.tree is None:
        return
    for node in _statements(source.tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", source.module, source.is_package, node.level)
            inner = [f"{base}.{a.name}".lstrip(".") for a in node.names if a.name != "*"]
            names = [*([base] if base else []), *inner]
        elif isinstance(node, ast.Call):
            yield from _called_imports(node, source, found)
            continue
        else:
            continue
        for name in names:
            yield from _with_parents(name, found)


def absolute(name: str, module: str, is_package: bool, level: int) -> str:
    """Return the full name of a relative import, which is one of its neighbours in the main file.

    Parameters
    ----------
    name
        As after the dots.
    module, is_package
        The importing module.
    level
        Number of dots.
    """
    if level == 0:
        return name
    parts = module.split(".")
    above = parts[: len(parts) - level + (1 if is_package else 0)]
    return ".".join([*above, *([name] if name else [])])


def _with_parents(name: str, found: Sources) -> Iterator[tuple[str, Path]]:
    parts = name.split(".")
    if parts[0] == "prune3d":
        return
    for i in range(1, len(parts) + 1):
        module = ".".join(parts[:i])
        path = found.in_roots(module)
        if path is not None:
            yield module, path


def _called_imports(node: ast.Call, source: Source, found: Sources) -> Iterator[tuple[str, Path]]:
    """Follow import_module, __import__ and the loading of a file by its name."""
    called = node.func
    name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
    if name in ("import_module", "__import__", "spec_from_file_location", "run_path", "exec"):
        given = node.args[0] if node.args else None
        if name in ("import_module", "__import__") and isinstance(given, ast.Constant):
            text = str(given.value)
            dots = len(text) - len(text.lstrip("."))
            full = absolute(text[dots:], source.module, source.is_package, dots)
            yield from _with_parents(full, found)
        else:
            # Computed: it may be any file below.
            yield from _all_below(found)


def _all_below(found: Sources) -> Iterator[tuple[str, Path]]:
    top, count = found.main.path.parent, 0
    for folder, inner, files in os.walk(top):
        inner[:] = sorted(
            name
            for name in inner
            if name not in SKIPPED
            and not name.startswith(".")
            and not (Path(folder, name) / "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            if not name.endswith(".py"):
                continue
            count += 1
            if count > MOST_FILES:
                raise UserError(
                    f"{found.main.path} computes the name of a module that it imports, and more "
                    f"than {MOST_FILES} files lie below {top}; name the module, or put the file "
                    "and its modules into a folder of their own."
                )
            path = Path(folder, name)
            parts = path.relative_to(top).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)
            if path != found.main.path and parts[0] != "prune3d":
                yield module, path


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes but those that run only when the file is the program, outer ones first."""
    waiting = deque([tree])
    while waiting:
        for node in ast.iter_child_nodes(waiting.popleft()):
            if isinstance(node, ast.If) and _asks_for_main(node.test):
                yield from node.orelse
                waiting.extend(node.orelse)
            else:
                yield node
                waiting.append(node)


def _asks_for_main(test: ast.expr) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.Eq)
        and {getattr(e, "id", getattr(e, "value", "")) for e in (test.left, test.comparators[0])}
        == {"__name__", "__main__"}
    )


def _added_folders(source: Source) -> list[Path]:
    """Return the folders that a file puts on sys.path, where they follow from its own place."""
    folders: list[Path] = []
    known = {**PATH_NAMES, "__file__": str(source.path)}
    for node in _statements(source.tree) if source.tree else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = _evaluated(node.value, known)
            if value is not None:
                known[node.targets[0].id] = value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "sys.path.insert",
            "sys.path.append",
        ):
            value = _evaluated(node.args[-1], known) if node.args else None
            if isinstance(value, str | Path) and Path(value).is_dir():
                folders.append(Path(value).resolve())
    return folders


def _evaluated(node: ast.expr, known: dict[str, Any]) -> Any:
    """Return the value of an expression of paths, None where it is anything else."""
    allowed = (ast.Call, ast.BinOp, ast.Div, ast.Add, ast.Subscript, ast.Load, ast.UnaryOp)
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            right = part.id in known
        elif isinstance(part, ast.Attribute):
            right = part.attr in PATH_PARTS
        elif isinstance(part, ast.Constant):
            right = isinstance(part.value, str | int)
        else:
            right = isinstance(part, allowed)
        if not right:
            return None
    try:
        code = compile(ast.Expression(node), "<path>", "eval")
        return eval(code, {"__builtins__": {}}, known)
    except Exception:
        return None

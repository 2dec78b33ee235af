"""Which code makes what: a digest of a script and of the modules of this library that it uses.

It is a parameter of each rule, so that a job runs again when what it computes may have changed, and
not when a file gets a new date, a comment or another line break. Needs no torch.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from prune3d.errors import UserError
from prune3d.files import write_json

NAME = re.compile(r"prune3d(\.\w+)+")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SCRIPTS = Path(__file__).resolve().parents[2]
# They start jobs, check what is asked for and tell what goes on, and have no part in a result.
WITHOUT_PART = frozenset(
    {
        "prune3d.errors",
        "prune3d.progress",
        "prune3d.train.interrupt",
        "prune3d.train.report",
        "prune3d.workflow.config",
        "prune3d.workflow.job",
    }
)


@cache
def digest_of(script: str, *data: str) -> str:
    """Return a digest of a script, such as ``train_dense``, and of every module that it may use.

    Imports within functions count, and comments, docstrings and layout do not.

    Parameters
    ----------
    script
        Its name.
    data
        Files of the library that it reads, such as ``report/claims.yaml``.
    """
    modules = _modules(SCRIPTS)
    sha = hashlib.sha256(_script(script).content.encode())
    for name in used_modules(script):
        sha.update(f"\0{name}\0{modules[name].content}".encode())
    for file in data:
        sha.update(f"\0{file}\0".encode() + (SCRIPTS / "prune3d" / file).read_bytes())
    return sha.hexdigest()[:16]


def digest_of_config(config: Mapping[str, Any]) -> str:
    """Return a digest of a whole configuration."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def used_modules(script: str) -> tuple[str, ...]:
    """Return the names of the modules that a script imports, directly or through others."""
    modules, found = _modules(SCRIPTS), set[str]()
    waiting = set(_script(script).names)
    while waiting:
        name = waiting.pop()
        if name in modules and name not in found | WITHOUT_PART:
            found.add(name)
            waiting |= modules[name].names
    return tuple(sorted(found))


@dataclass(frozen=True)
class Source:
    """A file of this library.

    Attributes
    ----------
    content
        Digest of what it says, without comments, docstrings and layout.
    names
        What it names that may be a module of this library.
    """

    content: str
    names: frozenset[str]


def _script(name: str) -> Source:
    # Where it could not be read, this says why.
    return _modules(SCRIPTS).get(name) or _parse((SCRIPTS / f"{name}.py").read_bytes())


@cache
def _modules(scripts: Path) -> dict[str, Source]:
    """Return all modules under a folder, by name, each parsed once and remembered."""
    place = scripts / "__pycache__" / f"sources.{sys.implementation.cache_tag}.json"
    remembered, known, modules = _remembered(place), dict[str, Source](), dict[str, Source]()
    for path in scripts.rglob("*.py"):
        # One that cannot be read, or is no Python, is an error only where it is used.
        with suppress(SyntaxError, ValueError, OSError):
            code = path.read_bytes()
            sha = _sha(code)
            known[sha] = remembered.get(sha) or _parse(code)
            modules[_name(path.relative_to(scripts))] = known[sha]
    if known.keys() - remembered.keys():
        # Where it cannot be written, each start takes a second or two longer.
        with suppress(UserError, OSError):
            write_json(place, {sha: [x.content, *sorted(x.names)] for sha, x in known.items()})
    return modules


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _remembered(place: Path) -> dict[str, Source]:
    try:
        written = json.loads(place.read_text(encoding="utf-8"))
        return {
            sha: Source(str(content), frozenset(map(str, names)))
            for sha, (content, *names) in written.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _parse(code: bytes) -> Source:
    tree = ast.parse(code)
    names: set[str] = set()
    for node in ast.walk(tree):
        names.update(name for name in _named(node) if NAME.fullmatch(name))
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return Source(_sha(ast.unparse(tree).encode()), frozenset(names))


def _sha(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        # Registries name `module:function`.
        yield node.value.partition(":")[0]

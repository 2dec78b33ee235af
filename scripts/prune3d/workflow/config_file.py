"""The files of the configuration as they were written: what YAML would lose without a word."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from prune3d.errors import ConfigError
from prune3d.files import shown

# In Python, as what Snakemake reads with: the one in C takes tabs that Snakemake then refuses.
Loader: Any = yaml.SafeLoader


def check_config_files(paths: Iterable[str | Path]) -> None:
    """Refuse files in which a key stands twice, of which a reader of YAML keeps the last alone.

    Raises
    ------
    ConfigError
        In one sentence with the file, the key and both lines, or what keeps it from being read.
    """
    for path in paths:
        check_config_file(Path(path))


def check_config_file(path: Path) -> None:
    """Refuse a file that cannot be read, is no mapping, or has a key twice.

    Raises
    ------
    ConfigError
        In one sentence with the file and the line.
    """
    text = _text(path)
    if _is_json(path, text):
        return
    try:
        loader = Loader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path} holds no sections of keys, such as `seeds: [0, 1]`.")
        for line in _within_itself(root, (), set()):
            raise ConfigError(
                f"{path}, line {line}: what this anchor names holds an alias of itself."
            )
        for key, first, second in _repetitions(loader, root):
            raise ConfigError(
                f"{path}: the key {shown(key)} stands there twice, in line {first} and in line "
                f"{second}, where only the last would count; join both."
            )
        loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "some line"
        raise ConfigError(f"{path}, {where}, is no YAML: {_reason(error, text)}.") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}.") from None
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply.") from None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}, line {line}, is no UTF-8; save the file as UTF-8 in your editor."
        ) from None


def _is_json(path: Path, text: str) -> bool:
    """Tell whether a file is JSON, which Snakemake tries first."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in found]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{path}: the key {shown(twice)} stands there twice; join both.")
        return dict(found)

    if not text.lstrip().startswith("{"):
        return False
    try:
        json.loads(text, object_pairs_hook=pairs)
    except ConfigError:
        raise
    except (ValueError, RecursionError):
        return False
    return True


def _within_itself(
    node: yaml.Node, above: tuple[yaml.Node, ...], visited: set[int]
) -> Iterator[int]:
    """Yield lines of nodes that lie within themselves, which no section of a config can."""
    if any(node is other for other in above):
        yield node.start_mark.line + 1
    if id(node) in visited:
        return
    visited.add(id(node))
    for part in _parts(node):
        yield from _within_itself(part, (*above, node), visited)


def _repetitions(loader: Any, root: yaml.Node) -> Iterator[tuple[Any, int, int]]:
    """Yield keys that a mapping has more than once, with both lines."""
    waiting, visited = [root], set()
    while waiting:
        node = waiting.pop()
        # An alias is the node that its anchor names.
        if id(node) in visited:
            continue
        visited.add(id(node))
        waiting += _parts(node)
        if isinstance(node, yaml.MappingNode):
            yield from _twice(loader, node)


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """Return what a list or a section holds."""
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    return [value for _, value in node.value] if isinstance(node, yaml.MappingNode) else []


def _twice(loader: Any, node: yaml.MappingNode) -> Iterator[tuple[Any, int, int]]:
    lines: dict[Any, int] = {}
    for key, _ in node.value:
        # `<<` takes over what another section has; there may be several.
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        value, line = loader.construct_object(key), key.start_mark.line + 1
        if value in lines:
            yield value, lines[value], line
        lines[value] = line


def _reason(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    lines = text.splitlines()
    if mark is not None and mark.line < len(lines) and "\t" in lines[mark.line]:
        return "there is a tab; indent with blanks"
    return " ".join((error.problem or error.context or "it cannot be understood").split())[:200]

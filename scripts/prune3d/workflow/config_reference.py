"""The reference of all config keys: ``python -m prune3d.workflow.config_reference``.

Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from prune3d.workflow.schema import leaf_keys

HEADER = """# Configuration

`config.yaml` is the default run. To change it, write a file with the keys that differ and give it
with `--configfile mine.yaml`; sections are merged key by key, lists are replaced. An *experiment*
is a named (data set, model, recipe): its settings are those under `defaults` with its own, under
`experiments: {NAME: ...}`, laid over them. A wrong value is refused before any job starts.
Snakemake itself opens the files that `--configfile` names: one that is missing, a folder or not in
UTF-8 ends in a traceback of Snakemake's, whose last line says which of these it is.

After a change, `snakemake -n` shows which rules will run again: those that depend on the changed
value and no others.

Each entry of `defaults.budgets` has a `name`, the folder of its results, and one or more limits,
all of which the pruned networks obey: `macs` and `params`, up to 1 a part of the dense network's,
from 1,000 on a number of multiply-accumulates or parameters; `latency`, a part of the dense
network's, and `latency_ms`, milliseconds on the device where the workflow runs. In
`config.yaml` the sections `finetune` and `final` begin as copies of `dense` (a YAML anchor): a file
of your own that changes `dense` does not change them.

The table is made from `schema.yaml` and `config.yaml` by `make docs`.

| key | default | allowed | meaning |
| --- | --- | --- | --- |
"""


def reference(schema: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return the reference as Markdown: key, default value, allowed values and meaning."""
    lines = [_line(key, _resolve(schema, key), config) for key in leaf_keys(schema)]
    return HEADER + "".join(lines)


def _line(key: str, parts: list[Mapping[str, Any]], config: Mapping[str, Any]) -> str:
    value: Any = config
    for name in key.split("."):
        value = value[name]
    meaning = parts[-1]["description"]
    default = "" if isinstance(value, Mapping) else f"`{json.dumps(value)}`"
    cells = (f"`{key}`", default, _allowed(parts[-1]), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _resolve(schema: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    part: Mapping[str, Any] = schema
    found = []
    for name in key.split("."):
        part = _dereference(schema, part["properties"][name])
        found.append(part)
    return found


def _dereference(schema: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in part:
        return part
    return {**schema["$defs"][part["$ref"].rpartition("/")[2]], **part}


def _allowed(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    words = {
        "exclusiveMinimum": "above",
        "minimum": "at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    bounds = [f"{word} {part[name]}" for name, word in words.items() if name in part]
    kind = {"array": "list", "object": "section", "boolean": "true or false"}
    types = [part["type"]] if isinstance(part["type"], str) else part["type"]
    words_of_types = " or ".join(kind.get(name, name) for name in types)
    return ", ".join([words_of_types, *bounds])


if __name__ == "__main__":
    folder = Path(__file__).resolve().parents[3] / "config"
    text = reference(
        yaml.safe_load((folder / "schema.yaml").read_text(encoding="utf-8")),
        yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")

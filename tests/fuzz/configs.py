"""Config files, read as Snakemake and the Snakefile do.

Snakemake reads a file given with ``--configfile`` before the Snakefile is run, so what keeps it
from being read at all is told by Snakemake there; here our own check of the file comes first.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from campaign import Target
from mutate import damaged_bytes, edited
from prune3d.errors import ConfigError
from prune3d.sampling.tree import sampling_tree
from prune3d.workflow.config import load_experiments
from prune3d.workflow.config_file import check_config_files
from prune3d.workflow.sampling import design_of

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "config/config.yaml"
SCHEMA = yaml.safe_load((ROOT / "config/schema.yaml").read_text(encoding="utf-8"))
VALUES = (
    *("yes", "on", "~", "1e-4", "0x10", "010", ".inf", ".nan", "'1'", "[1]", "{a: 1}", "*recipe"),
    *("2026-01-01", "!!python/name:os.system x", "1_000", "25%", "12:30:00", "-1", ""),
)


def target(folder: Path) -> Target:
    """Return the target of config files."""
    small = {
        "seeds": [0],
        "run": ["mine"],
        "experiments": {"mine": {"model": {"name": "resnet14"}, "policies": ["dwr", "width"]}},
        "defaults": {
            "dense": {"epochs": 3},
            "sampling": {"design": "optimal", "count": 10, "depth": [0.8, 0.6, 0.4]},
            "budgets": [{"name": "half", "macs": 0.5}, {"name": "small", "params": 20_000}],
        },
    }
    originals = (
        SHIPPED.read_bytes(),
        yaml.safe_dump(small).encode(),
        *(path.read_bytes() for path in sorted(ROOT.glob("config/*_grid.yaml"))),
    )
    return Target(folder / "mine.yaml", originals, damaged_yaml, read, is_whole)


def read(path: Path) -> dict[str, Any]:
    """Read a config as a run does; a refusal names the file that was given."""
    try:
        check_config_files([path])
        config = load_configfile(SHIPPED)
        update_config(config, load_configfile(path))
        experiments = load_experiments(config, SCHEMA)
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    for settings in experiments.values():
        if "dwr" in settings["policies"]:
            sampling_tree(design_of(settings))
    return experiments


def is_whole(found: dict[str, Any], content: bytes) -> bool:
    """Tell whether each list and number of the file is in what was read, so that none was lost."""
    given = yaml.safe_load(content.decode("utf-8-sig"))
    return all(
        _holds(found[name], settings or {})
        for name, settings in (given.get("experiments") or {}).items()
        if name in found
    )


def _holds(found: Any, given: Any) -> bool:
    if isinstance(given, dict):
        return isinstance(found, dict) and all(_holds(found.get(k), v) for k, v in given.items())
    return bool(found == given)


def damaged_yaml(content: bytes, rng: random.Random) -> bytes:
    """Return a config with an edit of its tree, of its lines, or of its bytes."""
    kind = rng.random()
    if kind < 0.2:
        return damaged_bytes(content, rng)
    if kind < 0.6:
        value = yaml.safe_load(content)
        for _ in range(rng.choice((1, 1, 2))):
            value = edited(value, rng)
        text = yaml.safe_dump(value, allow_unicode=rng.random() < 0.5, sort_keys=False)
        return text.encode("utf-8", "surrogatepass")
    lines = content.decode().splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 3))):
        _edit_lines(lines, rng)
    return "".join(lines).encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")))


def _edit_lines(lines: list[str], rng: random.Random) -> None:
    i = rng.randrange(len(lines))
    line = lines[i]
    kind = rng.randrange(7)
    if kind == 0 and len(lines) > 1:
        del lines[i]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines) + 1), line)
    elif kind == 2:
        lines[i] = rng.choice((" ", "  ", "\t", "- ", "? ")) + line
    elif kind == 3:
        lines[i] = line.lstrip()
    elif kind == 4:
        lines[i] = line.replace(":", rng.choice(("", " :", "::", "=", ":\t")), 1)
    elif kind == 5:
        lines[i] = line.rstrip("\n") + "\r\n"
    else:
        lines[i] = f"{line.partition(':')[0]}: {rng.choice(VALUES)}\n"

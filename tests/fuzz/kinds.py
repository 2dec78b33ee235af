"""The kinds of files that are damaged: for each, what makes its target in a folder."""

from __future__ import annotations

import importlib
from pathlib import Path

from campaign import Target

INTERMEDIATE = (
    *("structure", "blocks", "metrics", "test", "samples", "holdout", "latency", "predictor"),
    *("validation", "optimum", "target", "tied", "candidates", "trials"),
    *("provenance", "policies", "warnings", "failed", "timed", "latencies", "int8"),
    *("runs", "left_out", "fits", "scratch", "forecasts"),
)
# Name: module:function, or module:function:argument.
KINDS: dict[str, str] = {
    "configs": "configs:target",
    "split": "images:split_target",
    "pictures": "images:source_target",
    "picture": "images:picture_target",
    "models": "model_files:models",
    "states": "model_files:states",
    "weights": "model_files:weights",
    **{name: f"intermediate:honest:{name}" for name in INTERMEDIATE},
    **{f"forged_{name}": f"intermediate:forged:{name}" for name in INTERMEDIATE},
}


def target(kind: str, folder: Path) -> Target:
    """Return the target of a kind, its sound files made in a folder."""
    module, function, *arguments = KINDS[kind].split(":")
    made: Target = getattr(importlib.import_module(module), function)(*arguments, folder)
    return made

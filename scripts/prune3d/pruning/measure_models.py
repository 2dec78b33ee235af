"""Measure every registered model and write the facts: ``python -m prune3d.pruning.measure_models``.

Run by ``make docs``, after a model was added or changed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from prune3d.costs.count import cost, legal_sides
from prune3d.files import write_json
from prune3d.models import build
from prune3d.models.registry import FACTS_FILE, MODELS, ModelFacts, usual_size
from prune3d.pruning.dense import look_at_dense
from prune3d.pruning.keep import layer_names


def measure(name: str) -> ModelFacts:
    """Build a model in the size that it was designed for and find out its facts."""
    num_classes, image_size = usual_size(name)
    model = build(name, num_classes, image_size)
    dense, measured = look_at_dense(model), cost(model)
    kinds = Counter((group.channels, group.multiple) for group in dense.groups)
    return ModelFacts(
        num_classes=num_classes,
        image_size=image_size,
        macs=measured.macs,
        params=measured.params,
        blocks=len(dense.blocks),
        removable=len(dense.removals),
        groups=tuple((*kind, count) for kind, count in sorted(kinds.items())),
        smallest_side=legal_sides(model)[0],
        layers=tuple(layer_names(model)),
    )


def as_written(facts: ModelFacts) -> dict[str, Any]:
    """Return the facts for JSON, the names of layers in one line."""
    return {**asdict(facts), "layers": " ".join(facts.layers)}


def main() -> None:
    """Write the facts of all models."""
    write_json(FACTS_FILE, {name: as_written(measure(name)) for name in MODELS})


if __name__ == "__main__":
    main()

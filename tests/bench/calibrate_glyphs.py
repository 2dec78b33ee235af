"""Train a network and cuts of it on glyphs, equally, and tell what each dimension is worth.

    python tests/bench/calibrate_glyphs.py config/glyphs-small.yaml [--part 0.2] [--epochs 5]

The dense network, a third of its blocks, half of its channels and half of its resolution are
trained from random weights by the recipe `dense` of the experiment; accuracies are on selection
images.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml

if TYPE_CHECKING:
    from prune3d.data.settings import DataSettings
    from prune3d.train.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

CUTS = {
    "dense": (1.0, 1.0, 1.0),
    "depth 1/3": (1 / 3, 1.0, 1.0),
    "width 1/2": (1.0, 0.5, 1.0),
    "resolution 1/2": (1.0, 1.0, 0.5),
}


def main() -> None:
    """Print a table."""
    from prune3d.data.settings import DataSettings
    from prune3d.train.recipe import Recipe

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", type=Path, help="a file such as config/glyphs-small.yaml")
    parser.add_argument("--part", type=float, default=1.0, help="part of the images to train on")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--model", help="instead of the experiment's")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="data or glyphs key=value")
    options = parser.parse_args()
    settings = read_settings(options.experiment)
    data = DataSettings.from_config(settings["data"])
    for key, value in (item.split("=") for item in options.set):
        data = change(data, key, yaml.safe_load(value))
    known = {f.name for f in fields(Recipe)}
    recipe = Recipe(**{k: v for k, v in settings["dense"].items() if k in known})
    if options.epochs:
        recipe = replace(recipe, epochs=options.epochs)
    name = options.model or settings["model"]["name"]
    torch.set_num_threads(1)
    print(f"{name}, {recipe.epochs} epochs, {data}")
    print(f"{'network':<16}{'MACs %':>8}{'accuracy %':>12}{'less':>8}{'seconds':>9}")
    for seed in range(options.seeds):
        run(data, name, recipe, options.part, seed)


def read_settings(path: Path) -> dict:
    """Return the settings of the one experiment that a file runs."""
    from prune3d.workflow.config import load_experiments, overlay

    config = overlay(
        yaml.safe_load((ROOT / "config/config.yaml").read_text()),
        yaml.safe_load(path.read_text()),
    )
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
    return next(iter(load_experiments(config, schema).values()))


def change(data: DataSettings, key: str, value: object) -> DataSettings:
    """Return other settings of the data."""
    if hasattr(data, key):
        return replace(data, **{key: value})
    return replace(data, glyphs=replace(data.glyphs, **{key: value}))


def run(data: DataSettings, name: str, recipe: Recipe, part: float, seed: int) -> None:
    """Train the networks of one seed and print their rows."""
    import prune3d
    from prune3d.data.images import ImageSet
    from prune3d.data.split import Fractions, prepare
    from prune3d.pruning.options import PruningOptions
    from prune3d.train.evaluate import evaluate
    from prune3d.train.loop import train

    splits = prepare(data, Fractions(0.2, 0.2), seed)
    sets = {
        key: ImageSet(
            torch.from_numpy(splits.parts[key].images),
            torch.from_numpy(splits.parts[key].labels),
            splits.about.mean,
            splits.about.spread,
        )
        for key in ("train", "selection")
    }
    images = sets["train"].subset(round(part * len(sets["train"])), seed)
    print(f"{len(images)} training and {len(sets['selection'])} selection images", flush=True)
    dense_macs = dense_accuracy = 0.0
    for cut, (depth, width, resolution) in CUTS.items():
        torch.manual_seed(seed)
        model = prune3d.build(name, data.glyphs.classes, data.side, 3)
        # Random weights have no best channels or blocks.
        options = PruningOptions(block_criterion="random", channel_criterion="random", seed=seed)
        model = prune3d.prune(model, depth, width, resolution, options=options)
        begun = time.monotonic()
        train(model, images, recipe, seed)
        seconds = time.monotonic() - begun
        macs = prune3d.cost(model).macs
        accuracy = evaluate(model, sets["selection"])["top1"]
        if cut == "dense":
            dense_macs, dense_accuracy = macs, accuracy
        print(
            f"{cut:<16}{100 * macs / dense_macs:>8.1f}{100 * accuracy:>12.2f}"
            f"{100 * (dense_accuracy - accuracy):>8.2f}{seconds:>9.0f}",
            flush=True,
        )


main()

"""How far networks recover in how many epochs, from the dense network of a run that is there.

    python tests/bench/short_trainings.py results/glyphs-small/seed0 \
        --networks 0.67,0.52,0.83 0.4,0.85,0.67 --epochs 2 4 8 --rates 0.1 0.2

Each network, given by its depth, width and resolution, is pruned from the dense one and fine-tuned
with the whole schedule in each number of epochs. Prints top-1 % on the selection images.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import prune3d
from prune3d.costs.structure_file import read_removal_order
from prune3d.data.images import load_splits
from prune3d.pruning.options import PruningOptions
from prune3d.train import Recipe, train
from prune3d.train.evaluate import evaluate

WARMUP = 0.25  # of the epochs


def main() -> None:
    """Train them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a seed")
    parser.add_argument("--networks", nargs="+", required=True, metavar="DEPTH,WIDTH,RESOLUTION")
    parser.add_argument("--epochs", nargs="+", type=int, default=[2, 4, 8])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.1])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data, dense = given.run / "data", given.run / "dense"
    images = load_splits(data / "train.safetensors", data / "selection.safetensors")
    order = read_removal_order(dense / "blocks.json")
    options = PruningOptions(seed=given.seed)
    for network, rate, epochs in product(given.networks, given.rates, given.epochs):
        depth, width, resolution = (float(text) for text in network.split(","))
        model = prune3d.prune(
            prune3d.load(dense / "model.safetensors"),
            depth,
            width,
            resolution,
            options=options,
            images=images.probe(options.probe_images, options.seed),
            removal_order=order,
        )
        recipe = Recipe(epochs, 128, rate, WARMUP * epochs, shift=1)
        train(model, images.train, recipe, given.seed)
        found = evaluate(model, images.selection)
        print(
            f"{network}: {epochs} epochs, rate {rate:g}: {100 * found['top1']:.1f} %, "
            f"loss {found['loss']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

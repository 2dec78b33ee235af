"""The narrowest trainings of the demo, under whatever instructions ONEDNN_MAX_CPU_ISA allows.

`ONEDNN_MAX_CPU_ISA=AVX2 python tests/bench/narrow_trainings.py`; ends with an error where a
training dies, or where the network is not that of the contiguous order of memory.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

LEVELS = ({"width": 0.3}, {"width": 0.3, "depth": 0.4}, {"width": 0.3, "resolution": 0.5})
TOLERANCE = 1e-3  # of weights after few small steps; what was overwritten is far off


def main() -> None:
    """Train each level in both orders of memory and compare."""
    import torch

    from prune3d import build, prune
    from prune3d.data.images import ImageSet
    from prune3d.pruning import PruningOptions
    from prune3d.train import Compute, Recipe, train

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (640, 1, 8, 8), generator=generator).byte()
    images = ImageSet(pixels, torch.arange(640) % 10, (0.5,), (0.3,))
    recipe = Recipe(epochs=1, batch_size=128, learning_rate=0.02, warmup_epochs=0)
    options = PruningOptions(block_criterion="random", channel_criterion="random")
    torch.manual_seed(0)
    dense = build("resnet32", 10, 8, 1)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for level in LEVELS:
            last = prune(dense, options=options, **level)
            contiguous = copy.deepcopy(last)
            train(last, images, recipe, seed=0, compute=Compute(channels_last="always"))
            train(contiguous, images, recipe, seed=0, compute=Compute(channels_last="never"))
            pairs = zip(last.parameters(), contiguous.parameters(), strict=True)
            off = max(float((a - b).detach().abs().max()) for a, b in pairs)
            print(f"{threads} threads, {level}: {off:.1e} apart", flush=True)
            if not off < TOLERANCE:
                sys.exit("the order of memory changes what is learned")


if __name__ == "__main__":
    main()

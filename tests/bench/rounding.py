"""How much time a budget in MACs saves, by the multiple that channels are kept in.

`python tests/bench/rounding.py resnet50 resnet18` times networks with random weights, pruned along
width to a half and a quarter of their MACs, in ONNX Runtime on one thread, as ratios to the dense
network, all of them in turns. Without names, the networks of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

DOCUMENTED = ("resnet18", "resnet50", "mobilenet_v2", "resnet20", "resnet56", "cifar_vgg16_bn")


def main() -> None:
    """Print a table for each network, and the multiple that `auto` would take."""
    import torch

    import prune3d
    from prune3d.models.registry import facts
    from prune3d.pruning.rounding import choose_multiple, measure_multiples, slowness
    from prune3d.pruning.timing import LatencyOptions, where_measured

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=DOCUMENTED)
    parser.add_argument("--runtime", default="onnxruntime", choices=("onnxruntime", "torch"))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    options = LatencyOptions(1, given.runs, given.runtime, given.threads)
    print(where_measured(options, torch.device("cpu")))
    for name in given.networks:
        begun = time.perf_counter()
        known = facts(name)
        if known is None:
            sys.exit(f"{name} is not a registered network")
        torch.manual_seed(0)
        dense = prune3d.build(name, known.num_classes, known.image_size).eval()
        rows = measure_multiples(dense, options, lambda told: None)
        print(f"\n{name}: auto takes {choose_multiple(rows)}; {time.perf_counter() - begun:.0f} s")
        print("| multiple | MACs % | time % | MACs % | time % | time by MACs |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: |")
        for round_to, slow in slowness(rows).items():
            pairs = [
                f"{100 * row['macs_ratio']:.1f} | {100 * row['latency_ratio']:.1f}"
                for row in rows
                if row["round_to"] == round_to
            ]
            print(f"| {round_to} | {' | '.join(pairs)} | {slow:.2f} |", flush=True)


if __name__ == "__main__":
    main()

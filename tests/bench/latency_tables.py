"""What foretells the latency of a pruned network best: other networks, its layers, or both.

`python tests/bench/latency_tables.py resnet20 mobilenet_v2:96` makes the table of whole networks
that the workflow makes, times single layers, each alone, and compares what is said of networks of
which nothing was measured, in ONNX Runtime on one thread: by the table, which explains times by the
work of layers and interpolates the rest; by interpolating times alone; and by adding the layers up.
A side after the name is that of the dense network. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import torch  # noqa: E402
from scipy.interpolate import RegularGridInterpolator  # noqa: E402
from torch import nn  # noqa: E402

import prune3d  # noqa: E402
from prune3d.costs.work import Work  # noqa: E402
from prune3d.models.assembly import get_spec  # noqa: E402
from prune3d.models.registry import facts  # noqa: E402
from prune3d.pruning.analyze import analyze  # noqa: E402
from prune3d.pruning.latency import LatencyTable, measure_table  # noqa: E402
from prune3d.pruning.options import PruningOptions  # noqa: E402
from prune3d.pruning.timing import (  # noqa: E402
    LatencyOptions,
    latency,
    latency_of_file,
    where_measured,
)


class LayerTimes:
    """Milliseconds of convolutions and linear layers, each as a file of its own, timed once."""

    def __init__(self, options: LatencyOptions) -> None:
        self.options = options
        self.known: dict[tuple[Any, ...], float] = {}

    def total(self, model: nn.Module, side: int) -> float:
        """Return the sum over the layers of a network at a side in pixels."""
        return sum(self._of(layer, shape) for layer, shape in called_layers(model, side))

    def _of(self, layer: nn.Module, shape: tuple[int, ...]) -> float:
        key = (repr(layer), shape)
        if key not in self.known:
            # A batch norm becomes a part of the convolution, an activation of its loop.
            part = nn.Sequential(layer, nn.ReLU()).eval()
            with TemporaryDirectory() as folder:
                path = Path(folder) / "layer.onnx"
                if len(shape) == 2:  # what is timed takes images
                    part, shape = nn.Sequential(nn.Flatten(), part), (*shape, 1, 1)
                torch.onnx.export(part, (torch.zeros(shape),), str(path), dynamo=False)
                self.known[key] = latency_of_file(path, self.options)
        return self.known[key]


def called_layers(model: nn.Module, side: int) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Return the layers that make multiply-accumulates, with the shape of what each is given."""
    found: list[tuple[nn.Module, tuple[int, ...]]] = []
    handles = [
        layer.register_forward_pre_hook(lambda m, given: found.append((m, tuple(given[0].shape))))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        model.eval()(torch.zeros(1, get_spec(model).in_channels, side, side))
    for handle in handles:
        handle.remove()
    return found


def by_lot(count: int, removable: int, blocks: int, sides: list[int]) -> Iterator[tuple[Any, ...]]:
    """Yield ratios of depth and width, and sides, as the checks of the table are drawn."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        depth = (blocks - int(rng.integers(removable + 1))) / blocks
        yield depth, round(float(rng.uniform(0.12, 1)), 3), int(rng.choice(sides))


def errors(predicted: list[float], measured: list[float]) -> str:
    """Return the median and the largest relative error in percent."""
    found = [100 * abs(p / m - 1) for p, m in zip(predicted, measured, strict=True)]
    return f"{statistics.median(found):.1f}, {max(found):.1f}"


def compare(name: str, image_size: int, count: int, round_to: int, options: LatencyOptions) -> str:
    """Return a row of the table for one network."""
    torch.manual_seed(0)
    dense = prune3d.build(name, 10, image_size).eval()
    structure = analyze(dense)
    order = list(structure.removable)[: structure.blocks - structure.fewest_blocks]
    sides = [side for side in structure.sides if side >= image_size / 4]
    begun = time.perf_counter()
    rows = measure_table(
        dense, order, structure.blocks, structure.sides, round_to, options, lambda told: None
    )
    whole_seconds = time.perf_counter() - begun
    table = LatencyTable.from_rows(rows, Work(structure, order, round_to))
    levels = table.depth, table.width, table.side
    between = RegularGridInterpolator(levels, table.latency_ms)
    layers = LayerTimes(options)
    whole, plain, added, measured = [], [], [], []
    layer_seconds = 0.0
    for depth, width, side in by_lot(count, len(order), structure.blocks, sides):
        how = PruningOptions(channel_criterion="l1", round_to=round_to)
        network = prune3d.prune(dense, depth, width, options=how, removal_order=order)
        measured.append(latency(network, side, options))
        place = [np.array([float(value)]) for value in (depth, width, side)]
        whole.append(float(table.at(*place)[0, 0, 0]))
        held = [np.clip(p, k[0], k[-1]) for p, k in zip(place, levels, strict=True)]
        plain.append(float(between(np.concatenate(held))[0]))
        begun = time.perf_counter()
        added.append(layers.total(network, side))
        layer_seconds += time.perf_counter() - begun
    factor = latency(dense, image_size, options) / layers.total(dense, image_size)
    scaled = [factor * value for value in added]
    return (
        f"| {name}, {image_size} | {errors(whole, measured)} | {errors(plain, measured)} | "
        f"{errors(added, measured)} | {errors(scaled, measured)} | "
        f"{len(rows)}, {whole_seconds:.0f} s | {len(layers.known)}, {layer_seconds:.0f} s |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["resnet20", "mobilenet_v2:96"])
    parser.add_argument("--count", type=int, default=12, help="networks to foretell")
    parser.add_argument("--round-to", type=int, default=8, help="multiple of channels")
    parser.add_argument("--runs", type=int, default=20)
    given = parser.parse_args()
    options = LatencyOptions(1, given.runs, "onnxruntime", threads=1)
    torch.set_num_threads(1)
    print(where_measured(options, torch.device("cpu")))
    print("errors in percent, median and largest\n")
    print(
        "| network | the table | times interpolated | layers | layers, scaled to the dense | "
        "networks timed | layers timed |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for named in given.networks:
        name, _, side = named.partition(":")
        known = facts(name)
        if known is None:
            sys.exit(f"{name} is not a registered network")
        print(
            compare(name, int(side or known.image_size), given.count, given.round_to, options),
            flush=True,
        )


if __name__ == "__main__":
    main()

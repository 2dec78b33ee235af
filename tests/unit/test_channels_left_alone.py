"""What mixes channels in ways that are not followed is left alone; the rest is pruned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze

FILE = Path(__file__).parent / "own/mixing.py"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("experts", "'special' computes .* is not composed from weights"),
        ("gru", "'special.cells'"),
        ("lstm", "'special.cells'"),
        ("products", "multiplied with each other"),
        ("pairs", "'special.pair'"),
        ("neighbours", "a convolution runs along them in 'special.conv'"),
        ("local_norm", "in 'special'"),
    ],
)
def test_the_stream_stays_with_the_reason_and_the_block_is_pruned(name: str, reason: str) -> None:
    torch.manual_seed(0)
    model = prune3d.build(f"{FILE}:{name}", 4, 16)
    structure = analyze(model)
    assert structure.no_width is None
    assert structure.groups["block.a"] == 12
    assert "block.b" not in structure.groups
    (stream,) = (stays for stays in structure.frozen if stays.name == "block.b")
    assert re.search(reason, stream.reason)
    options = PruningOptions(channel_criterion="l1")
    small = prune3d.prune(model, width=0.5, options=options).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        small(torch.zeros(1, 3, 16, 16))
    assert small.block.a.weight.shape[0] == 6
    torch_counts = counter.get_total_flops() // 2
    assert prune3d.cost(small).macs >= torch_counts  # which does not count recurrences and pairs

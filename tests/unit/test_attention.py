"""Attention of every spelling is pruned by whole heads or evenly, or left alone by itself."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.dense import channel_graph

FILE = Path(__file__).parent / "own/attending.py"
L1 = PruningOptions(channel_criterion="l1")


@pytest.mark.parametrize(
    ("name", "runs", "reason"),
    [
        ("by_hand", {"stem": 1, "up": 1}, "'a' does not take fewer of them"),
        ("heads_known", {"stem": 1, "up": 1, "a.qkv": 8}, None),
        ("heads_constant", {"stem": 1, "up": 1, "a.qkv": 4}, None),
        ("of_width", {"stem": 8, "up": 1}, None),
        ("of_width_constant", {"stem": 4, "up": 1}, None),
        ("scale_of_size", {"stem": 1, "up": 1}, "a scale that follows their number"),
        ("apart", {"stem": 1, "up": 1}, "'a' does not take fewer of them (a reshape"),
        ("torchs", {"stem": 8, "up": 1}, None),
        ("torchs_weights", {"stem": 8, "up": 1}, None),
        ("crossed", {"stem": 8, "up": 1, "a.down": 1}, None),
        ("within", {"stem": 1, "up": 1, "a.into": 4, "a.attend.out_proj": 1}, None),
    ],
)
def test_heads_go_or_stay_by_themselves(
    tmp_path: Path, name: str, runs: dict[str, int], reason: str | None
) -> None:
    torch.manual_seed(0)
    model = prune3d.build(f"{FILE}:{name}", 4, 16)
    structure = analyze(model)
    assert structure.no_width is None
    assert {group: structure.multiples.get(group, 1) for group in structure.groups} == runs
    assert all(reason and reason in stays.reason for stays in structure.frozen)
    assert {stays.name.split(".")[0] for stays in structure.frozen} == ({"a"} if reason else set())
    images = torch.randn(2, 3, 16, 16)
    for width in (0.5, 0.3):
        small = prune3d.prune(model, width=width, options=L1).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            copy.deepcopy(small).requires_grad_(False)(images[:1])
        assert prune3d.cost(small).macs == counter.get_total_flops() // 2
        prune3d.save(small, tmp_path / "small.safetensors")
        again = prune3d.load(tmp_path / "small.safetensors")
        assert torch.equal(again(images), small(images))
        again.train()(images).sum().backward()
    in_steps = prune3d.prune(prune3d.prune(model, width=0.5, options=L1), width=0.3, options=L1)
    assert prune3d.cost(in_steps) == prune3d.cost(small)


def test_a_learned_query_is_costed_for_each_image_and_the_layers_beside_it_are_pruned() -> None:
    torch.manual_seed(0)
    model = prune3d.build(f"{FILE}:asked", 4, 16)
    structure = analyze(model)  # which compares the MACs with torch's count
    assert {"up", "a.attend.out_proj"} <= set(structure.groups)
    small = prune3d.prune(model, width=0.5, options=L1).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        copy.deepcopy(small).requires_grad_(False)(torch.zeros(1, 3, 16, 16))
    assert prune3d.cost(small).macs == counter.get_total_flops() // 2


def test_without_heads_torchs_attention_computes_what_it_does_when_they_are_zero() -> None:
    torch.manual_seed(0)
    dense: Any = prune3d.build(f"{FILE}:within", 4, 16).eval()
    small: Any = copy.deepcopy(dense)
    stays = torch.tensor([True, False, True, False]).repeat_interleave(4)
    keep_channels(small, channel_graph(dense), {"a.into": stays.nonzero().flatten()})
    assert (small.a.attend.num_heads, small.a.attend.embed_dim) == (2, 8)
    with torch.no_grad():
        dense.a.into.weight[~stays] = 0
        dense.a.into.bias[~stays] = 0
        dense.a.attend.out_proj.weight[:, ~stays] = 0
        images = torch.randn(3, 3, 16, 16)
        assert torch.allclose(small(images), dense(images), atol=1e-6)

"""Multiples of channels: which is taken by hand, and real networks timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import prune3d
from prune3d.errors import UserError
from prune3d.pruning.rounding import (
    BUDGETS,
    choose_multiple,
    measure_multiples,
    slowness,
)
from prune3d.pruning.timing import LatencyOptions, Pass, milliseconds


def rows(**latency: tuple[float, ...]) -> list[dict[str, Any]]:
    """Return rows of networks that keep exactly to their budgets."""
    return [
        {"round_to": int(name[1:]), "budget": b, "macs_ratio": b, "latency_ratio": took}
        for name, times in latency.items()
        for b, took in zip(BUDGETS, times, strict=False)
    ]


def test_the_smallest_multiple_that_is_about_as_fast_is_taken() -> None:
    found = rows(m1=(0.9, 0.5), m8=(0.51, 0.26), m16=(0.5, 0.25), m32=(0.5, 0.25))
    assert slowness(found)[1] == pytest.approx((0.9 * 0.5 / (0.5 * 0.25)) ** 0.5)
    assert choose_multiple(found) == 8
    assert choose_multiple(rows(m1=(0.9, 0.5), m8=(0.6, 0.3), m16=(0.5, 0.25))) == 16
    assert choose_multiple(rows(m1=(0.5, 0.25), m8=(0.5, 0.25))) == 1


def test_a_network_with_fewer_macs_than_asked_for_is_not_faster_for_that() -> None:
    found = rows(m1=(0.5, 0.25), m32=(0.5, 0.25))
    for row in found[2:]:
        row["macs_ratio"] /= 2
        row["latency_ratio"] /= 1.5
    assert choose_multiple(found) == 1


def test_a_multiple_that_is_too_coarse_for_a_budget_is_not_taken() -> None:
    found = rows(m1=(0.9, 0.6), m64=(0.5,))
    assert choose_multiple(found) == 1
    with pytest.raises(UserError, match="round_to is auto, but the network has no channels"):
        choose_multiple([])


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_real_networks_are_pruned_to_the_budgets_and_timed(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[np.ndarray] = []

    def recorded(passes: list[Pass], runs: int) -> np.ndarray:
        timed.append(milliseconds(passes, runs))
        return timed[-1]

    monkeypatch.setattr("prune3d.pruning.timing.milliseconds", recorded)
    dense = prune3d.build("resnet8", 10, 32).eval()
    told: list[str] = []
    options = LatencyOptions(runs=20, runtime=runtime, threads=1)
    found = measure_multiples(dense, options, told.append, (1, 8, 64))
    # Groups of 16, 32 and 64 channels, of which multiples of 64 keep half: not for a quarter.
    assert [(row["round_to"], row["budget"]) for row in found] == [
        *((m, b) for m in (1, 8) for b in BUDGETS),
        (64, 0.5),
    ]
    (taken,) = timed
    assert taken.shape == (20, 1 + len(found)) and np.all(taken > 0)
    for row, own in zip(found, taken.T[1:], strict=True):
        assert 0.7 * row["budget"] < row["macs_ratio"] <= row["budget"]
        assert row["latency_ratio"] == pytest.approx(min(own) / min(taken[:, 0]))
    assert len(told) == 3
    assert choose_multiple(found) in (1, 8, 64)

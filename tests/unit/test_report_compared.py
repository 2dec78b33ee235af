"""Differences between experiments, against scipy's own paired t intervals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from prune3d.report.compared import ABLATIONS, compare_experiments, write_ablations
from prune3d.report.policies import RUN_COLUMNS

PAIRS = [["distilled", "base"]]


def run(experiment: str, seed: int, top1: float, policy: str = "width", **more: Any) -> dict:
    """Return a row of runs.csv."""
    row: dict[str, Any] = dict.fromkeys(RUN_COLUMNS, 0.5)
    names = {"experiment": experiment, "seed": seed, "budget": "half", "policy": policy}
    costs = {"search_cost_macs": 10, "training_cost_macs": 100}
    return {**row, **costs, **names, "test_top1": top1, **more}


def test_a_difference_is_paired_by_seed_with_its_interval() -> None:
    base, own = {0: 0.80, 1: 0.83, 3: 0.85, 7: 0.1}, {0: 0.84, 1: 0.85, 2: 0.99, 3: 0.88}
    rows = [run("base", seed, top1) for seed, top1 in base.items()]
    rows += [run("distilled", seed, top1, macs_ratio=0.4) for seed, top1 in own.items()]
    # Of another policy, budget and experiment.
    rows += [run("distilled", 0, 0.1, "depth"), run("base", 0, 0.2, budget="few")]
    rows += [run("other", 0, 0.1)]
    row, alone = compare_experiments(rows, PAIRS)
    common = [0, 1, 3]
    pair = [[part[seed] for seed in common] for part in (own, base)]
    expected = stats.ttest_rel(*pair)
    ends = expected.confidence_interval(0.95)
    assert (row["experiment"], row["compared_with"]) == ("distilled", "base")
    assert (row["budget"], row["policy"], row["seeds"]) == ("half", "width", 3)
    assert row["difference"] == pytest.approx(0.03)
    found = row["difference_low"], row["difference_high"]
    assert found == pytest.approx((ends.low, ends.high))
    assert row["test_top1"] == pytest.approx(np.mean(pair[0]))
    assert row["test_top1_compared"] == pytest.approx(np.mean(pair[1]))
    assert row["test_top1_std"] == pytest.approx(np.std(pair[0], ddof=1))
    assert (row["macs_ratio"], row["macs_ratio_compared"]) == pytest.approx((0.4, 0.5))
    assert (alone["policy"], alone["seeds"], alone["difference"]) == ("depth", 0, None)


def test_a_policy_that_misses_its_budget_in_either_experiment_has_a_row() -> None:
    rows = [run("base", 0, 0.8), run("distilled", 0, 0.9), run("base", 0, 0.7, "depth")]
    rows += [run("base", 0, 0.6, "resolution"), run("distilled", 0, 0.6, "uniform")]
    rows += [run("base", 0, 0.6, "random_point_best")]
    out = [
        {"experiment": experiment, "budget": "half", "seed": 0, "policy": policy, "reason": "no"}
        for experiment, policy in (
            *(("distilled", name) for name in ("depth", "random_point1", "random_point2")),
            *(("base", "uniform"), ("base", "greedy"), ("distilled", "compound")),
        )
    ]
    # The resolution is not among the policies of `distilled`.
    told = compare_experiments(rows, PAIRS, out)
    found = {row["policy"]: (row["seeds"], row["difference"]) for row in told}
    draws = ("random_point1", "random_point2", "random_point_best")
    missed = dict.fromkeys(("uniform", "depth", *draws, "compound"), (0, None))
    assert found == {"width": (1, pytest.approx(0.1)), **missed}


def test_the_dense_network_is_compared_too_and_all_is_written(tmp_path: Path) -> None:
    dense = {"policy": "dense", "budget": None, "epoch_seconds": None}
    rows = [run(name, 0, top1, **dense) for name, top1 in (("base", 0.9), ("distilled", 0.88))]
    rows += [
        run(name, seed, top1 + 0.01 * seed**2 * i, search_cost_macs=1000 * i, epoch_seconds=1.5 + i)
        for i, (name, top1) in enumerate((("base", 0.8), ("distilled", 0.85)))
        for seed in (0, 1)
    ]
    output = SimpleNamespace(csv=tmp_path / "ablations.csv", md=tmp_path / "ablations.md")
    found = compare_experiments(rows, PAIRS)
    write_ablations(found, output)
    assert ABLATIONS.read(output.csv) == found
    _, _, first, second, *_ = output.md.read_text().splitlines()
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        *("distilled", "base", "-", "dense", "1", "88.00", "-2.00"),
        *("50.0 / 50.0", "110 / 110", "-"),
    ]
    assert "| distilled | base | half | width | 2 | 85.50 ± 0.71 | +5.50 [" in second
    assert second.endswith("| 50.0 / 50.0 | 1.10 k / 100 | 2.50 / 1.50 |")

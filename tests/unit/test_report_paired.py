"""Paired differences, against scipy's own t intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from prune3d.report import policies
from prune3d.report.paired import Effect, paired
from prune3d.report.text import points


def run(policy: str, seed: int, top1: float, budget: str = "half") -> dict:
    """Return a row of runs.csv of which only the accuracy matters."""
    row = dict.fromkeys(policies.RUN_COLUMNS, 0.5)
    names = {"experiment": "digits", "seed": seed, "budget": budget, "policy": policy}
    return {**row, **names, "test_top1": top1}


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_an_interval_is_that_of_a_paired_t_test(seeds: int, level: float) -> None:
    rng = np.random.default_rng(seeds)
    one, other = rng.normal(0.9, 0.01, seeds), rng.normal(0.88, 0.02, seeds)
    found = paired(dict(enumerate(one)), dict(enumerate(other)))
    expected = stats.ttest_rel(one, other).confidence_interval(level)
    assert found is not None
    assert found.mean == pytest.approx(np.mean(one - other))
    assert found.interval(level) == pytest.approx((expected.low, expected.high))


def test_only_common_seeds_count() -> None:
    found = paired({0: 0.9, 1: 0.8, 7: 0.1}, {1: 0.7, 0: 0.9, 2: 0.0})
    assert found is not None and found.seeds == 2
    assert found.mean == pytest.approx(0.05)
    assert paired({0: 0.9}, {1: 0.9}) is None


def test_one_seed_has_no_interval_and_equal_differences_have_none_either() -> None:
    assert Effect.of([0.25]).interval() is None
    assert Effect.of([0.9 - 0.8, 0.7 - 0.6, 0.3 - 0.2]).interval() is None


def test_the_table_of_policies_has_the_difference_to_the_method_of_the_same_seeds() -> None:
    own, method = {0: 0.80, 1: 0.83, 3: 0.85}, {0: 0.84, 1: 0.84, 2: 0.99, 3: 0.88}
    rows = [run("dense", seed, 0.95, budget="") for seed in own]
    rows += [run("dwr", seed, top1) for seed, top1 in method.items()]
    rows += [run("depth", seed, top1) for seed, top1 in own.items()]
    rows += [run("depth", 0, 0.1, budget="other")]
    summary = {(row["policy"], row["budget"]): row for row in policies.summarize(rows)}
    common = sorted(own)
    expected = stats.ttest_rel([own[s] for s in common], [method[s] for s in common])
    row = summary["depth", "half"]
    assert row["difference_to_dwr"] == pytest.approx(-0.08 / 3)
    ends = expected.confidence_interval(0.95)
    assert row["difference_to_dwr_low"] == pytest.approx(ends.low)
    assert row["difference_to_dwr_high"] == pytest.approx(ends.high)
    for other in (("dense", ""), ("dwr", "half"), ("depth", "other")):
        assert summary[other]["difference_to_dwr"] is None


def test_a_single_seed_has_a_difference_without_an_interval() -> None:
    *_, row = policies.summarize([run("dwr", 0, 0.9), run("width", 0, 0.85)])
    assert row["difference_to_dwr"] == pytest.approx(-0.05)
    assert row["difference_to_dwr_low"] is row["difference_to_dwr_high"] is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((None,), "-"),
        ((0.0123,), "+1.23"),
        ((-0.01, -0.025, 0.005), "-1.00 [-2.50, +0.50]"),
    ],
)
def test_differences_are_told_in_points(given: tuple, text: str) -> None:
    assert points(*given) == text

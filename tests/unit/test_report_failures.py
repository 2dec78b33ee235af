"""Final networks that failed are named; those that are merely worse are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune3d.report.failures import FAILED, find_failures, sentence
from prune3d.report.forecast_table import FORECASTS
from prune3d.sampling.metrics_file import METRICS

CLASSES = [f"class {i}" for i in range(10)]


def final(root: Path, seed: int, policy: str, test: float, **more: Any) -> str:
    """Write the metrics of a final network, judged on 1,000 test images of ten classes."""
    path = root / f"results/x/seed{seed}/budgets/small/{policy}/metrics.json"
    path.parent.mkdir(parents=True)
    judged = {"top1": test, "top5": 1.0, "loss": 0.1, "images": 1000}
    known = dict.fromkeys(("depth", "width", "resolution", "macs_ratio"), 0.5)
    cost = dict.fromkeys(("macs", "params", "image_passes", "cost_macs"), 1)
    own = {"classes": CLASSES, "test": judged, "selection": judged, **more}
    METRICS.write(path, {**known, **cost, **own})
    return str(path)


def foretold(seed: int, forecast: float, low: float) -> dict[str, Any]:
    row = {**dict.fromkeys(FORECASTS.columns, 0.5), "experiment": "x", "seed": seed}
    return {**row, "budget": "small", "forecast": forecast, "low": low}


def failed(finals: list[str], *forecasts: dict[str, Any]) -> list[tuple[int, str]]:
    return [(row["seed"], row["policy"]) for row in find_failures(finals, forecasts)]


@pytest.mark.parametrize(
    ("test", "told"),
    # Guessing: 10 %, of 1,000 images with a standard error of 0.95 points.
    [(0.05, True), (0.118, True), (0.12, False), (0.5, False)],
)
def test_a_network_no_better_than_guessing_failed(tmp_path: Path, test: float, told: bool) -> None:
    assert failed([final(tmp_path, 0, "width", test)]) == ([(0, "width")] if told else [])


def test_where_classes_are_not_known_nothing_is_said_of_guessing(tmp_path: Path) -> None:
    path = final(tmp_path, 0, "width", 0.05, classes=None)
    assert failed([path]) == []


@pytest.mark.parametrize(("test", "told"), [(0.29, True), (0.31, False)])
def test_less_than_half_of_what_other_seeds_have_above_guessing_is_a_failure(
    tmp_path: Path, test: float, told: bool
) -> None:
    """Others have 50 % in the median, 40 points above guessing."""
    finals = [final(tmp_path, seed, "depth", top1) for seed, top1 in enumerate((0.48, 0.52))]
    finals += [final(tmp_path, 2, "depth", test), final(tmp_path, 0, "width", 0.9)]
    assert failed(finals) == ([(2, "depth")] if told else [])


@pytest.mark.parametrize(("selection", "told"), [(0.69, True), (0.71, False), (0.95, False)])
def test_the_method_failed_twice_as_far_below_its_forecast_as_the_interval_reaches(
    tmp_path: Path, selection: float, told: bool
) -> None:
    judged = {"top1": selection, "top5": 1.0, "loss": 0.1, "images": 1000}
    own = final(tmp_path, 0, "dwr", 0.7, selection=judged)
    rival = final(tmp_path, 0, "width", 0.4)
    forecasts = (foretold(0, 0.8, 0.75), foretold(1, 0.99, 0.98))
    assert failed([own, rival], *forecasts) == ([(0, "dwr")] if told else [])


def test_a_failure_is_told_with_seed_budget_and_reason(tmp_path: Path) -> None:
    left_out = tmp_path / "results/x/seed0/budgets/small/depth/metrics.json"
    left_out.parent.mkdir(parents=True)
    METRICS.write(left_out, {"unreachable": "no."})
    rows = find_failures([str(left_out), final(tmp_path, 3, "resolution", 0.1)])
    table = tmp_path / "failed.csv"
    FAILED.write(table, rows)
    assert FAILED.read(table) == rows
    assert sentence(rows[0]) == (
        "Failed: x, seed 3, budget small, policy resolution: its 10.00 % of the test images are no "
        "more than guessing gives."
    )

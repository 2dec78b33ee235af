"""What the method's final networks were foretold to have: learnt from others' finals alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prune3d.optimize.predictor_file import PREDICTOR
from prune3d.optimize.surrogate import Settings, fit_both
from prune3d.report.forecast_table import FORECASTS
from prune3d.report.forecasts import forecast_rows, write_tables
from prune3d.sampling.metrics_file import METRICS
from prune3d.sampling.table import Samples

RUN = "results/x/seed0"
SINGLES = {"depth": (0.25, 1, 1), "width": (1, 0.5, 1), "resolution": (1, 1, 0.5)}
CHOSEN = (0.6, 0.7, 0.9)


def short(point: Any) -> Any:
    d, w, r = np.moveaxis(np.asarray(point, dtype=float), -1, 0)
    return 0.9 - 0.1 * (1 - d) ** 2 - 0.2 * (1 - w) ** 2 - 0.15 * (1 - r) ** 2


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a folder with a predictor of quadratic curves that fits its samples exactly."""
    grid = np.ones((10, 3))
    for axis in range(3):
        grid[1 + 3 * axis : 4 + 3 * axis, axis] = (0.8, 0.5, 0.25)
    samples = Samples(("",) * 10, grid, short(grid), np.ones(10))
    path = tmp_path / RUN / "predictor/predictor.json"
    path.parent.mkdir(parents=True)
    PREDICTOR.write(path, fit_both(samples, Settings("low_rank", 2, 1, 1e-9)))
    return tmp_path


def metrics(root: Path, name: str, point: Any, top1: float) -> str:
    path = root / RUN / name
    path.parent.mkdir(parents=True, exist_ok=True)
    judged = {"top1": top1, "top5": 1.0, "loss": 0.1, "images": 1000}
    known = dict(zip(("depth", "width", "resolution"), map(float, point), strict=True))
    cost = {"macs": 1, "macs_ratio": 0.25, "params": 1, "image_passes": 1, "cost_macs": 1}
    METRICS.write(path, {**known, **cost, "selection": judged, "test": {**judged, "top1": 0.0}})
    return str(path)


def forecast(root: Path, gain: float, *names: str) -> dict[str, Any]:
    """Return the row of the method where other finals gain as much over the short labels."""
    points = {**SINGLES, "scratch": (0.5, 0.5, 0.5)}
    finals = [
        metrics(
            root, f"budgets/small/{name}/metrics.json", points[name], short(points[name]) + gain
        )
        for name in names
    ]
    own = metrics(root, "budgets/small/dwr/metrics.json", CHOSEN, short(CHOSEN) + gain)
    predictor = str(root / RUN / "predictor/predictor.json")
    (row,) = forecast_rows([predictor], [*finals, own], [])
    return row


def test_without_other_finals_the_samples_prediction_stands(written: Path) -> None:
    row = forecast(written, 0.02)
    assert row["forecast"] == row["samples_predicted"] == pytest.approx(short(CHOSEN), abs=0.01)
    assert row["long_labels"] == 0 and row["low"] < row["forecast"] < row["high"]


@pytest.mark.parametrize("gain", [-0.03, 0.03])
def test_what_longer_training_gave_others_is_expected_of_the_method(
    written: Path, gain: float
) -> None:
    none, all_three = forecast(written, gain), forecast(written, gain, *SINGLES)
    shift = all_three["forecast"] - all_three["samples_predicted"]
    # Shrunk towards nothing, by a prior that three labels outweigh.
    assert 0.5 < shift / gain < 1.2
    assert all_three["high"] - all_three["low"] < none["high"] - none["low"]
    assert all_three["within"] == 1 and all_three["long_labels"] == 3


def test_other_trainings_and_the_method_itself_are_no_labels(written: Path) -> None:
    assert forecast(written, 0.03, "scratch") == forecast(written, 0.03)


def test_nothing_is_learnt_from_the_very_network_that_is_foretold(written: Path) -> None:
    """The method has taken what the policy width prunes to."""
    width = SINGLES["width"]
    finals = [metrics(written, "budgets/small/depth/metrics.json", SINGLES["depth"], 0.85)]
    own = metrics(written, "budgets/small/dwr/metrics.json", width, short(width) + 0.03)
    predictor = str(written / RUN / "predictor/predictor.json")
    (expected,) = forecast_rows([predictor], [*finals, own], [])
    finals.append(metrics(written, "budgets/small/width/metrics.json", width, short(width) + 0.03))
    assert forecast_rows([predictor], [*finals, own], []) == [expected]
    assert expected["long_labels"] == 1
    # Of another network it is a label as others are.
    other = metrics(written, "budgets/large/dwr/metrics.json", CHOSEN, 0.9)
    rows = forecast_rows([predictor], [*finals, own, other], [])
    assert [row["long_labels"] for row in rows] == [1, 2]


def test_the_dense_network_trained_longer_is_a_label_and_left_out_finals_are_not(
    written: Path,
) -> None:
    predictor = str(written / RUN / "predictor/predictor.json")
    longer = metrics(written, "dense/longer/metrics.json", (1, 1, 1), 0.95)
    own = metrics(written, "budgets/small/dwr/metrics.json", CHOSEN, 0.9)
    left_out = written / RUN / "budgets/small/depth/metrics.json"
    left_out.parent.mkdir()
    METRICS.write(left_out, {"unreachable": "no."})
    (row,) = forecast_rows([predictor], [own, str(left_out)], [longer])
    assert row["long_labels"] == 1
    assert row["samples_predicted"] < row["forecast"] < row["samples_predicted"] + 0.05


def test_tables_hold_what_was_foretold(written: Path, tmp_path: Path) -> None:
    row = forecast(written, 0.02, *SINGLES)
    output = SimpleNamespace(csv=tmp_path / "forecasts.csv", md=tmp_path / "forecasts.md")
    write_tables([row], output)
    assert FORECASTS.read(output.csv) == [row]
    assert f"{100 * row['forecast']:.2f}" in output.md.read_text(encoding="utf-8")
    write_tables([], output)
    assert FORECASTS.read(output.csv) == []

"""How accuracy comes back while final networks are fine-tuned."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from prune3d.report.figures import Style
from prune3d.report.policy_figures import KNOWN, draw_recovery
from prune3d.report.recovery import RECOVERY, curves, readable, recovery_rows, settled_epoch
from prune3d.sampling.metrics_file import METRICS
from prune3d.train.history import HISTORY

CURVE = (0.5, 0.75, 0.78, 0.8)
MANY = [name for name in KNOWN if name != "dense_longer"][:20]


def final(root: Path, seed: int, policy: str, curve: dict[int, float], epochs: int) -> list[str]:
    """Write the history and the metrics of a final network."""
    folder = root / f"results/digits/seed{seed}/budgets/half/{policy}"
    folder.mkdir(parents=True)
    row = {"learning_rate": 0.1, "train_loss": 1.0, "train_top1": 0.5, "images": 80}
    HISTORY.write(
        folder / "history.csv",
        [{"epoch": e, **row, "selection_top1": curve.get(e)} for e in range(1, epochs + 1)],
    )
    judged = {"top1": curve[epochs], "top5": 1.0, "loss": 1.0, "images": 200}
    numbers = {"depth": 0.5, "width": 0.5, "resolution": 0.5, "macs_ratio": 0.5}
    counts = {"macs": 10, "params": 10, "image_passes": 1, "cost_macs": 1}
    METRICS.write(
        folder / "metrics.json", {**numbers, **counts, "selection": judged, "test": judged}
    )
    return [str(folder / "history.csv"), str(folder / "metrics.json")]


def test_rows_are_the_judged_epochs_of_the_networks_that_are_fine_tuned(tmp_path: Path) -> None:
    judged = {1: 0.5, 3: 0.7, 5: 0.72}
    files = [final(tmp_path, seed, "dwr", judged, 5) for seed in (0, 1)]
    files.append(final(tmp_path, 0, "scratch_epochs", judged, 5))
    left_out = tmp_path / "results/digits/seed0/budgets/half/depth"
    left_out.mkdir()
    HISTORY.write(left_out / "history.csv", [])
    METRICS.write(left_out / "metrics.json", {"unreachable": "too large"})
    files.append([str(left_out / "history.csv"), str(left_out / "metrics.json")])
    rows = recovery_rows(*zip(*files, strict=True))
    assert [(r["seed"], r["policy"], r["epoch"], r["selection_top1"]) for r in rows] == [
        (seed, "dwr", epoch, top1) for seed in (0, 1) for epoch, top1 in judged.items()
    ]
    assert {(r["epochs"], r["images"], r["budget"]) for r in rows} == {(5, 200, "half")}
    RECOVERY.write(tmp_path / "recovery.csv", rows)
    assert RECOVERY.read(tmp_path / "recovery.csv") == rows


@pytest.mark.parametrize(
    ("images", "settled"),
    # One standard error of 0.8 is 0.4 / sqrt(images).
    [(1_000_000, 4), (300, 3), (65, 3), (63, 2), (1, 1)],
)
def test_a_curve_is_settled_when_its_end_is_within_the_noise(images: int, settled: int) -> None:
    curve = dict(enumerate(CURVE, 1))
    noise = math.sqrt(0.8 * 0.2 / images)
    assert all(0.8 - top1 <= noise for epoch, top1 in curve.items() if epoch >= settled)
    assert settled == 1 or 0.8 - curve[settled - 1] > noise
    assert settled_epoch(curve, images) == settled


def test_a_curve_that_falls_back_is_not_settled_before() -> None:
    assert settled_epoch({1: 0.8, 2: 0.6, 3: 0.8}, 10_000) == 3
    assert settled_epoch({1: 0.9, 2: 0.8}, 10_000) == 1
    assert settled_epoch({1: 0.8}, 10_000) == 1


def rows_of(policies: list[str], budgets: tuple[str, ...] = ("half", "eighth")) -> list[Any]:
    return [
        {
            "experiment": "digits",
            "seed": seed,
            "budget": budget,
            "policy": policy,
            "epoch": epoch,
            "epochs": 4,
            "selection_top1": top1 - 0.003 * i - 0.01 * seed,
            "images": 200,
        }
        for i, policy in enumerate(policies)
        for seed in (0, 1)
        for budget in budgets
        for epoch, top1 in enumerate(CURVE, 1)
    ]


def test_the_table_tells_the_means_over_seeds() -> None:
    text = readable(rows_of(["dwr"], ("half",)))
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    noise = 100 * math.sqrt(0.795 * 0.205 / 400)
    assert cells == [
        *("digits", "half", "dwr", "2", "4", "49.50", "79.50", "+30.00"),
        *(f"{noise:.2f}", "3"),
    ]
    assert "a shorter one would end higher" in text


def test_without_any_final_network_there_is_an_empty_table_and_figure() -> None:
    assert "Settled" in readable([])
    assert draw_recovery([], Style((8.0, 4.0), 60)).axes


@pytest.mark.parametrize("policies", [MANY, MANY[:4]], ids=["twenty", "four"])
def test_all_policies_are_drawn_and_their_names_do_not_overlap(policies: list[str]) -> None:
    rows = rows_of(policies)
    figure = draw_recovery(rows, Style((8.0, 4.0), 80))
    FigureCanvasAgg(figure).draw()
    for panel, budget in zip(figure.axes, ("half", "eighth"), strict=True):
        assert panel.get_title() == budget
        lines = {line.get_label(): line for line in panel.lines}
        assert set(lines) == set(policies)
        for policy, line in lines.items():
            curve = curves(rows)["digits", budget, policy]
            assert list(line.get_xdata()) == [1, 2, 3, 4]
            assert list(line.get_ydata()) == [100 * curve[e] for e in (1, 2, 3, 4)]
    (legend,) = figure.legends
    boxes = [text.get_window_extent().padded(-1) for text in legend.get_texts()]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    for panel in figure.axes:
        assert not panel.get_window_extent().overlaps(legend.get_window_extent())

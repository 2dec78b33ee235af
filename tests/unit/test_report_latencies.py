"""The table of latencies, and the figure of accuracy over them."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from prune3d.errors import UserError
from prune3d.report.figures import Style
from prune3d.report.latencies import (
    SUMMARY,
    TIMED,
    Timed,
    mixing,
    read_timed,
    readable,
    summarize,
    timing_of,
)
from prune3d.report.policy_figures import KNOWN, draw_accuracy_over_latency

STYLE = Style((9.0, 4.0), 80)
MANY = [name for name in KNOWN if name != "dense_longer"][:20]


def timed(folder: Path, policies: list[str], seeds: int) -> list[str]:
    """Write a table of each seed: the dense network and policies at two budgets."""
    rng = np.random.default_rng(0)
    paths = []
    for seed in range(seeds):
        rows = []
        named = [(None, "dense"), *((b, p) for b in ("half", "eighth") for p in policies)]
        for budget, policy in named:
            ms = {None: 4.0, "half": 2.0, "eighth": 0.7}[budget] * float(rng.uniform(0.8, 1.2))
            row: dict[str, Any] = {
                "experiment": "glyphs",
                "seed": seed,
                "budget": budget,
                "policy": policy,
                "macs_ratio": {None: 1.0, "half": 0.5, "eighth": 0.125}[budget],
                "params": 1000,
                "test_top1": float(rng.uniform(0.7, 0.9)),
                "latency_ms": ms,
                "throughput_ms": 5 * ms,
                "batch_size": 1,
                "throughput_batch_size": 8,
                "runtime": "torch",
                "device": "some processor",
                "threads": 1,
                "runs": 5,
            }
            rows.append(row)
        paths.append(str(folder / f"{seed}.csv"))
        TIMED.write(paths[-1], rows)
    return paths


def test_a_card_is_told_the_times_of_its_network_and_the_dense_over_them(tmp_path: Path) -> None:
    (path,) = timed(tmp_path, ["dwr", "depth"], seeds=1)
    rows = {(row["budget"], row["policy"]): row for row in TIMED.read(path)}
    dense, own = rows[None, "dense"], rows["eighth", "depth"]
    found = timing_of(path, "eighth", "depth")
    assert (found.device, found.threads) == ("some processor", 1)
    faster = dense["latency_ms"] / own["latency_ms"]  # as of the batch, see `timed`
    assert found.rows == [
        Timed("torch", 1, own["latency_ms"], pytest.approx(faster)),
        Timed("torch", 8, 5 * own["latency_ms"], pytest.approx(faster)),
    ]
    with pytest.raises(UserError, match=r"0\.csv .*no row of the policy width for the budget half"):
        timing_of(path, "half", "width")


def test_means_and_spreads_are_those_over_seeds(tmp_path: Path) -> None:
    paths = timed(tmp_path, ["dwr", "depth"], seeds=3)
    rows = [row for path in paths for row in TIMED.read(path)]
    summary = summarize(read_timed(paths))
    assert [(r["budget"], r["policy"]) for r in summary[:3]] == [
        (None, "dense"),
        ("half", "dwr"),
        ("half", "depth"),
    ]
    for found in summary:
        own = [r for r in rows if (r["budget"], r["policy"]) == (found["budget"], found["policy"])]
        assert found["seeds"] == len(own) == 3
        for name in ("test_top1", "latency_ms", "throughput_ms"):
            values = [row[name] for row in own]
            assert found[name] == pytest.approx(statistics.fmean(values))
            assert found[f"{name}_std"] == pytest.approx(np.std(values, ddof=1))
    SUMMARY.write(tmp_path / "all.csv", summary)
    assert SUMMARY.read(tmp_path / "all.csv") == summary


def test_of_one_seed_there_is_no_spread(tmp_path: Path) -> None:
    (row, *_) = summarize(read_timed(timed(tmp_path, ["dwr"], seeds=1)))
    assert row["latency_ms_std"] is row["test_top1_std"] is None


def test_all_machines_are_named_and_that_means_mix_them(tmp_path: Path) -> None:
    paths = timed(tmp_path, ["dwr"], seeds=3)
    rows = read_timed(paths)
    (alone,) = {(row["device"], row["threads"]) for row in summarize(rows)}
    assert alone == ("some processor", "1") and mixing(rows) == []
    assert "several machines" not in readable(summarize(rows), mixing(rows))
    speedups = [row["speedup"] for row in summarize(rows)]
    for path, machine in ((paths[1], {"device": "slow"}), (paths[2], {"threads": 8})):
        TIMED.write(path, [{**row, **machine} for row in TIMED.read(path)])
    rows = read_timed(paths)
    summary = summarize(rows)
    SUMMARY.write(tmp_path / "all.csv", summary)
    assert SUMMARY.read(tmp_path / "all.csv") == summary
    assert {row["device"] for row in summary} == {"some processor; slow; some processor"}
    assert {row["threads"] for row in summary} == {"1; 1; 8"}
    assert [row["speedup"] for row in summary] == speedups
    (told,) = mixing(rows)
    assert "experiment glyphs (some processor, threads: 1; slow, threads: 1; some proc" in told
    text = readable(summary, mixing(rows))
    assert f"\n- {told}\n" in text
    assert "torch on some processor; slow; some processor, threads: 1; 1; 8; ms are" in text


def test_seconds_are_told_in_plain_digits(tmp_path: Path) -> None:
    (path,) = timed(tmp_path, ["dwr"], seeds=1)
    rows = [{**row, "latency_ms": 1234.4, "throughput_ms": 45678.0} for row in TIMED.read(path)]
    TIMED.write(path, rows)
    assert "| 1234 | 1.00 | 45678 |" in readable(summarize(read_timed([path])))


@pytest.mark.parametrize("policies", [MANY, MANY[:4]], ids=["twenty", "four"])
def test_accuracy_stands_over_both_times_and_names_do_not_overlap(
    tmp_path: Path, policies: list[str]
) -> None:
    summary = summarize(read_timed(timed(tmp_path, policies, seeds=3)))
    figure = draw_accuracy_over_latency(summary, STYLE)
    FigureCanvasAgg(figure).draw()
    for panel, time, size in zip(
        figure.axes, ("latency_ms", "throughput_ms"), ("1 image ", "8 images "), strict=True
    ):
        assert size in panel.get_title()
        drawn = {c.get_label(): c.lines[0] for c in panel.containers}
        assert set(drawn) == {"dense", *policies}
        for policy in ("dense", *policies):
            own = sorted((r[time], 100 * r["test_top1"]) for r in summary if r["policy"] == policy)
            assert np.allclose(drawn[policy].get_xydata(), own)
    (legend,) = figure.legends
    boxes = [text.get_window_extent().padded(-1) for text in legend.get_texts()]
    assert len(boxes) == len(policies) + 1
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    for panel in figure.axes:
        assert not panel.get_window_extent().overlaps(legend.get_window_extent())

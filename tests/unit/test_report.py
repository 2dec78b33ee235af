"""Tables by hand, and figures that are the same bytes every time."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prune3d.costs.structure_file import BLOCKS
from prune3d.errors import UserError
from prune3d.optimize.predictor_file import VALIDATION
from prune3d.optimize.surrogate import Settings, fit_both
from prune3d.optimize.target_file import NETWORK, OPTIMUM, TARGET, TRIALS
from prune3d.predictor import LowRankPolynomialRegressor
from prune3d.records import JsonKind
from prune3d.report import policies, predictors
from prune3d.report.failures import FAILED, sentence
from prune3d.report.figures import (
    Style,
    draw_dimensions,
    draw_predictions,
    draw_surface,
)
from prune3d.report.latencies import TIMED
from prune3d.report.policy_figures import draw_latencies, draw_policies
from prune3d.report.text import latex, markdown, mean_and_spread, percent, plain, scaled
from prune3d.sampling.metrics_file import METRICS, TEST
from prune3d.sampling.table import (
    HOLDOUT,
    SAMPLES,
    Samples,
    read_holdout,
    read_samples,
    sample_row,
)
from prune3d.train.history import HISTORY
from prune3d.workflow.paths import Run
from prune3d.workflow.provenance import PROVENANCE, epoch_seconds, job_seconds

DENSE_MACS = 1000
OPTIMUM_OF_HALF = {
    "policy": "dwr",
    "limits": {"macs": 500.0},
    "budget_macs": 0.5,
    "kkt": {"feasible": False},
    **dict.fromkeys(("depth", "width", "resolution", "width_asked", "macs_ratio"), 0.5),
    "macs": 490,
    "params": 200,
    "predicted_accuracy": 0.91,
}

FAILURE = {"experiment": "digits", "seed": 1, "budget": "half", "policy": "width"}
FAILURE |= {"test_top1": 0.1, "reason": "as guessing"}


KINDS: dict[str, JsonKind] = {
    "metrics.json": METRICS,
    "test.json": TEST,
    "blocks.json": BLOCKS,
    "optimum.json": OPTIMUM,
    "target.json": TARGET,
    "validation.json": VALIDATION,
}


def write(path: Path, value: dict[str, Any]) -> None:
    """Write a file of the kind that its name tells."""
    KINDS.get(path.name, PROVENANCE).write(path, value)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table for people."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def metrics(ratio: float, cost_macs: int, selection: float, **more: Any) -> dict[str, Any]:
    """Return metrics of a network that keeps a part of the MACs."""
    return {
        "depth": ratio,
        "width": 1.0,
        "resolution": 1.0,
        "macs": int(DENSE_MACS * ratio),
        "macs_ratio": ratio,
        "params": 200,
        "image_passes": 1,
        "cost_macs": cost_macs,
        "selection": {"top1": selection, "top5": 1.0, "loss": 0.5, "images": 10},
        **more,
    }


def target(policy: str, ratio: float) -> dict[str, Any]:
    """Return what a policy prunes to within half of the MACs."""
    known = {key: OPTIMUM_OF_HALF[key] for key in ("limits", "budget_macs", "width_asked")}
    own = {key: metrics(ratio, 0, 0.0)[key] for key in NETWORK if key != "width_asked"}
    return {"policy": policy, **known, **own}


def judged(top1: float) -> dict[str, Any]:
    """Return a judgement on the test images."""
    return {"top1": top1, "top5": 0.99, "loss": 0.2, "images": 10}


def provenance(seconds: float, **steps: Any) -> dict[str, Any]:
    """Return provenance of a job that trained for all but a second of its time."""
    return {"seconds": {"training": 0.5 * seconds, "job": seconds}, "steps": steps}


def write_history(folder: Path, epochs: int) -> None:
    row = {"learning_rate": 0.1, "train_loss": 1.0, "train_top1": 0.5, "images": 10}
    HISTORY.write(folder / "history.csv", [{"epoch": i + 1, **row} for i in range(epochs)])


def trial(name: str, place: int) -> dict[str, Any]:
    ratios = {"depth": 0.5, "width": 0.5, "resolution": 1.0}
    costs = {"macs": 50, "params": 5, "cost_macs": 500}
    judged = {"predicted_accuracy": 0.9, "selection_top1": 0.9, "selection_loss": 0.3}
    return {"round": name, "place": place, "candidate": 1, **ratios, **costs, **judged, "chosen": 0}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return a results tree of two seeds, one budget and three policies, one of them left out."""
    root = tmp_path / "results"
    for seed in (0, 1):
        run = root / f"digits/seed{seed}"
        write(run / "dense/metrics.json", metrics(1.0, 5_000_000, 0.95))
        write(run / "dense/test.json", judged(0.9 + 0.02 * seed))
        write(run / "dense/provenance.json", provenance(40.0 + seed))
        write_history(run / "dense", 10)
        write(
            run / "dense/blocks.json", {"removal_order": [], "image_passes": 4, "cost_macs": 4000}
        )
        write(run / "dense/blocks_provenance.json", provenance(1.5))
        samples = [
            ("d100_w100_r100", 7_000, provenance(4.0)),
            ("d50_w100_r100", 30_000, provenance(3.0, prune_sample=provenance(0.25))),
            ("d100_w50_r100", 10_000, provenance(2.5, prune_sample=provenance(0.125))),
        ]
        write(run / "dense/longer/metrics.json", metrics(1.0, 70_000, 0.96))
        write(run / "dense/longer/test.json", judged(0.91))
        write(run / "dense/longer/provenance.json", provenance(12.0))
        write_history(run / "dense/longer", 3)
        held = [("d80_w80_r100", 77_000, provenance(100.0, prune_sample=provenance(50.0)))]
        for table, networks in (("samples", samples), ("holdout", held)):
            rows = []
            for name, cost, spent in networks:
                ratio = {"d100_w100_r100": 1.0, "d80_w80_r100": 0.8}.get(name, 0.5)
                rows.append(sample_row(name, metrics(ratio, cost, 0.5)))
                rows[-1] |= dict.fromkeys(("depth", "width", "resolution"), ratio)
                write(run / f"samples/{name}/provenance.json", spent)
            (SAMPLES if table == "samples" else HOLDOUT).write(run / f"{table}.csv", rows)
        write(run / "budgets/half/optimum.json", OPTIMUM_OF_HALF)
        TRIALS.write(run / "budgets/half/trials.csv", [trial("first", 1), trial("second", 1)])
        for name, seconds in (("first1", 5.0), ("second1", 7.5)):
            write(run / f"budgets/half/trials/{name}/provenance.json", provenance(seconds))
        for policy, ratio, top1 in (("dwr", 0.49, 0.88), ("depth", 0.45, 0.8), ("width", 0.5, 0.7)):
            folder = run / "budgets/half" / policy
            test = judged(top1 + 0.04 * seed)
            write(folder / "metrics.json", metrics(ratio, 600 + seed, 0.8, test=test))
            write(folder / "target.json", target(policy, ratio))
            # The earlier step took in one of its own.
            pruned = provenance(2.0, choose_target=provenance(0.5))
            write(folder / "provenance.json", provenance(9.0, prune_final=pruned))
            write_history(folder, 4)
        folder = run / "budgets/half/resolution"
        write(folder / "metrics.json", {"unreachable": "resolution alone cannot meet it"})
        write(folder / "provenance.json", provenance(1.0))
    return root


def compare(root: Path, timed: Sequence[str] = ()) -> policies.Comparison:
    """Read the whole tree."""
    finals = [
        str(root / f"digits/seed{seed}/budgets/half/{policy}/metrics.json")
        for seed in (0, 1)
        for policy in ("dwr", "depth", "width", "resolution")
    ]
    dense = [str(root / f"digits/seed{seed}/dense/metrics.json") for seed in (0, 1)]
    longer = [str(root / f"digits/seed{seed}/dense/longer/metrics.json") for seed in (0, 1)]
    return policies.compare(finals, dense, longer, timed)


def in_words(runs: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the readable table."""
    return policies.readable(policies.summarize(runs))


def test_the_method_is_billed_with_its_samples_and_the_scoring_of_blocks(results: Path) -> None:
    (row,) = [r for r in compare(results).runs if r["policy"] == "dwr" and r["seed"] == 1]
    # The training of the dense network and the held-out sample are not billed.
    assert row["search_cost_macs"] == 7_000 + 30_000 + 10_000 + 4_000 + 2 * 500
    # The scoring of blocks, and the samples, each with its pruning but the dense one.
    assert row["search_seconds"] == round(1.5 + 4.0 + (3.0 + 0.25) + (2.5 + 0.125) + 12.5, 1)
    assert row["training_cost_macs"] == 601
    assert row["training_seconds"] == 9.0 + 2.0 + 0.5
    assert row["predicted_accuracy"] == 0.91
    assert row["test_top1"] == 0.92
    assert row["selection_top1"] == 0.8
    assert (row["experiment"], row["budget"], row["macs"]) == ("digits", "half", 490)


def test_a_resumed_training_is_billed_for_all_its_attempts(tmp_path: Path) -> None:
    steps = {"prune_final": provenance(2.0)}
    spent = {"job": 3.0, "training": 12.0, "earlier_attempts": 10.0}
    PROVENANCE.write(tmp_path / "provenance.json", {"seconds": spent, "steps": steps})
    assert job_seconds(tmp_path / "provenance.json") == 3.0 + 10.0 + 2.0


def test_rivals_are_billed_with_what_they_use(results: Path) -> None:
    rows = {r["policy"]: r for r in compare(results).runs if r["seed"] == 0}
    assert rows["depth"]["search_cost_macs"] == 4_000
    assert rows["width"]["search_cost_macs"] == 0
    assert rows["depth"]["search_seconds"] == 1.5
    assert rows["width"]["search_seconds"] == 0
    assert rows["width"]["predicted_accuracy"] is None
    assert rows["width"]["training_cost_macs"] == 600
    assert rows["depth"]["training_seconds"] == rows["width"]["training_seconds"] == 11.5


def test_rivals_that_use_a_part_of_the_search_are_billed_with_that_part(results: Path) -> None:
    run = Run("digits", 0, str(results))
    samples, scoring = 7_000 + 30_000 + 10_000, 4_000
    assert policies.search_cost(run, "depth_width").macs == samples + scoring
    assert policies.search_cost(run, "width_resolution").macs == samples
    # Of the samples only the dense network shrinks no more than one dimension.
    greedy = policies.search_cost(run, "greedy")
    assert greedy.macs == 7_000 + scoring
    assert greedy.seconds == 4.0 + 1.5
    for rule in ("uniform", "compound", "fast_compound", "tinynet", "random_point3"):
        assert policies.search_cost(run, rule).macs == scoring


def test_random_points_are_one_row_together_and_their_best_is_random_search(
    results: Path,
) -> None:
    # By seed: accuracy on the test and on the selection images of each draw.
    drawn = {0: [(0.6, 0.7), (0.8, 0.5)], 1: [(0.7, 0.4), (0.9, 0.6)]}
    finals = []
    for seed, draws in drawn.items():
        for i, (test, selection) in enumerate(draws, 1):
            folder = results / f"digits/seed{seed}/budgets/half/random_point{i}"
            write(folder / "metrics.json", metrics(0.5, 600 + i, selection, test=judged(test)))
            write(folder / "target.json", target(f"random_point{i}", 0.5))
            write(folder / "provenance.json", provenance(10.0 * i))
            write_history(folder, 2)
            finals.append(folder / "metrics.json")
        finals.append(results / f"digits/seed{seed}/budgets/half/dwr/metrics.json")
    runs = policies.compare(finals, []).runs
    best = {row["seed"]: row for row in runs if row["policy"] == "random_point_best"}
    # Chosen by the selection images, not by the test images.
    assert [best[seed]["test_top1"] for seed in (0, 1)] == [0.6, 0.9]
    assert best[0]["training_cost_macs"] == 601 and best[1]["training_cost_macs"] == 602
    assert best[0]["search_cost_macs"] == 4_000 + 602
    assert best[0]["search_seconds"] == 1.5 + 20.0 and best[1]["search_seconds"] == 1.5 + 10.0
    summary = {row["policy"]: row for row in policies.summarize(runs)}
    assert list(summary)[-1] == "random_point"
    pooled = summary["random_point"]
    assert pooled["seeds"] == 2
    assert pooled["test_top1_mean"] == pytest.approx(0.75)
    # Of 0.6, 0.8, 0.7 and 0.9.
    assert pooled["test_top1_std"] == pytest.approx((0.05 / 3) ** 0.5)
    # Seed by seed: 0.7 - 0.88 and 0.8 - 0.92.
    assert pooled["difference_to_dwr"] == pytest.approx(-0.15)
    alone = [row for row in runs if row["policy"] in ("dwr", "random_point1")]
    assert "random_point" not in {row["policy"] for row in policies.summarize(alone)}
    told, *_ = policies.notes(list(summary.values()), policies.Comparison(runs, []))
    assert "standard deviation over seeds, that of random_point over all draws and seeds." in told


def test_dense_networks_are_rows_with_their_training_and_without_search(results: Path) -> None:
    rows = [r for r in compare(results).runs if r["policy"] == "dense"]
    assert [(r["seed"], r["test_top1"], r["macs_ratio"]) for r in rows] == [
        (0, 0.9, 1),
        (1, 0.92, 1),
    ]
    assert [(r["search_cost_macs"], r["search_seconds"]) for r in rows] == [(0, 0), (0, 0)]
    assert [r["training_cost_macs"] for r in rows] == [5_000_000, 5_000_000]
    assert [r["training_seconds"] for r in rows] == [40, 41]
    longer = [r for r in compare(results).runs if r["policy"] == "dense_longer"]
    assert [(r["seed"], r["test_top1"], r["budget"]) for r in longer] == [
        (0, 0.91, ""),
        (1, 0.91, ""),
    ]
    assert [(r["training_cost_macs"], r["training_seconds"]) for r in longer] == [(70_000, 12)] * 2
    assert [(r["search_cost_macs"], r["search_seconds"]) for r in longer] == [(0, 0), (0, 0)]


def test_policies_that_cannot_reach_the_budget_are_left_out_and_noted(results: Path) -> None:
    comparison = compare(results)
    assert "resolution" not in {row["policy"] for row in comparison.runs}
    reason = "resolution alone cannot meet it"
    assert comparison.left_out == [
        {
            "experiment": "digits",
            "seed": s,
            "budget": "half",
            "policy": "resolution",
            "reason": reason,
        }
        for s in (0, 1)
    ]
    units, differences, times, *noted = policies.notes([], comparison)
    assert "sample standard deviation over seeds." in units
    assert "95 % t interval" in differences and "Seconds an epoch" in times
    assert "not corrected for the number of policies" in differences
    assert noted == [
        f"Left out: digits, seed {seed}, budget half, policy resolution: {reason}."
        for seed in (0, 1)
    ]
    assert policies.notes([], policies.Comparison([], [])) == [units, differences, times]


def test_what_is_left_of_a_budget_is_told(results: Path, tmp_path: Path) -> None:
    runs = compare(results).runs
    used = {row["policy"]: row["budget_used"] for row in runs if row["seed"] == 1}
    assert used == {"dense": None, "dense_longer": None, "dwr": 0.98, "depth": 0.9, "width": 1.0}
    assert policies.partly_used(policies.summarize(runs)) == ["depth at digits, half (90.0 %)"]
    # Of several limits that which is used most; latency is that of what was pruned to.
    limits = {"macs": 500.0, "params": 400.0, "latency_ms": 2.0}
    known = {**target("width", 0.4), "latency_ms": 1.9}
    assert policies.budget_used(metrics(0.4, 0, 0.0), {**known, "limits": limits}) == 1.9 / 2.0
    del limits["latency_ms"]
    assert policies.budget_used(metrics(0.4, 0, 0.0), {**known, "limits": limits}) == 0.8
    with pytest.raises(UserError, match="'latency_ms' is missing"):
        path = tmp_path / "target.json"
        TARGET.write(path, {**target("width", 0.4), "limits": {"latency_ms": 2.0}})
        TARGET.read(path)


def test_the_summary_is_mean_and_sample_standard_deviation(results: Path) -> None:
    summary = policies.summarize(compare(results).runs)
    assert [row["policy"] for row in summary] == [
        "dense",
        "dense_longer",
        "dwr",
        "depth",
        "width",
    ]
    dwr = summary[2]
    assert dwr["seeds"] == 2
    assert dwr["test_top1_mean"] == pytest.approx(0.9)
    # Of 0.88 and 0.92, by hand: the root of 2 * 0.02^2 / (2 - 1).
    assert dwr["test_top1_std"] == pytest.approx(0.02 * 2**0.5)
    assert dwr["training_cost_macs_mean"] == 600.5
    assert summary[4]["predicted_accuracy_mean"] is None


def test_a_difference_over_fewer_seeds_than_the_policy_has_says_so(results: Path) -> None:
    runs = compare(results).runs
    lacking = [row for row in runs if (row["policy"], row["seed"]) != ("dwr", 1)]
    other = [{**row, "seed": row["seed"] + 5} for row in runs if row["policy"] == "dwr"]
    width = [row for row in runs if row["policy"] == "width"]
    for given, seeds, told in (
        (runs, "2", "-18.00"),
        (lacking, "2", "-18.00 (1 seed)"),
        # Four seeds of the method make no difference more certain that is over two.
        ([*runs, *other], "2", "-18.00"),
        ([*runs, *({**row, "seed": row["seed"] + 7} for row in width)], "4", "-18.00 (2 seeds)"),
        ([*other, *width], "2", "-"),
    ):
        header, cells = in_words(given)
        (row,) = [row for row in cells if row[2] == "width"]
        assert (row[3], row[header.index("difference to dwr")]) == (seeds, told)


def test_the_written_tables_hold_the_numbers(results: Path, tmp_path: Path) -> None:
    names = {"runs": "r.csv", "csv": "p.csv", "left_out": "l.csv", "md": "p.md", "tex": "p.tex"}
    names |= {"warnings": "w.csv", "failed": "f.csv"}
    output = SimpleNamespace(**{key: tmp_path / name for key, name in names.items()})
    policies.write_tables(compare(results), [], [FAILURE], output)
    assert len(read_csv(output.runs)) == 2 * 5
    rows = {row["policy"]: row for row in read_csv(output.csv)}
    assert float(rows["dwr"]["test_top1_mean"]) == pytest.approx(0.9)
    assert rows["width"]["predicted_accuracy_mean"] == ""
    assert [row["seed"] for row in read_csv(output.left_out)] == ["0", "1"]
    text = output.md.read_text()
    assert (
        "| digits | half | dwr | 2 | 90.00 ± 2.83 | - | 49.0 | 200 | 0.49 | 1.00 | 1.00 | 52.0 k |"
        in text
    )
    assert text.count("resolution alone cannot meet it") == 2
    assert f"\n- {sentence(FAILURE)}\n" in text and FAILED.read(output.failed) == [FAILURE]
    tex = output.tex.read_text()
    assert (
        r"digits & half & dwr & 2 & 90.00 $\pm$ 2.83 & - & 49.0 & 200 & 0.49 & 1.00 & 1.00 &" in tex
    )
    for note in policies.notes([], compare(results)):
        assert f"\n- {note}\n" in text
        escaped = note.replace("±", r"$\pm$").replace("%", r"\%")
        assert f"\n{escaped}\\par\n" in tex


def test_epochs_have_the_seconds_of_the_training_that_made_the_network(results: Path) -> None:
    rows = {(row["seed"], row["policy"]): row for row in compare(results).runs}
    # Half of the job's seconds, over its epochs.
    assert rows[0, "dense"]["epoch_seconds"] == 20.0 / 10
    assert rows[1, "dense"]["epoch_seconds"] == 20.5 / 10
    assert rows[0, "dense_longer"]["epoch_seconds"] == 6.0 / 3
    assert rows[0, "dwr"]["epoch_seconds"] == 4.5 / 4
    header, cells = in_words(compare(results).runs)
    assert cells[0][header.index("s an epoch")] == "2.02"
    assert "ms" not in header and "speed-up" not in header


def test_an_epoch_of_a_resumed_training_counts_all_attempts(tmp_path: Path) -> None:
    spent = {"job": 9.0, "training": 4.0, "earlier_attempts": 8.0}
    steps = {"finetune_final": {"seconds": spent, "steps": {"prune_final": provenance(50.0)}}}
    file = tmp_path / "provenance.json"
    PROVENANCE.write(file, {"seconds": {"job": 1.0}, "steps": steps})
    write_history(tmp_path, 6)
    assert epoch_seconds(file, tmp_path / "history.csv") == 12.0 / 6
    # A network that was taken from a file.
    HISTORY.write(tmp_path / "history.csv", [])
    assert epoch_seconds(file, tmp_path / "history.csv") is None


def test_networks_that_were_timed_have_their_latency_and_speedup(results: Path) -> None:
    timed = [
        {**dict.fromkeys(TIMED.columns, 1), "experiment": "digits", "seed": seed, **network}
        for seed in (0, 1)
        for network in (
            {"budget": None, "policy": "dense", "latency_ms": 8.0 + seed},
            {"budget": "half", "policy": "dwr", "latency_ms": 4.0 - seed},
        )
    ]
    named = {"runtime": "torch", "device": "cpu"}
    TIMED.write(results / "latency.csv", [{**row, **named} for row in timed])
    runs = compare(results, [str(results / "latency.csv")]).runs
    found = {(row["seed"], row["policy"]): (row["latency_ms"], row["speedup"]) for row in runs}
    assert found[0, "dense"] == (8.0, 1.0) and found[1, "dense"] == (9.0, 1.0)
    assert found[0, "dwr"] == (4.0, 2.0) and found[1, "dwr"] == (3.0, 3.0)
    assert found[0, "width"] == found[0, "dense_longer"] == (None, None)
    header, cells = in_words(runs)
    rows = {row[2]: row[header.index("ms") :] for row in cells}
    assert rows["dwr"] == ["3.5 ± 0.71", "2.50"] and rows["width"] == ["-", "-"]


def test_milliseconds_of_several_machines_are_told_below_the_table(results: Path) -> None:
    """Jobs of seeds may run on nodes of other kinds."""
    known = {**dict.fromkeys(TIMED.columns, 1), "budget": None, "policy": "dense"}
    known |= {"experiment": "digits", "runtime": "torch", "latency_ms": 1200.0}
    paths = []
    for seed, device in enumerate(("A", "B")):
        paths.append(str(results / f"{seed}.csv"))
        TIMED.write(paths[-1], [{**known, "seed": seed, "device": device}])
    for given, mixed in ((paths, True), (paths[:1], False)):
        comparison = compare(results, given)
        summary = policies.summarize(comparison.runs)
        told = [note for note in policies.notes(summary, comparison) if "several machines" in note]
        assert [("(A, threads: 1; B, threads: 1)" in note) for note in told] == [True] * mixed
    _, cells = in_words(compare(results, paths).runs)
    assert cells[0][-2:] == ["1200 ± 0", "1.00"]


def test_predictor_errors_are_a_row_for_each_way_of_judging(tmp_path: Path) -> None:
    errors = {"n": 3, "mae": 0.012345, "rmse": 0.02, "spearman": None, "kendall": 1.0}
    errors["intervals"] = dict.fromkeys(("mae", "rmse", "spearman", "kendall"))
    known = {**errors["intervals"], "mae": [0.01, 0.015]}
    later = {**errors, "n": 13, "intervals": known}
    one = {"coefficients": 12, "determined": True, "holdout": errors, "leave_one_out": later}
    two = {"coefficients": 64, "determined": False, "holdout": None, "leave_one_out": errors}
    file = tmp_path / "results/my-data/seed7/predictor/validation.json"
    write(file, {"left_out": ["d100_w30_r100"], "predictors": {"low_rank": one, "full": two}})
    rows = predictors.predictor_rows([str(file)])
    assert [(r["predictor"], r["judged_on"], r["n"]) for r in rows] == [
        ("full", "leave_one_out", 3),
        ("low_rank", "holdout", 3),
        ("low_rank", "leave_one_out", 13),
    ]
    assert {(r["experiment"], r["seed"]) for r in rows} == {("my-data", 7)}
    assert [r["determined"] for r in rows] == ["by the ridge", "yes", "yes"]
    output = SimpleNamespace(csv=tmp_path / "a.csv", md=tmp_path / "a.md", tex=tmp_path / "a.tex")
    predictors.write_tables(rows, output)
    assert float(read_csv(output.csv)[0]["mae"]) == 0.012345
    assert [row["mae_high"] for row in read_csv(output.csv)] == ["", "", "0.015"]
    assert [row["determined"] for row in read_csv(output.csv)] == ["by the ridge", "yes", "yes"]
    assert "| full | 64 | by the ridge | leave one out |" in output.md.read_text()
    assert "| 3 | 0.0123 | 0.0200 | - | 1.0000 |" in output.md.read_text()


def test_markdown_is_a_table_of_pipes() -> None:
    assert markdown(["a", "b"], [["x", "1"], ["y", "2"]]) == (
        "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |\n"
    )


def test_latex_is_escaped_and_ruled() -> None:
    assert latex(["a_b", "50 %"], [["R&D #1", "$2 ± 1"]]) == (
        "\\begin{tabular}{lr}\n\\toprule\na\\_b & 50 \\% \\\\\n\\midrule\n"
        "R\\&D \\#1 & \\$2 $\\pm$ 1 \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


def test_latex_notes_stand_below_in_small_letters_that_end_with_them() -> None:
    table = latex(["a"], [["x"]])
    noted = latex(["a"], [["x"]], ["± 5 % of a_b & c", "#2 costs $1"])
    assert noted == table + (
        "\\par{\\footnotesize\n$\\pm$ 5 \\% of a\\_b \\& c\\par\n\\#2 costs \\$1\\par\n}\n"
    )


def test_mean_and_spread_are_those_of_a_sample() -> None:
    values = [0.9, 0.92, 0.97]
    mean = sum(values) / 3
    spread = (sum((v - mean) ** 2 for v in values) / 2) ** 0.5
    assert mean_and_spread(values) == pytest.approx((mean, spread))
    assert spread == pytest.approx(statistics.stdev(values))
    assert mean_and_spread([0.5]) == (0.5, None)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [((0.98765,), "98.77"), ((0.5, 0.0123), "50.00 ± 1.23"), ((0.25, None, 1), "25.0")],
)
def test_fractions_are_told_in_percent(arguments: tuple[Any, ...], text: str) -> None:
    assert percent(*arguments) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4_300_000, "4.30 M"),
        (272_474, "272 k"),
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (40_813_184, "40.8 M"),
        (2.5e12, "2.50 T"),
        (999_600_000, "1.00 G"),
        (999_960, "1.00 M"),
    ],
)
def test_counts_have_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert scaled(value) == text


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (1234.5, ".3g", "1234"),
        (999.7, "#.3g", "1000"),
        (999.4, "#.3g", "999"),
        (2.5, "#.3g", "2.50"),
        (2.5, ".3g", "2.5"),
        (0.01234, ".3g", "0.0123"),
        (123.4, ".2g", "123"),
        (99.6, ".2g", "100"),
        (2.0, ".2g", "2"),
    ],
)
def test_large_numbers_are_told_in_plain_digits(value: float, form: str, text: str) -> None:
    assert plain(value, form) == text


def drawn_samples(seed: int, held: int = 2) -> tuple[Samples, Samples]:
    """Return samples on the axes with noise, and held-out ones."""
    rng = np.random.default_rng(seed)
    fit = np.ones((13, 3))
    for axis in range(3):
        fit[1 + 4 * axis : 5 + 4 * axis, axis] = (0.8, 0.6, 0.45, 0.3)
    rest = np.full((held, 3), 0.7)
    fitted, left = (
        Samples(("",) * len(x), x, 0.9 - 0.1 * rng.random(len(x)), np.ones(len(x)))
        for x in (fit, rest)
    )
    return fitted, left


def draw_all(folder: Path, summary: list[dict[str, Any]], held: int) -> list[Path]:
    """Draw every figure and return its files."""
    style = Style((4.0, 3.0), 60)
    pairs = [drawn_samples(seed, held) for seed in (0, 1)]
    runs, kept_back = [run for run, _ in pairs], [rest for _, rest in pairs]
    fitted = [fit_both(run, Settings("low_rank", 2, 1, 1e-3)) for run in runs]
    figures = {
        "dimensions": draw_dimensions(runs, fitted, style),
        "predictions": draw_predictions(runs, kept_back, fitted, style),
        "policies": draw_policies(summary, style),
    }
    files = []
    for name, figure in figures.items():
        output = SimpleNamespace(pdf=folder / f"{name}.pdf", png=folder / f"{name}.png")
        style.save(figure, output)
        files += [output.pdf, output.png]
    return files


@pytest.fixture
def summary(results: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """Return the rows of policies.csv."""
    rows = policies.summarize(compare(results).runs)
    policies.POLICIES.write(tmp_path / "p.csv", rows)
    return policies.POLICIES.read(tmp_path / "p.csv")


def test_figures_are_the_same_bytes_every_time(
    tmp_path: Path, summary: list[dict[str, Any]]
) -> None:
    first = draw_all(tmp_path / "first", summary, held=2)
    second = draw_all(tmp_path / "second", summary, held=2)
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes().startswith(b"%PDF" if one.suffix == ".pdf" else b"\x89PNG")
        assert len(one.read_bytes()) > 3000


def test_figures_can_be_drawn_without_held_out_samples(
    tmp_path: Path, summary: list[dict[str, Any]]
) -> None:
    assert all(file.stat().st_size for file in draw_all(tmp_path, summary, held=0))


def test_the_png_has_the_size_and_resolution_asked(
    tmp_path: Path, summary: list[dict[str, Any]]
) -> None:
    from PIL import Image

    style = Style((5.0, 4.0), 50)
    output = SimpleNamespace(pdf=tmp_path / "a.pdf", png=tmp_path / "a.png")
    style.save(draw_policies(summary, style), output)
    assert Image.open(output.png).size == (250, 200)


def test_policies_are_drawn_at_their_mean_with_their_spread(summary: list[dict[str, Any]]) -> None:
    (panel,) = draw_policies(summary, Style((4, 3), 60)).axes
    drawn = {container.get_label(): container for container in panel.containers}
    assert list(drawn) == ["dense", "dense_longer", "dwr", "depth", "width"]
    line, _, (bars,) = drawn["dwr"].lines
    assert (line.get_xdata()[0], line.get_ydata()[0]) == pytest.approx((49, 90))
    low, high = bars.get_segments()[0][:, 1]
    assert high - low == pytest.approx(2 * 2 * 2**0.5)


def test_a_policy_has_the_same_colour_in_every_figure(summary: list[dict[str, Any]]) -> None:
    rows = [row for row in summary if row["policy"] != "dense_longer"]
    looks = []
    for drawn in (summary, rows, rows[::-1]):
        (panel,) = draw_policies(drawn, Style((4, 3), 60)).axes
        looks.append({c.get_label(): c.lines[0] for c in panel.containers})
    timed = [
        {**row, "macs_ratio": row["macs_ratio_mean"], "speedup": 1 / row["macs_ratio_mean"]}
        for row in rows
    ]
    (panel,) = draw_latencies(timed, Style((4, 3), 60)).axes
    looks.append({line.get_label(): line for line in panel.lines})
    for policy in ("dense", "dwr", "depth", "width"):
        found = {(look[policy].get_color(), look[policy].get_marker()) for look in looks}
        assert len(found) == 1
    every = [(line.get_color(), line.get_marker()) for line in looks[0].values()]
    assert len(set(every)) == len(every) == 5


def test_samples_are_drawn_on_the_axis_along_which_they_lie() -> None:
    runs = [drawn_samples(0)[0]]
    fitted = [fit_both(runs[0], Settings("low_rank", 2, 1, 1e-3))]
    panels = draw_dimensions(runs, fitted, Style((9, 3), 60)).axes
    assert [panel.get_xlabel() for panel in panels] == ["depth", "width", "resolution"]
    for axis, panel in enumerate(panels):
        (line,) = [ln for ln in panel.lines if ln.get_label() == "samples"]
        own = [0, *range(1 + 4 * axis, 5 + 4 * axis)]
        assert line.get_xdata().tolist() == [1, 0.8, 0.6, 0.45, 0.3]
        assert line.get_ydata() == pytest.approx(100 * runs[0].accuracy[own])


def test_a_table_in_the_results_is_what_figures_read(tmp_path: Path, results: Path) -> None:
    run = results / "digits/seed0"
    samples = read_samples(run / "samples.csv")
    held = read_holdout(run / "holdout.csv", samples)
    assert samples.names == ("d100_w100_r100", "d50_w100_r100", "d100_w50_r100")
    assert samples.cost_macs.tolist() == [7_000, 30_000, 10_000]
    assert held.names == ("d80_w80_r100",)


def test_predictions_are_drawn_against_the_measured_accuracy_of_both_kinds() -> None:
    pairs = [drawn_samples(0, held=2), drawn_samples(1, held=0)]
    runs, held = [run for run, _ in pairs], [rest for _, rest in pairs]
    fitted = [fit_both(run, Settings("low_rank", 2, 1, 1e-3)) for run in runs]
    (panel,) = draw_predictions(runs, held, fitted, Style((4, 4), 60)).axes
    drawn = {line.get_label(): line for line in panel.lines}
    for label, parts in (("fitted samples", runs), ("held-out samples", held)):
        predicted = []
        for run, part in zip(runs, parts, strict=True):
            model = LowRankPolynomialRegressor(degree=2, rank=1, alpha=1e-3)
            model.fit(run.ratios, run.accuracy)
            predicted += model.predict(part.ratios).tolist() if len(part.ratios) else []
        measured = [value for part in parts for value in part.accuracy]
        assert drawn[label].get_xdata() == pytest.approx(100 * np.array(measured))
        assert drawn[label].get_ydata() == pytest.approx(100 * np.array(predicted))


def test_samples_that_a_fit_left_out_are_marked_and_do_not_stretch_the_axes() -> None:
    run, held = drawn_samples(0, held=2)
    names = tuple(f"s{i}" for i in range(len(run.accuracy)))
    accuracy = run.accuracy.copy()
    accuracy[[4, 9]] = 0.1, 0.05  # a sample of the depth alone, and one of the resolution
    wrecked = replace(run, names=names, accuracy=accuracy)
    settings = Settings("low_rank", 2, 1, 1e-3, loss="robust")
    fitted = fit_both(wrecked, settings)
    assert fitted["left_out"] == ["s4", "s9"]
    sound = [wrecked.without(fitted["left_out"])], [{**fitted, "left_out": []}]
    model = LowRankPolynomialRegressor(degree=2, rank=1, alpha=1e-3, loss="robust")
    model.fit(wrecked.ratios, wrecked.accuracy)

    (panel,) = draw_predictions([wrecked], [held], [fitted], Style((4, 4), 60)).axes
    (alone,) = draw_predictions(sound[0], [held], sound[1], Style((4, 4), 60)).axes
    drawn = {line.get_label(): line for line in panel.lines}
    crosses = drawn["left out (2 outside)"]
    assert crosses.get_xdata() == pytest.approx([10, 5])
    assert crosses.get_ydata() == pytest.approx(100 * model.predict(run.ratios[[4, 9]]))
    assert crosses.get_marker() == "x" != drawn["fitted samples"].get_marker()
    assert len(drawn["fitted samples"].get_xdata()) == len(names) - 2
    assert panel.get_xlim() == pytest.approx(alone.get_xlim())
    assert "left out" not in {line.get_label() for line in alone.lines}

    panels = draw_dimensions([wrecked], [fitted], Style((9, 3), 60)).axes
    others = draw_dimensions(*sound, Style((9, 3), 60)).axes
    assert panels[0].get_ylim() == pytest.approx(others[0].get_ylim())
    told = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert told == ["fitted", "samples", "left out (2 outside)"]
    for axis, lost in ((0, [10]), (1, []), (2, [5])):
        lines = [line for line in panels[axis].lines if line.get_marker() == "x"]
        assert [value for line in lines for value in line.get_ydata()] == pytest.approx(lost)
        (samples,) = [line for line in panels[axis].lines if line.get_label() == "samples"]
        assert len(samples.get_xdata()) == 5 - len(lost)


def surface_inputs() -> tuple[Samples, dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Return samples, the fit, an optimum of a quarter of the MACs, and two tied networks."""
    run = drawn_samples(0)[0]
    fitted = fit_both(run, Settings("low_rank", 2, 1, 1e-3))
    continuous = {"feasible": True, "depth": 0.7, "width": 0.8}
    optimum = {"budget_macs": 0.25, "kkt": continuous, "depth": 0.6, "width": 0.75}
    tied = [{"depth": 0.6, "width": 0.75}, {"depth": 0.8, "width": 0.6}]
    return run, fitted, optimum, tied


def test_the_surface_shows_samples_ties_and_optimum() -> None:
    run, fitted, optimum, tied = surface_inputs()
    figure = draw_surface(run, fitted, optimum, tied, Style((5, 4), 60))
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["samples"].get_xdata().tolist() == run.ratios[:, 0].tolist()
    assert lines["tied networks"].get_ydata().tolist() == [0.75, 0.6]
    assert (lines["optimum"].get_xdata()[0], lines["optimum"].get_ydata()[0]) == (0.6, 0.75)
    assert lines["continuous optimum"].get_xdata()[0] == 0.7
    assert len(figure.axes) == 2  # a panel and its colour bar


def test_the_surface_is_drawn_without_an_optimum_or_a_budget_of_macs() -> None:
    run, fitted, optimum, _ = surface_inputs()
    missed = {**optimum, "unreachable": "none", "kkt": {"feasible": False}}
    for known in (missed, {**missed, "budget_macs": None}, {**missed, "budget_macs": 1e-6}):
        figure = draw_surface(run, fitted, known, [], Style((5, 4), 60))
        assert [line.get_label() for line in figure.axes[0].lines] == ["samples"]

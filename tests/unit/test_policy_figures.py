"""Figures that compare many policies: looks that can be told apart, and performance profiles."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from prune3d.optimize import registry
from prune3d.report.draws import BEST, POOLED, best_of_draws
from prune3d.report.figures import Style
from prune3d.report.policies import POLICIES
from prune3d.report.policy_figures import (
    KNOWN,
    draw_latencies,
    draw_policies,
    draw_profiles,
    draw_recovery,
    look,
)
from prune3d.report.profiles import gaps_to_the_best
from prune3d.report.ranking import draw_ranking

STYLE = Style((5.0, 4.0), 80)
EVERY = [name for name in KNOWN if name != "dense_longer"]
MANY = EVERY[:20]


def run(experiment: str, budget: str, seed: int, policy: str, top1: float) -> dict[str, Any]:
    names = {"experiment": experiment, "budget": budget, "seed": seed, "policy": policy}
    return {**names, "test_top1": top1}


def random_runs(policies: list[str], seed: int = 0) -> list[dict[str, Any]]:
    """Return runs of two experiments, two budgets and three seeds, some left out."""
    rng = np.random.default_rng(seed)
    rows = [run(e, "", s, "dense", 0.99) for e in ("a", "b") for s in range(3)]
    for experiment in ("a", "b"):
        for budget in ("half", "quarter"):
            for i in range(3):
                for policy in policies:
                    if rng.random() > 0.1:
                        top1 = float(np.round(rng.uniform(0.7, 0.9), 3))
                        rows.append(run(experiment, budget, i, policy, top1))
    return rows


def left_out(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each policy that such runs do not have in a case of theirs."""
    known = {(r["experiment"], r["budget"], r["seed"], r["policy"]) for r in rows if r["budget"]}
    cases, policies = {one[:3] for one in known}, {one[3] for one in known}
    return [
        dict(zip(("experiment", "budget", "seed", "policy"), (*case, policy), strict=True))
        for case in sorted(cases)
        for policy in sorted(policies)
        if (*case, policy) not in known
    ]


def test_looks_of_all_policies_differ_in_grey_as_well() -> None:
    looks = [look(policy) for policy in KNOWN]
    shapes = [(drawn["marker"], drawn.get("fillstyle")) for drawn in looks]
    assert len(set(shapes)) == len(KNOWN) > 20
    assert [look(p)["color"] for p in ("dwr", "depth", "width")] == [
        "#0072B2",
        "#D55E00",
        "#009E73",
    ]
    assert look("dense") == {"label": "dense", "color": "0.3", "marker": "*"}


def test_every_policy_has_a_look_of_its_own_and_no_other_name_has_one() -> None:
    assert set(KNOWN) == {*registry.POLICIES, registry.DENSE_LONGER, POOLED, BEST}


def test_gaps_are_to_the_best_policy_of_the_same_case() -> None:
    rows = random_runs(["dwr", "depth", "width"])
    gaps = gaps_to_the_best(rows, left_out(rows))
    cases = list(
        dict.fromkeys((r["experiment"], r["budget"], r["seed"]) for r in rows if r["budget"])
    )
    assert set(gaps) == {"dwr", "depth", "width"} and len(cases) == 12
    for policy, found in gaps.items():
        assert len(found) == len(cases)
        for case, gap in zip(cases, found, strict=True):
            known = {
                r["policy"]: r["test_top1"]
                for r in rows
                if (r["experiment"], r["budget"], r["seed"]) == case
            }
            expected = max(known.values()) - known[policy] if policy in known else None
            assert gap == expected


@pytest.mark.parametrize("control", [n for n, p in registry.POLICIES.items() if p.is_control])
def test_no_control_is_the_best_that_others_are_behind(control: str) -> None:
    rows = [run("a", "half", 0, p, top1) for p, top1 in (("dwr", 0.8), ("depth", 0.75))]
    alone = gaps_to_the_best(rows)
    for top1, gap in ((0.9, 0.0), (0.7, 0.1)):
        gaps = gaps_to_the_best([*rows, run("a", "half", 0, control, top1)])
        assert gaps == {**alone, control: [pytest.approx(gap)]}
        assert gaps["depth"] == [pytest.approx(0.05)]


def test_random_search_misses_a_budget_that_all_of_its_draws_miss() -> None:
    draws = ("random_point1", "random_point2")
    rows = [run("a", "half", seed, "dwr", 0.9) for seed in range(4)]
    rows += [run("a", "half", 0, policy, 0.8) for policy in (*draws, BEST)]
    rows += [run("a", "half", 2, policy, 0.7) for policy in (draws[0], BEST)]
    out = [
        {"experiment": "a", "budget": "half", "seed": seed, "policy": policy, "reason": "no"}
        # Of the one draw of the last seed there is no best.
        for seed, policy in ((1, draws[0]), (1, draws[1]), (2, draws[1]), (3, draws[0]))
    ]
    gaps = gaps_to_the_best(rows, out)
    assert gaps[BEST] == [pytest.approx(0.1), None, pytest.approx(0.2)]


def test_the_best_of_draws_is_that_which_reached_the_budget() -> None:
    row = {**run("a", "half", 0, "random_point2", 0.8), "selection_top1": 0.7}
    row |= {
        f"{part}_{unit}": 5 for part in ("search", "training") for unit in ("cost_macs", "seconds")
    }
    out = {**run("a", "half", 0, "random_point1", 0.0), "reason": "no"}
    assert best_of_draws([row]) == []
    assert best_of_draws([row], [{**out, "seed": 1}]) == []
    assert best_of_draws([row], [out]) == [{**row, "policy": BEST}]


def test_a_policy_is_not_behind_where_it_was_not_run() -> None:
    rows = random_runs(["dwr", "depth"])
    rows += [run("c", "half", 0, policy, top1) for policy, top1 in (("dwr", 0.8), ("width", 0.9))]
    assert gaps_to_the_best(rows)["width"] == [0.0]
    (panel,) = draw_profiles(rows, STYLE).axes
    (line,) = [line for line in panel.lines if line.get_label() == "width"]
    assert set(line.get_ydata()) == {100}


def test_a_profile_is_the_part_of_cases_within_some_points_of_the_best() -> None:
    rows = random_runs(["dwr", "depth", "width"], seed=1)
    (panel,) = draw_profiles(rows, STYLE, left_out(rows)).axes
    gaps = gaps_to_the_best(rows, left_out(rows))
    for line in panel.lines:
        own = gaps[line.get_label()]
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
            within = [gap is not None and 100 * gap <= x + 1e-6 for gap in own]
            assert y == pytest.approx(100 * np.mean(within))
    at_once = sum(line.get_ydata()[0] for line in panel.lines)
    assert at_once >= 100  # some policy is the best in each case


def test_policies_are_ranked_by_their_mean_over_seeds() -> None:
    rows = random_runs(MANY)
    figure = draw_ranking(rows, STYLE)
    FigureCanvasAgg(figure).draw()
    cases = [(e, b) for e in ("a", "b") for b in ("half", "quarter")]
    for (experiment, budget), panel in zip(cases, figure.axes, strict=True):
        assert panel.get_title() == f"{experiment}, {budget}"
        own = [r for r in rows if (r["experiment"], r["budget"]) == (experiment, budget)]
        means = {
            policy: float(np.mean([r["test_top1"] for r in own if r["policy"] == policy]))
            for policy in {r["policy"] for r in own}
        }
        names = [text.get_text() for text in panel.get_yticklabels()]
        assert set(names) == set(means) and "dense" not in names
        assert all(means[a] >= means[b] - 1e-9 for a, b in pairwise(names))
        drawn = {b.get_label(): b.lines[0].get_xydata()[0] for b in panel.containers}
        for place, name in enumerate(names):
            np.testing.assert_allclose(drawn[name], [100 * means[name], place])
        boxes = [text.get_window_extent() for text in panel.get_yticklabels()]
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_a_budget_that_an_experiment_does_not_have_is_no_panel_of_it() -> None:
    rows = [run("a", "half", 0, "dwr", 0.9), run("b", "third", 0, "dwr", 0.8)]
    titles = [panel.get_title() for panel in draw_ranking(rows, STYLE).axes]
    assert titles == ["a, half", "b, third"]


def test_a_ranking_of_nothing_can_be_drawn() -> None:
    """All policies may have missed their budgets."""
    assert draw_ranking([run("a", "", 0, "dense", 0.9)], STYLE).axes


def test_a_single_policy_is_always_the_best() -> None:
    (panel,) = draw_profiles([run("a", "half", 0, "dwr", 0.9)], STYLE).axes
    (line,) = panel.lines
    assert set(line.get_ydata()) == {100}


def summary(policies: list[str]) -> list[dict[str, Any]]:
    """Return rows of policies.csv at two budgets."""
    rng = np.random.default_rng(0)
    rows = []
    for budget, ratio in ((None, 1.0), ("half", 0.49), ("quarter", 0.245)):
        for policy in policies if budget else ["dense"]:
            row: dict[str, Any] = dict.fromkeys(POLICIES.columns)
            own = {"experiment": "glyphs", "budget": budget, "policy": policy, "seeds": 3}
            top1 = 0.9 - 0.1 * (1 - ratio) - 0.05 * rng.random()
            means = {"test_top1_mean": top1, "test_top1_std": 0.01, "macs_ratio_mean": ratio}
            rows.append({**row, **own, **means})
    return rows


def timed(policies: list[str]) -> list[dict[str, Any]]:
    """Return rows of latency.csv at the same budgets."""
    return [
        {**row, "macs_ratio": row["macs_ratio_mean"], "speedup": 0.9 / row["macs_ratio_mean"]}
        for row in summary(policies)
    ]


@pytest.mark.parametrize("policies", [EVERY, MANY, MANY[:4]], ids=["all", "twenty", "four"])
def test_names_of_policies_overlap_neither_each_other_nor_the_panel(
    policies: list[str],
) -> None:
    runs = random_runs(policies)
    for figure in (
        draw_policies(summary(policies), STYLE),
        draw_latencies(timed(policies), STYLE),
        draw_profiles(runs, STYLE),
    ):
        FigureCanvasAgg(figure).draw()
        legends = [*figure.legends, *(p.get_legend() for p in figure.axes if p.get_legend())]
        (legend,) = legends
        names = list(legend.get_texts())
        assert {text.get_text() for text in names} >= set(policies)
        boxes = [text.get_window_extent().padded(-1) for text in names]
        for i, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:i])
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
        if len(policies) > 6:
            (panel,) = figure.axes
            assert not panel.get_window_extent().overlaps(legend.get_window_extent())
            assert panel.bbox.width > 0.5 * STYLE.size[0] * figure.dpi


def test_latencies_are_explained_once_with_the_line_that_they_are_to_be_seen_by() -> None:
    for policies in (MANY, MANY[:3]):
        figure = draw_latencies(timed(policies), STYLE)
        (legend,) = [*figure.legends, *(p.get_legend() for p in figure.axes if p.get_legend())]
        names = [text.get_text() for text in legend.get_texts()]
        assert sorted(names) == sorted([*policies, "dense", "time as MACs"])


@pytest.mark.parametrize("count", [1, 3, 7])
def test_panels_of_many_budgets_and_policies_keep_their_width(count: int) -> None:
    rows = [
        {"experiment": "a", "budget": f"b{i}", "policy": policy, "epoch": e, "selection_top1": 0.8}
        for i in range(count)
        for policy in EVERY
        for e in (1, 2)
    ]
    figure = draw_recovery(rows, Style((8.0, 4.0), 80))
    FigureCanvasAgg(figure).draw()
    assert [panel.get_title() for panel in figure.axes] == [f"b{i}" for i in range(count)]
    boxes = [panel.get_tightbbox() for panel in figure.axes]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert figure.axes[i].bbox.width > 1.5 * figure.dpi
        assert figure.axes[i].bbox.height > 1.5 * figure.dpi


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [2, 6, 16])
def test_panels_of_many_experiments_do_not_overlap(count: int) -> None:
    rows = [
        {**row, "experiment": f"schedule-one-cycle-{i}"}
        for i in range(count)
        for row in summary(MANY[:5])
    ]
    figure = draw_policies(rows, STYLE)
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == count
    boxes = [panel.get_tightbbox() for panel in figure.axes]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert figure.axes[i].bbox.width > 100

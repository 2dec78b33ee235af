"""Claims on synthetic runs whose verdict is known, the intervals against scipy's tests."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from prune3d.errors import UserError
from prune3d.optimize.registry import METHOD, POLICIES
from prune3d.report.ablation_tables import FITS, SCRATCH
from prune3d.report.claims import (
    VERDICTS,
    Claim,
    by_claim,
    judge,
    judge_all,
    overall,
    overview,
    read_claims,
    readable,
)
from prune3d.report.draws import BEST, best_of_draws
from prune3d.report.measures import MEASURES, Measured, read_measured
from prune3d.report.paired import Effect
from prune3d.report.policies import LEFT_OUT, RUNS

ROOT = Path(__file__).resolve().parents[2]
AXES = ["depth", "width", "resolution"]
ONE_DIMENSION = Claim(
    claim="one_dimension",
    statement="Better than each.",
    measure="test_accuracy",
    than=tuple(AXES),
    expected="above",
    smallest_effect=0.005,
)
HOLDS = Claim(
    claim="holds",
    statement="As predicted.",
    measure="forecast",
    expected="within",
    smallest_effect=0.02,
)


def run(policy: str, seed: int, top1: float, **more: Any) -> dict[str, Any]:
    """Return a row of runs.csv."""
    row = dict.fromkeys(RUNS.columns, 0.5)
    names = {"experiment": "glyphs", "seed": seed, "budget": "quarter", "policy": policy}
    costs = {"macs": 5, "params": 5, "search_cost_macs": 40, "training_cost_macs": 10}
    costs["budget_used"] = 1
    costs["width"] = 0.5 if policy == "dwr" else 0.4
    return {**row, **names, **costs, "test_top1": top1, "selection_top1": top1, **more}


def runs_of(leads: dict[str, list[float]], base: float = 0.8) -> list[dict[str, Any]]:
    """Return runs in which the method leads each rival by so much, in each seed."""
    seeds = range(max(map(len, leads.values())))
    rows = [run("dense", seed, 0.9, budget="", training_cost_macs=100) for seed in seeds]
    rows += [run("dwr", seed, base + 0.01 * seed) for seed in seeds]
    for rival, values in leads.items():
        rows += [run(rival, seed, base + 0.01 * seed - lead) for seed, lead in enumerate(values)]
    return rows


def verdict(claim: Claim, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the only row of a claim's table."""
    (row,) = judge_all([claim], Measured(rows, **more))
    return row


CLEAR = [0.03, 0.032, 0.029, 0.031]
NOISY = [0.03, -0.03, 0.05, -0.04]
SAME = [0.001, -0.001, 0.0005, -0.0005]


@pytest.mark.parametrize(
    ("width", "word", "reason"),
    [
        (CLEAR, "supported", "above 0"),
        ([-x for x in CLEAR], "refuted", "dwr - width: the interval is below 0"),
        (NOISY, "undecided", "dwr - width: no difference found"),
        (SAME, "undecided", "dwr - width: no difference of interest: equal within 0.5 points"),
        (CLEAR[:2], "undecided", "dwr - width: too few seeds: 2 of at least 3"),
    ],
)
def test_every_rival_must_be_beaten(width: list[float], word: str, reason: str) -> None:
    row = verdict(ONE_DIMENSION, runs_of({"depth": CLEAR, "width": width, "resolution": CLEAR}))
    assert row["verdict"] == word
    assert reason in row["reason"]
    assert (row["experiment"], row["budget"]) == ("glyphs", "quarter")
    if row["compared"] == "dwr - width":
        assert row["seeds"] == len(width) and row["effect"] == pytest.approx(np.mean(width))
        ends = stats.ttest_1samp(width, 0).confidence_interval(0.95)
        assert (row["low"], row["high"]) == pytest.approx((ends.low, ends.high))


def test_a_rival_that_was_not_run_leaves_the_claim_unmeasured_unless_another_is_not_beaten() -> (
    None
):
    row = verdict(ONE_DIMENSION, runs_of({"depth": CLEAR, "width": CLEAR}))
    assert row["verdict"] == "not measured" and row["effect"] is None
    assert row["reason"] == "beaten: depth, width; not run: resolution"
    lost = verdict(ONE_DIMENSION, runs_of({"depth": [-x for x in CLEAR]}))
    assert lost["verdict"] == "refuted" and lost["compared"] == "dwr - depth"
    assert lost["reason"] == "dwr - depth: the interval is below 0; not run: width, resolution"
    alike = verdict(ONE_DIMENSION, runs_of({"depth": NOISY, "width": CLEAR, "resolution": NOISY}))
    assert alike["verdict"] == "undecided"
    assert alike["reason"].endswith("; undecided as well: resolution")


POLICIES_OF_FILE = {
    name: [policy for policy in one["policies"] if policy in POLICIES and policy != METHOD]
    for name, one in yaml.safe_load(
        (ROOT / "config/paper/glyphs.yaml").read_text(encoding="utf-8")
    )["experiments"].items()
}


@pytest.mark.parametrize(
    ("width", "word"),
    [(CLEAR, "supported"), (NOISY, "undecided"), ([-x for x in CLEAR], "refuted")],
)
def test_experiments_that_run_a_part_of_the_rivals_stop_no_claim_but_by_one_not_beaten(
    width: list[float], word: str
) -> None:
    """Of config/paper/glyphs.yaml, in which two of three experiments have `width` alone."""
    rows = []
    for name, policies in POLICIES_OF_FILE.items():
        is_whole = set(AXES) <= set(policies)
        leads = dict.fromkeys(policies, CLEAR if is_whole else width)
        rows += [{**row, "experiment": name} for row in runs_of(leads)]
    judged = {row["experiment"]: row for row in judge_all([ONE_DIMENSION], Measured(rows))}
    assert len(judged) == 3 and overall(list(judged.values())) == word
    whole, *parts = judged.values()
    assert whole["verdict"] == "supported"
    for part in parts:
        if word == "supported":
            assert part["verdict"] == "not measured"
            assert part["reason"] == "beaten: width; not run: depth, resolution"
        else:
            assert part["verdict"] == word and part["compared"] == "dwr - width"


def test_every_shipped_claim_on_policies_can_be_supported_by_the_shipped_file() -> None:
    rows = []
    for name, policies in POLICIES_OF_FILE.items():
        # Without trials the method is as good as with them, but for a little.
        own = {"dwr_predicted": [0.001, 0.002, 0.001, 0.002]} if "dwr_predicted" in policies else {}
        runs = runs_of({**dict.fromkeys(policies, CLEAR), **own})
        rows += [{**row, "experiment": name} for row in [*runs, *best_of_draws(runs)]]
    claims = [one for one in read_claims() if one.measure == "test_accuracy"]
    judged = by_claim(judge_all(claims, Measured(rows)))
    assert {name: overall(own) for name, own in judged.items()} == dict.fromkeys(
        [one.claim for one in claims], "supported"
    )


def test_statements_on_policies_speak_of_budgets_of_every_kind() -> None:
    """Claims are judged at budgets in parameters and milliseconds, too."""
    statements = [one.statement for one in read_claims() if one.measure == "test_accuracy"]
    assert statements
    for statement in statements:
        assert "within the same budget" in statement.lower() and "MACs" not in statement


def test_a_claim_whose_rivals_were_not_run_is_not_measured() -> None:
    row = verdict(ONE_DIMENSION, runs_of({"uniform": CLEAR}))
    assert row["verdict"] == "not measured" and row["effect"] is None and row["seeds"] == 0
    assert row["reason"] == "not run: depth, width, resolution"


def test_without_the_method_nothing_is_measured() -> None:
    rows = [row for row in runs_of({"depth": CLEAR}) if row["policy"] != "dwr"]
    assert {row["verdict"] for row in judge_all(read_claims(), Measured(rows))} == {"not measured"}


def test_draws_count_by_their_mean_in_each_seed() -> None:
    drawn = ONE_DIMENSION.model_copy(update={"than": ("random_point*",)})
    leads = {"random_point1": [0.01, 0.02, 0.03], "random_point2": [0.03, 0.05, 0.07]}
    row = verdict(drawn, runs_of({**leads, "random_point_best": [-0.5] * 3}))
    expected = stats.ttest_1samp([0.02, 0.035, 0.05], 0)
    assert row["effect"] == pytest.approx(0.035) and row["compared"] == "dwr - random_point*"
    assert row["low"] == pytest.approx(expected.confidence_interval(0.95).low)


def test_the_best_of_draws_is_no_rival_where_none_of_them_reaches_the_budget() -> None:
    best = ONE_DIMENSION.model_copy(update={"than": (BEST, "greedy")})
    names = {"experiment": "glyphs", "budget": "quarter", "reason": "too small"}
    out = [{**names, "policy": p, "seed": 0} for p in ("random_point1", "random_point2")]
    row = verdict(best, runs_of({"greedy": CLEAR}), left_out=out)
    assert row["verdict"] == "supported"
    assert verdict(best, runs_of({"greedy": CLEAR}))["reason"].endswith(f"not run: {BEST}")


def test_rivals_that_leave_a_part_of_the_budget_are_named() -> None:
    rows = runs_of(dict.fromkeys(AXES, CLEAR))
    for row in rows:
        if row["policy"] in ("depth", "width"):
            row["budget_used"] = {"depth": 0.74, "width": 0.971}[row["policy"]]
    row = verdict(ONE_DIMENSION, rows)
    assert row["verdict"] == "supported"
    assert row["reason"].endswith("; depth used 74.0 % of the budget")


def test_a_claim_has_another_subject_where_that_was_run() -> None:
    claim = next(one for one in read_claims() if one.claim == "two_dimensions")
    assert claim.subject == "dwr_predicted"
    leads = dict.fromkeys(claim.than, CLEAR)
    without = verdict(claim, runs_of(leads))
    assert without["verdict"] == "supported" and without["effect"] == pytest.approx(0.0305)
    assert without["reason"].endswith("dwr in the place of dwr_predicted, which was not run")
    # The method's trials are worth 4 points, more than its lead.
    row = verdict(claim, runs_of({**leads, "dwr_predicted": [0.04] * 4}))
    assert row["verdict"] == "refuted"
    assert row["compared"].startswith("dwr_predicted - ") and "in the place" not in row["reason"]
    assert row["effect"] == pytest.approx(0.0305 - 0.04, abs=1e-3)


NOT_BEHIND = ONE_DIMENSION.model_copy(update={"expected": "not_behind"})


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("mean", [-0.01, -0.002, 0.004])
def test_not_behind_is_judged_by_the_ends_of_the_paired_interval(seed: int, mean: float) -> None:
    values = list(np.random.default_rng(seed).normal(mean, 0.003, 4))
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    expected = "supported" if ends.low > -0.005 else "undecided"
    expected = "refuted" if ends.high < 0 else expected
    # However many rivals there are.
    assert judge(NOT_BEHIND, Effect.of(values), 20).word == expected
    row = verdict(NOT_BEHIND, runs_of({"depth": CLEAR, "width": values}))
    assert row["verdict"] == expected
    assert row["reason"].endswith("not run: resolution")


def test_all_rivals_that_may_be_ahead_are_named() -> None:
    row = verdict(NOT_BEHIND, runs_of({"depth": NOISY, "width": CLEAR, "resolution": NOISY}))
    assert row["verdict"] == "undecided"
    assert "dwr - depth: it may be behind by 0.5 points or more" in row["reason"]
    assert row["reason"].endswith("undecided as well: resolution")
    ahead = [-x for x in CLEAR]
    row = verdict(NOT_BEHIND, runs_of({"depth": ahead, "width": NOISY, "resolution": ahead}))
    assert row["verdict"] == "refuted" and row["reason"].endswith("refuted as well: resolution")


CONTROLS = {"random_channels", "random_blocks", "scratch_epochs", "scratch_budget"}


def test_every_policy_that_is_no_control_is_the_rival_of_some_claim() -> None:
    rivals = {policy for policy in POLICIES if policy not in {METHOD, *CONTROLS}}
    drawn = {policy for policy in rivals if policy.startswith("random_point")}
    named = {**{one: {one} for one in rivals}, "random_point*": drawn, BEST: drawn}
    claims = {one.claim: one.than for one in read_claims() if one.than}
    for name, than in claims.items():
        assert set(than) <= set(named) and len(set(than)) == len(than), name
    assert {policy for rival in claims["not_behind_any"] for policy in named[rival]} == rivals
    others = {rival for name, than in claims.items() for rival in than if name != "not_behind_any"}
    assert {p for r in others for p in named[r]} == rivals - {"dwr_predicted", "dwr_allocated"}


def test_a_rival_that_cannot_reach_the_budget_is_no_rival() -> None:
    names = {"experiment": "glyphs", "budget": "quarter", "policy": "resolution"}
    out = [{**names, "seed": seed, "reason": "too large"} for seed in range(4)]
    rows = runs_of({"depth": CLEAR, "width": CLEAR})
    row = verdict(ONE_DIMENSION, rows, left_out=out)
    assert row["verdict"] == "supported"
    assert row["reason"].endswith("resolution cannot reach the budget")


@pytest.mark.parametrize("seed", range(20))
def test_equality_is_shown_by_two_one_sided_tests(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.01, 0.01, 5)
    found = judge(HOLDS, Effect.of(list(values)))
    above = stats.ttest_1samp(values, -0.02, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 0.02, alternative="less").pvalue
    assert (found.word == "supported") == (max(above, below) < 0.05)


@pytest.mark.parametrize(("off", "word"), [(0.001, "supported"), (0.06, "refuted")])
@pytest.mark.parametrize(
    ("name", "column"), [("prediction_holds", "samples_predicted"), ("forecast_holds", "forecast")]
)
def test_what_was_foretold_is_judged_by_the_final_networks(
    name: str, column: str, off: float, word: str
) -> None:
    claim = next(one for one in read_claims() if one.claim == name)
    seeds = range(4)
    foretold = [
        {
            **{"experiment": "glyphs", "seed": seed, "budget": "quarter"},
            **{"forecast": 0.3, "samples_predicted": 0.3, column: 0.8},
            # Above and below by turns, so that the errors have no mean.
            "selection_top1": 0.8 + (-1) ** seed * (off + 0.001 * (seed // 2)),
        }
        for seed in seeds
    ]
    others = [{**row, "budget": "half", column: 0.1} for row in foretold]
    rows = [run("dwr", seed, 0.8) for seed in seeds]
    row = verdict(claim, rows, forecasts=[*foretold, *others])
    assert row["verdict"] == word and row["seeds"] == 4
    assert row["effect"] == pytest.approx(off + 0.0005)
    assert verdict(claim, rows)["verdict"] == "not measured"


def test_a_difference_beyond_the_smallest_effect_refutes_equality() -> None:
    assert judge(HOLDS, Effect.of([0.05, 0.051, 0.052])).word == "refuted"
    assert judge(HOLDS, Effect.of([-0.05, -0.051, -0.052])).word == "refuted"
    assert judge(HOLDS, Effect.of([0.01, 0.05, -0.05])).word == "undecided"


def test_one_of_many_rivals_refutes_by_a_wider_interval() -> None:
    values = [-0.01, -0.02, -0.003]
    pvalue = stats.ttest_1samp(values, 0).pvalue
    narrow, wide = judge(ONE_DIMENSION, Effect.of(values)), None
    assert (narrow.word == "refuted") == (pvalue < 0.05)
    values = [-0.02, -0.022, -0.013, -0.011]
    rivals = 2
    while stats.ttest_1samp(values, 0).pvalue < 0.05 / rivals:
        assert judge(ONE_DIMENSION, Effect.of(values), rivals).word == "refuted"
        rivals *= 2
    wide = judge(ONE_DIMENSION, Effect.of(values), rivals)
    assert wide.word == "undecided"
    level = 1 - 0.05 / rivals
    ends = stats.ttest_1samp(values, 0).confidence_interval(level)
    told = f"[{100 * ends.low:+.2f}, {100 * ends.high:+.2f}]"
    assert wide.reason == f"below 0, but not by the wider interval of {rivals} {told}"


def test_rivals_that_were_not_run_make_no_interval_wider() -> None:
    behind = [-0.004, -0.006, -0.008]
    assert 0.05 / 2 < stats.ttest_1samp(behind, 0).pvalue < 0.05
    assert verdict(ONE_DIMENSION, runs_of({"width": behind}))["verdict"] == "refuted"
    both = verdict(ONE_DIMENSION, runs_of({"width": behind, "depth": CLEAR[:3]}))
    assert both["verdict"] == "undecided" and "wider interval of 2" in both["reason"]


def left_out(policy: str, seeds: int, budget: str = "quarter") -> list[dict[str, Any]]:
    """Return rows of left_out.csv."""
    names = {"experiment": "glyphs", "budget": budget, "policy": policy, "reason": "too small"}
    return [{**names, "seed": seed} for seed in range(seeds)]


@pytest.mark.parametrize("expected", ["above", "not_behind"])
def test_a_budget_that_the_method_cannot_reach_and_a_rival_can_is_no_claim_of_the_methods(
    expected: str,
) -> None:
    claim = ONE_DIMENSION.model_copy(update={"expected": expected})
    rows = [row for row in runs_of(dict.fromkeys(AXES, CLEAR)) if row["policy"] != "dwr"]
    row = verdict(claim, rows, left_out=left_out("dwr", 4))
    assert row["verdict"] == "undecided" and row["effect"] is None
    assert row["reason"].startswith("dwr - depth: dwr cannot reach the budget")
    # Nobody reaches it.
    nobody = [one for policy in ("dwr", *AXES) for one in left_out(policy, 4)]
    row = verdict(claim, rows[:4], left_out=nobody)
    assert row["verdict"] == "not measured"


def test_without_trials_the_method_takes_no_place_where_it_cannot_reach_the_budget() -> None:
    claim = next(one for one in read_claims() if one.claim == "two_dimensions")
    rows = [r for r in runs_of(dict.fromkeys(claim.than, CLEAR)) if r["policy"] != "dwr"]
    out = [*left_out("dwr", 4), *left_out("dwr_predicted", 4)]
    row = verdict(claim, rows, left_out=out)
    assert row["verdict"] == "undecided"
    assert "dwr_predicted cannot reach the budget" in row["reason"]


def test_a_rival_that_reaches_the_budget_in_some_seeds_is_told() -> None:
    rows = runs_of({**dict.fromkeys(AXES, CLEAR), "width": CLEAR[:3]})
    out = [{**one, "seed": 3} for one in left_out("width", 1)]
    row = verdict(ONE_DIMENSION, rows, left_out=out)
    assert row["verdict"] == "supported"
    assert row["reason"].endswith("; width cannot reach the budget in 1 of 4 seeds")


def test_the_method_is_not_behind_a_policy_that_prunes_to_the_same_network() -> None:
    ahead = [-x for x in CLEAR]
    for policy, word in (("dwr_predicted", "supported"), ("dwr_allocated", "refuted")):
        claim = NOT_BEHIND.model_copy(update={"than": (policy,)})
        rows = [{**row, "width": 0.5} for row in runs_of({policy: ahead})]
        row = verdict(claim, rows)
        assert row["verdict"] == word
        assert ("the same network in all seeds" in row["reason"]) == (word == "supported")
        # In one seed another one.
        assert verdict(claim, [*rows[:-1], {**rows[-1], "width": 0.6}])["verdict"] == "refuted"


def test_seeds_that_all_differ_by_the_same_decide_nothing() -> None:
    row = verdict(ONE_DIMENSION, runs_of(dict.fromkeys(AXES, [0.03] * 4)))
    assert row["verdict"] == "undecided" and "spread is unknown" in row["reason"]


@pytest.mark.parametrize(
    ("searches", "word"), [((40, 50, 45), "supported"), ((140, 150, 145), "refuted")]
)
def test_the_cost_of_the_search_is_a_part_of_the_dense_training(
    searches: tuple[int, ...], word: str
) -> None:
    rows = runs_of({"depth": CLEAR[:3]})
    for row in rows:
        if row["policy"] == "dwr":
            row["search_cost_macs"] = searches[row["seed"]]
    cheap = next(one for one in read_claims() if one.claim == "cheap_search")
    row = verdict(cheap, rows)
    assert row["verdict"] == word
    assert row["effect"] == pytest.approx(1 - np.mean(searches) / 100)


@pytest.mark.parametrize(("search", "word"), [(90, "supported"), (101, "refuted")])
def test_costs_that_are_the_same_in_all_seeds_are_judged_since_they_are_counts(
    search: int, word: str
) -> None:
    rows = runs_of({"depth": CLEAR[:3]})
    for row in rows:
        if row["policy"] == "dwr":
            row["search_cost_macs"] = search
    cheap = next(one for one in read_claims() if one.claim == "cheap_search")
    row = verdict(cheap, rows)
    assert row["verdict"] == word and row["low"] is None
    few = [row for row in rows if row["seed"] < 2]
    assert verdict(cheap, few)["verdict"] == "undecided"


def fit(
    setting: str, seed: int, samples: int, error: float, held: float | None = None
) -> dict[str, Any]:
    known = {"coefficients": 12, "cost_macs": 10.0, "rest_rmse": error, "holdout_rmse": held}
    return {"setting": setting, "seed": seed, "samples": samples, **known}


def scratch(seed: int, pruned: float, fresh: float) -> dict[str, Any]:
    ratios = dict.fromkeys(AXES, 0.5)
    costs = {"pruned_cost_macs": 20, "scratch_cost_macs": 100}
    spent = {"pruned_seconds": 1.0, "scratch_seconds": 2.0}
    return {
        "seed": seed,
        **ratios,
        "pruned_accuracy": pruned,
        "scratch_accuracy": fresh,
        **costs,
        **spent,
    }


@pytest.mark.parametrize("is_held_out", [False, True])
@pytest.mark.parametrize("lead", [0.01, -0.01])
def test_the_predictors_are_compared_at_each_number_of_samples(
    lead: float, is_held_out: bool
) -> None:
    rows = []
    for seed in range(3):
        for samples in (6, 10, 15):
            for draw in (0.001, 0.002):
                low = 0.03 + draw
                errors = low, low + lead + 0.001 * seed
                for kind, error in zip(("low_rank", "full"), errors, strict=True):
                    # Held-out networks tell, whatever the samples that were left out say.
                    other = (0.5 - error, error) if is_held_out else (error, None)
                    rows.append(fit(kind, seed, samples, *other))
    few = next(one for one in read_claims() if one.claim == "few_samples")
    row = verdict(few, runs_of({"depth": CLEAR}), fits={"glyphs": rows})
    assert row["verdict"] == ("supported" if lead > 0 else "refuted")
    assert row["effect"] == pytest.approx(lead + 0.001)
    judged = "held-out networks" if is_held_out else "samples left out, none being held out"
    assert f"; on {judged}; " in row["reason"]


def test_the_numbers_of_samples_that_are_as_good_as_all_for_the_other_are_told() -> None:
    errors = {"low_rank": {6: 0.06, 10: 0.04, 15: 0.03}, "full": {6: 0.2, 10: 0.1, 15: 0.045}}
    rows = [
        # Draws on both sides of the mean.
        fit(kind, seed, samples, 0.9, error + off)
        for kind, sizes in errors.items()
        for samples, error in sizes.items()
        for seed in range(3)
        for off in (0.01 * (1 + seed), -0.01 * (1 + seed))
    ]
    few = next(one for one in read_claims() if one.claim == "few_samples")
    reason = verdict(few, runs_of({"depth": CLEAR}), fits={"glyphs": rows})["reason"]
    assert "low rank with 10 samples errs no more than full with all 15" in reason
    assert "full with any number of samples errs more than low rank with all 15" in reason


@pytest.mark.parametrize(("noise", "word"), [(0.002, "supported"), (1.0, "refuted")])
def test_ranks_of_samples_are_compared_with_training_from_scratch(noise: float, word: str) -> None:
    rng = np.random.default_rng(1)
    rows, ranks = [], []
    for seed in range(4):
        fresh = rng.uniform(0.5, 0.9, 12)
        pruned = np.clip(fresh + noise * rng.standard_normal(12), 0, 1)
        rows += [scratch(seed, p, f) for p, f in zip(pruned, fresh, strict=True)]
        ranks.append(stats.spearmanr(pruned, fresh).statistic)
    iterative = next(one for one in read_claims() if one.claim == "iterative_samples")
    row = verdict(iterative, runs_of({"depth": CLEAR}), scratch={"glyphs": rows})
    assert row["effect"] == pytest.approx(np.mean(ranks) - 0.8)
    assert row["verdict"] == word and row["reason"].endswith("at 20 % of the cost")


def test_ranks_that_agree_perfectly_in_all_seeds_are_the_most_that_there_can_be() -> None:
    rows = [scratch(seed, 0.1 * i, 0.1 * i) for seed in range(3) for i in range(4)]
    iterative = next(one for one in read_claims() if one.claim == "iterative_samples")
    row = verdict(iterative, runs_of({"depth": CLEAR}), scratch={"glyphs": rows})
    assert row["verdict"] == "supported" and row["effect"] == pytest.approx(0.2)
    two = [row for row in rows if row["seed"] < 2]
    few = verdict(iterative, runs_of({"depth": CLEAR}), scratch={"glyphs": two})
    assert few["verdict"] == "undecided"


def test_a_claim_is_refuted_if_it_is_anywhere_and_supported_if_everywhere_measured() -> None:
    def rows(*words: str) -> list[dict[str, Any]]:
        return [{"verdict": word} for word in words]

    assert overall(rows("supported", "not measured", "supported")) == "supported"
    assert overall(rows("supported", "undecided")) == "undecided"
    assert overall(rows("supported", "undecided", "refuted")) == "refuted"
    assert overall(rows("not measured")) == "not measured"


def test_every_measure_is_of_a_shipped_claim() -> None:
    assert {one.measure for one in read_claims()} == set(MEASURES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "- {claim: a, statement: b, measure: speed, expected: above, smallest_effect: 0}",
            "[0].measure",
        ),
        (
            "- {claim: a, statement: b, measure: test_accuracy, expected: above, "
            "smallest_effect: 0}",
            "rivals",
        ),
        ("- {claim: a", "no YAML file"),
        ("claims: 3", "is wrong: should be a valid list"),
    ],
)
def test_a_file_of_claims_that_is_wrong_is_told_in_a_sentence(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"claims\.yaml") as refused:
        read_claims(path)
    assert told in str(refused.value) and "\n" not in str(refused.value)
    assert "delete it" not in str(refused.value)  # which nothing makes anew


def test_the_written_table_has_a_row_for_each_claim_and_case(tmp_path: Path) -> None:
    rows = runs_of(dict.fromkeys(AXES, CLEAR))
    paths = {"runs": tmp_path / "runs.csv", "left_out": tmp_path / "left_out.csv"}
    RUNS.write(paths["runs"], rows)
    LEFT_OUT.write(paths["left_out"], [])
    samples, pairs = (
        tmp_path / "glyphs_ablation_samples_runs.csv",
        tmp_path / "glyphs_ablation_scratch.csv",
    )
    FITS.write(samples, [fit("full", 0, 6, 0.1), fit("low_rank", 0, 6, 0.05)])
    SCRATCH.write(pairs, [scratch(0, 0.1 * i, 0.1 * i) for i in range(4)])
    files = SimpleNamespace(**paths, forecasts=[], samples=[str(samples)], scratch=[str(pairs)])
    claims = read_claims()
    judged = judge_all(claims, read_measured(files))
    VERDICTS.write(tmp_path / "claims.csv", judged)
    with (tmp_path / "claims.csv").open() as stream:
        written = {row["claim"]: row for row in csv.DictReader(stream)}
    assert list(written) == [one.claim for one in claims]
    assert written["one_dimension"]["verdict"] == "supported"
    assert written["few_samples"]["reason"].startswith("too few seeds: 1 of at least 3; on ")
    assert written["two_dimensions"]["verdict"] == "not measured"
    text = readable(claims, VERDICTS.read(tmp_path / "claims.csv"))
    assert "| one_dimension | glyphs | quarter | dwr - depth | +3.05 | [" in text
    assert "one_dimension: supported (supported in 1 of 1)" in overview(judged)

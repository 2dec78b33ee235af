"""Claims on synthetic runs whose verdict is known, the intervals against scipy's tests."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from prune3d.errors import UserError
from prune3d.report.ablation_tables import FITS, SCRATCH
from prune3d.report.claims import (
    VERDICTS,
    Claim,
    judge,
    judge_all,
    overall,
    overview,
    read_claims,
    readable,
)
from prune3d.report.measures import MEASURES, Measured, read_measured
from prune3d.report.paired import Effect
from prune3d.report.policies import LEFT_OUT, RUNS

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


def test_a_rival_that_was_not_run_leaves_the_claim_undecided_and_is_named() -> None:
    row = verdict(ONE_DIMENSION, runs_of({"depth": CLEAR, "width": CLEAR}))
    assert row["verdict"] == "undecided" and row["reason"] == "not run: resolution"
    lost = verdict(ONE_DIMENSION, runs_of({"depth": [-x for x in CLEAR]}))
    assert lost["verdict"] == "refuted"


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
def test_what_was_foretold_is_judged_by_the_final_networks(off: float, word: str) -> None:
    seeds = range(4)
    foretold = [
        {
            **{"experiment": "glyphs", "seed": seed, "budget": "quarter"},
            **{"forecast": 0.8, "selection_top1": 0.8 + off + 0.001 * (seed % 2)},
        }
        for seed in seeds
    ]
    others = [{**row, "budget": "half", "forecast": 0.1} for row in foretold]
    rows = [run("dwr", seed, 0.8) for seed in seeds]
    row = verdict(HOLDS, rows, forecasts=[*foretold, *others])
    assert row["verdict"] == word and row["seeds"] == 4
    assert row["effect"] == pytest.approx(off + 0.0005)
    assert verdict(HOLDS, rows)["verdict"] == "not measured"


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


def fit(setting: str, seed: int, samples: int, error: float) -> dict[str, Any]:
    known = {"coefficients": 12, "cost_macs": 10.0, "rest_rmse": error}
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


@pytest.mark.parametrize("lead", [0.01, -0.01])
def test_the_predictors_are_compared_at_each_number_of_samples(lead: float) -> None:
    rows = []
    for seed in range(3):
        for samples in (6, 10, 15):
            for draw in (0.001, 0.002):
                rows.append(fit("low_rank", seed, samples, 0.03 + draw))
                rows.append(fit("full", seed, samples, 0.03 + draw + lead + 0.001 * seed))
    few = next(one for one in read_claims() if one.claim == "few_samples")
    row = verdict(few, runs_of({"depth": CLEAR}), fits={"glyphs": rows})
    assert row["verdict"] == ("supported" if lead > 0 else "refuted")
    assert row["effect"] == pytest.approx(lead + 0.001)


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


def test_a_claim_is_refuted_if_it_is_anywhere_and_supported_if_everywhere_measured() -> None:
    def rows(*words: str) -> list[dict[str, Any]]:
        return [{"verdict": word} for word in words]

    assert overall(rows("supported", "not measured", "supported")) == "supported"
    assert overall(rows("supported", "undecided")) == "undecided"
    assert overall(rows("supported", "undecided", "refuted")) == "refuted"
    assert overall(rows("not measured")) == "not measured"


def test_the_shipped_claims_are_those_that_the_method_makes() -> None:
    claims = read_claims()
    assert {one.measure for one in claims} == set(MEASURES)
    against = {rival for one in claims for rival in one.than}
    assert against >= {*AXES, "depth_width", "depth_resolution", "width_resolution", "uniform"}


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
    assert written["few_samples"]["reason"] == "too few seeds: 1 of at least 3"
    assert written["two_dimensions"]["verdict"] == "not measured"
    text = readable(claims, VERDICTS.read(tmp_path / "claims.csv"))
    assert "| one_dimension | glyphs | quarter | dwr - depth | +3.05 | [" in text
    assert "one_dimension: supported (supported in 1 of 1)" in overview(judged)

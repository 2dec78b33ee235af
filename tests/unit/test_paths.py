"""Paths of results say which run they are of, whatever the folders above and names are called."""

from __future__ import annotations

import re

import pytest

from prune3d.workflow import paths
from prune3d.workflow.paths import Final, Run, final_of, job_of, log_of, run_of

RUNS = [Run("digits", 0), Run("budgets", 3), Run("seed1", 12), Run("a", 0, "/x/b/seed7/dense")]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.folder)
@pytest.mark.parametrize("budget", ["macs25", "seed3", "b.5", "dense"])
def test_what_is_made_of_names_gives_the_names_back(run: Run, budget: str) -> None:
    point = "d100_w62.5_r50"
    files = [run.dense("metrics.json"), run.sample(point, "model.safetensors"), run.samples]
    files += [run.scratch(point, "metrics.json"), run.budget(budget, "optimum.json")]
    files += [run.final(budget, "dwr", "metrics.json")]
    assert {run_of(path) for path in files} == {run}
    assert final_of(files[-1]) == Final(run, budget, "dwr")


@pytest.mark.parametrize("path", ["results/tables/runs.csv", "seed0/dense/x", "metrics.json", ""])
def test_what_is_no_file_of_a_run_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no file of a run"):
        run_of(path)


def test_what_is_no_file_of_a_final_network_is_refused() -> None:
    for path in (RUNS[0].budget("a", "optimum.json"), RUNS[0].dense("metrics.json")):
        with pytest.raises(ValueError, match="is no file of a final network"):
            final_of(path)


def test_the_patterns_of_rules_give_the_files_of_a_run() -> None:
    run, names = Run("digits", 1), {"budget": "half", "policy": "dwr", "point": "d50_w50_r50"}
    names |= {"round": "first", "place": "3", "step": "2"}
    wildcards = {"experiment": "digits", "seed": 1, **names}
    assert paths.RUN.format(**wildcards) == run.folder
    assert f"{paths.DENSE}/a".format(**wildcards) == run.dense("a")
    assert f"{paths.SAMPLE}/a".format(**wildcards) == run.sample(names["point"], "a")
    assert f"{paths.SCRATCH}/a".format(**wildcards) == run.scratch(names["point"], "a")
    assert f"{paths.BUDGET}/a".format(**wildcards) == run.budget("half", "a")
    assert f"{paths.FINAL}/a".format(**wildcards) == run.final("half", "dwr", "a")
    assert f"{paths.TRIAL}/a".format(**wildcards) == run.trial("half", "first", 3, "a")
    assert f"{paths.STEP}/a".format(**wildcards) == run.step("half", "dwr", 2, "a")
    made = f"{paths.BENCHMARKS}/prune_final/{{budget}}_{{policy}}.tsv".format(**wildcards)
    assert made == run.benchmark("prune_final", "half", "dwr")
    for name, pattern in paths.CONSTRAINTS.items():
        assert re.fullmatch(pattern, str(wildcards[name]))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tabulate_policies", ("tabulate_policies", "")),
        ("digits/plot_dimensions", ("plot_dimensions", "digits")),
        ("digits/ablate_predictor/rank", ("ablate_predictor", "digits/rank")),
        ("digits/seed0/train_dense", ("train_dense", "digits/seed0")),
        ("seed1/seed0/prune_sample/d50_w50_r50", ("prune_sample", "seed1/seed0/d50_w50_r50")),
        ("digits/seed3/find_optimum/b.5", ("find_optimum", "digits/seed3/b.5")),
    ],
)
@pytest.mark.parametrize("root", ["results", "/x/logs/benchmarks/results"])
def test_the_rule_and_the_job_are_read_from_a_path(
    root: str, path: str, expected: tuple[str, str]
) -> None:
    assert job_of(f"{root}/benchmarks/{path}.tsv", ".tsv") == expected
    assert log_of(f"{root}/benchmarks/{path}.tsv").as_posix() == f"{root}/logs/{path}.log"

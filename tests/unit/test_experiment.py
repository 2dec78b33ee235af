"""What rules ask of an experiment, without Snakemake."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from prune3d.costs.prunable import Prunable
from prune3d.errors import UserError
from prune3d.models.registry import facts
from prune3d.optimize.registry import POLICIES
from prune3d.pruning.latency import CHECKED, DEPTHS, SIDES, WIDTHS
from prune3d.pruning.rounding import BUDGETS, MULTIPLES
from prune3d.sampling.tree import AXES
from prune3d.workflow.config import load_experiments, overlay
from prune3d.workflow.experiment import Experiment
from prune3d.workflow.plan import Plan
from prune3d.workflow.question import Question
from prune3d.workflow.resources import TIMED
from prune3d.workflow.sampling import ratios_in

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "tests/unit/own"


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "config" / name).read_text())
    return content


LEVELS: dict[str, Any] = {
    "depth": [0.8, 0.6, 0.4, 0.2],
    "width": [0.8, 0.6, 0.45, 0.3],
    "resolution": [0.875, 0.75, 0.625, 0.5],
    "holdout": [[0.8, 0.8, 0.75], [0.6, 0.6, 0.875], [0.4, 0.8, 0.75]],
}


def made(change: dict[str, Any] | None = None) -> Experiment:
    """Return an experiment of the shipped defaults with known levels, some of them changed."""
    default = overlay(read("config.yaml"), {"defaults": {"sampling": LEVELS}})
    config = overlay(default, {"experiments": None, "defaults": change or {}})
    config["experiments"] = {"digits": None}
    checked = load_experiments(config, read("schema.yaml"))["digits"]
    return Experiment("digits", checked, (0, 1))


def test_a_training_depends_on_keys_with_an_effect_alone() -> None:
    settings = made().training("finetune")
    assert settings["epochs"] == 4 and settings["learning_rate"] == 0.1
    assert settings["precision"] == "auto"
    idle = {"decay_at": [0.3], "decay_factor": 0.2, "temperature": 2.0}
    assert made({"finetune": idle}).training("finetune") == settings
    assert made({"finetune": {"schedule": "step", **idle}}).training("finetune") != settings
    # Nor on another section, but where it rewinds.
    assert made({"dense": {"epochs": 31}}).training("finetune") == settings
    rewound = {"finetune": {"schedule": "rewind"}}
    before = made(rewound).training("finetune")
    assert before["original_epochs"] == 25
    assert made({**rewound, "dense": {"epochs": 31}}).training("finetune") != before
    other = {"finetune": {"schedule": "rewind", "learning_rate": 0.3}}
    assert made(other).training("finetune") == before


def test_sparsity_matters_where_something_is_penalized() -> None:
    settings = made().dense_training()
    assert settings["model"] == "resnet32"
    idle = {"model": {"sparsity": {"strength": 0.5, "fraction": 0.5}}}
    assert made(idle).dense_training() == settings
    idle["model"]["sparsity"]["penalty"] = "group_lasso"
    assert made(idle).dense_training()["strength"] == 0.5


def test_weights_from_a_file_replace_the_training(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.touch()
    given = {"model": {"checkpoint": str(weights)}}
    assert made().checkpoint() == [] and made(given).checkpoint() == [str(weights)]
    assert made(given).dense_training() == made({**given, "dense": {"epochs": 3}}).dense_training()


def test_a_sample_depends_on_the_criteria_of_its_own_dimensions() -> None:
    one = made()
    depth, width = one.pruning("d80_w100_r100"), one.pruning("d100_w80_r100")
    assert (depth["depth"], depth["width"], depth["channel_criterion"]) == (0.8, None, None)
    assert (width["depth"], width["width"], width["block_criterion"]) == (None, 0.8, None)
    other = made({"pruning": {"channel_criterion": "l1"}})
    assert other.pruning("d80_w100_r100") == depth
    assert other.pruning("d100_w80_r100") != width


def test_a_sample_is_pruned_from_its_parent() -> None:
    one = made()
    assert one.parent("1", "d80_w100_r100") == "results/digits/seed1/dense/model.safetensors"
    chained = one.parent("1", "d60_w100_r100")
    assert chained == "results/digits/seed1/samples/d80_w100_r100/model.safetensors"


def test_a_final_network_is_pruned_from_the_step_before() -> None:
    folder = "results/digits/seed1/budgets/half/width"
    dense = "results/digits/seed1/dense/model.safetensors"
    one, three = made(), made({"pruning": {"steps": 3}})
    assert one.origin("1", "half", "width") == three.origin("1", "half", "width", "1") == dense
    assert three.origin("1", "half", "width", "2") == f"{folder}/steps/1/model.safetensors"
    assert three.origin("1", "half", "width") == f"{folder}/steps/2/model.safetensors"
    assert one.origin_provenance("1", "half", "width") == []
    before = f"{folder}/steps/2/provenance.json"
    assert three.origin_provenance("1", "half", "width") == before
    # Random weights are pruned once, and trials are no finals.
    assert three.origin("1", "half", "scratch_budget") == dense
    assert three.trial() == one.trial()


def test_the_dense_network_teaches_where_a_recipe_distils_it() -> None:
    assert made().teacher("final", "0") == []
    distilling = made({"final": {"distillation": 0.5}})
    assert distilling.teacher("final", "0") == "results/digits/seed0/dense/model.safetensors"
    assert distilling.teacher("finetune", "0") == []


def test_budgets_and_what_they_need() -> None:
    budgets = [{"name": "a", "macs": 0.5}, {"name": "b", "params": 2000, "latency_ms": 3.0}]
    one = made({"budgets": budgets})
    assert one.budget("b") == budgets[1]
    limits = {"macs": None, "params": 2000, "latency": None, "latency_ms": 3.0}
    assert one.limits("b") == limits
    assert one.latencies("0", "a") == []
    assert one.latencies("0", "b", "width") == "results/digits/seed0/dense/latency.csv"
    # Only the method has a preference.
    prefers = made({"budgets": budgets, "optimum": {"prefer": "latency"}})
    assert prefers.latencies("0", "a") and not prefers.latencies("0", "a", "width")


def test_a_multiple_that_is_measured_is_an_input_of_what_prunes_channels_to_a_budget() -> None:
    one = made({"pruning": {"round_to": "auto"}})
    assert one.rounding() == one.rounding("width") == "results/digits/rounding.json"
    assert one.rounding("depth") == one.rounding("resolution") == made().rounding() == []
    # Samples are the same whatever is measured.
    fine = made({"pruning": {"round_to": 1}})
    assert one.pruning("d100_w30_r100") == fine.pruning("d100_w30_r100")
    assert one.rival("macs25", "width")["round_to"] == one.optimum("macs25")["round_to"] == "auto"
    assert one.rival("macs25", "depth")["round_to"] == 1


def test_rivals_foretell_latencies_as_they_were_measured() -> None:
    budgets = [{"name": "work", "macs": 0.5}, {"name": "time", "latency": 0.5}]
    one = made({"budgets": budgets, "pruning": {"round_to": "auto", "keep": ["conv1"]}})
    dense, seed = "results/digits/seed0/dense", "0"
    for policy in ("width", "depth", "resolution", "width_resolution", "uniform", "random_blocks"):
        assert one.rival("time", policy)["round_to"] == one.latency()["round_to"] == "auto"
        assert one.target_rounding("time", policy) == one.rounding()
        assert one.target_blocks(seed, "time", policy) == f"{dense}/blocks.json"
        assert one.target_structure(seed, "time", policy) == f"{dense}/structure_kept.json"
        assert one.target_structure(seed, "work", policy) == one.structure(seed, policy)
        assert one.target_blocks(seed, "work", policy) == one.removal_order(seed, policy)
        assert one.target_rounding("work", policy) == one.rounding(policy)


def test_rivals_depend_on_the_steps_of_their_own_dimension() -> None:
    one, name = made(), "macs25"
    steps = [one.rival(name, p)[s] for p in ("width", "resolution") for s in STEPS]
    # Off is a value: the full width alone, every side.
    assert steps == [0.001, 1, 1.0, 1]
    coarse = made({"lattice": {"width_step": 0.05, "side_step": 4}, "pruning": {"round_to": 8}})
    assert coarse.rival(name, "depth") == one.rival(name, "depth")
    assert coarse.rival(name, "resolution")["side_step"] == 4
    assert one.target("0", name, "dwr").endswith("budgets/macs25/optimum.json")
    assert one.target("0", name, "width").endswith("budgets/macs25/width/target.json")
    assert one.removal_order("0", "depth") and not one.removal_order("0", "width")


def test_policies_wait_for_what_they_use_of_the_search_and_for_nothing_else() -> None:
    sparse = {"sparsity": {"penalty": "batchnorm_l1"}}
    policies = [p for p, known in POLICIES.items() if known.penalty in (None, "batchnorm_l1")]
    one, name = made({"policies": policies, "model": sparse}), "macs25"
    run = "results/digits/seed0"
    for policy in policies:
        own = one.target("0", name, policy).endswith(f"/{policy}/target.json")
        assert own == bool(POLICIES[policy].find)
        files = [
            *([] if not own else one.used_samples("0", policy) and [one.used_samples("0", policy)]),
            *([] if not own else one.used_predictor("0", policy) and ["predictor"]),
            *([] if not own else one.used_optimum("0", name, policy) and ["optimum"]),
        ]
        expected = {
            "dwr_predicted": [f"{run}/samples.csv", "predictor"],
            "depth_width": [f"{run}/samples.csv", "predictor"],
            "depth_resolution": [f"{run}/samples.csv", "predictor"],
            "width_resolution": [f"{run}/samples.csv", "predictor"],
            "tinynet_fitted": [f"{run}/samples.csv", "predictor"],
            "greedy": [f"{run}/samples.csv", "predictor"],
            "random_blocks": ["optimum"],
        }
        assert files == expected.get(policy, []), policy
    assert one.target("0", name, "scratch_budget") == f"{run}/budgets/{name}/optimum.json"
    # Blocks that go in a random order need no ranking.
    assert one.removal_order("0", "random_blocks") == []
    assert one.removal_order("0", "random_channels") == f"{run}/dense/blocks.json"
    # Without trials the networks are those that the method itself searches.
    searched, own = one.search(), one.rival(name, "dwr_predicted")
    for key in ("width_step", "side_step", "round_to"):
        assert own[key] == searched[key]
    # Draws alone depend on what is sampled.
    assert one.rival(name, "random_point2")["lowest"] == pytest.approx([0.2, 0.3, 0.5], abs=0.2)
    assert one.rival(name, "uniform")["lowest"] is None


def test_training_from_scratch_follows_the_recipe_of_the_dense_network() -> None:
    one = made({"dense": {"learning_rate": 0.33}, "final": {"epochs": 7, "distillation": 0.5}})
    settings = one.final_training("scratch_budget")
    assert (settings["scratch"], settings["more_epochs"]) == ("budget", 7)
    assert settings["learning_rate"] == 0.33 and settings["epochs"] == 25
    assert one.final_teacher("0", "scratch_epochs") == []
    fine_tuned = ["results/digits/seed0/budgets/half/dwr/model.safetensors"]
    assert one.finetuned("0", "half", "scratch_budget") == fine_tuned
    assert one.finetuned("0", "half", "scratch_epochs") == one.finetuned("0", "half", "dwr") == []
    assert one.final_teacher("0", "dwr") == "results/digits/seed0/dense/model.safetensors"
    fine = one.final_training("width")
    assert (fine["scratch"], fine["more_epochs"], fine["epochs"]) == (None, None, 7)
    assert one.final_minutes("scratch_epochs", 1) >= one.final_minutes("width", 1)
    assert one.final_pruning("random_channels")["channel_criterion"] == "random"
    assert one.final_pruning("dwr")["scratch"] is None


def test_training_from_scratch_has_its_recipe_where_the_dense_network_is_given(
    tmp_path: Path,
) -> None:
    (tmp_path / "weights.safetensors").touch()
    given = made({"model": {"checkpoint": str(tmp_path / "weights.safetensors")}})
    assert given.training("dense") == made().training("dense")
    assert given.final_training("scratch_epochs")["epochs"] == 25


STEPS = ("width_step", "side_step")


def test_trials_of_the_second_round_come_after_those_of_the_first() -> None:
    one = made({"rerank": {"candidates": 1, "keep": 2}})
    first, second = (one.trials(name, "0", "macs25") for name in ("first", "second"))
    assert first[0] == "results/digits/seed0/budgets/macs25/trials/first1/metrics.json"
    assert (len(first), len(second)) == (4, 2)
    assert one.trials_before("0", "macs25", "second") == first
    assert one.trials_before("0", "macs25", "first") == []
    assert one.trial()["part"] == 0.2 and one.trial()["epochs"] == 16
    assert made({"rerank": {"candidates": 0}}).trials("second", "0", "macs25") == []


def test_files_of_samples_are_those_of_the_tree() -> None:
    one = made()
    assert len(one.files("fit", "0")) == 13 and len(one.files("holdout", "0")) == 3
    assert one.files("fit", "1")[:2] == [
        "results/digits/seed1/samples/d100_w100_r100/metrics.json",
        "results/digits/seed1/samples/d80_w100_r100/metrics.json",
    ]
    assert len(one.fitted("scratch")) == 24
    assert one.samples("holdout")["samples"][0] == "d80_w80_r75"


def test_the_first_sample_is_the_dense_network_without_any_pruning() -> None:
    one, first, second = made(), "d100_w100_r100", "d80_w100_r100"
    assert one.pruned("0", first) == "results/digits/seed0/dense/model.safetensors"
    assert one.pruning_provenance("0", first) == []
    folder = f"results/digits/seed0/samples/{second}"
    assert one.pruned("0", second) == f"{folder}/pruned.safetensors"
    assert one.pruning_provenance("0", second) == f"{folder}/pruned_provenance.json"
    assert not any("scratch/d100_w100_r100/" in path for path in one.fitted("scratch"))
    benchmarks = Plan({"digits": one}).benchmarks()
    assert "results/benchmarks/digits/seed0/finetune_sample/d100_w100_r100.tsv" in benchmarks
    assert "results/benchmarks/digits/seed0/prune_sample/d100_w100_r100.tsv" not in benchmarks


def test_the_dense_network_trained_longer_is_a_row_of_its_own() -> None:
    plan = Plan({"digits": made(), "other": made({"policies": ["dwr", "width"]})})
    assert plan.longer("test.json") == [
        f"results/digits/seed{seed}/dense/longer/test.json" for seed in (0, 1)
    ]
    assert not any("dense_longer" in path for path in plan.finals("metrics.json"))
    benchmarks = plan.benchmarks()
    for rule in ("finetune_dense", "evaluate_longer"):
        assert f"results/benchmarks/digits/seed1/{rule}.tsv" in benchmarks


def test_ablations_that_are_asked_for_are_part_of_the_run() -> None:
    one, other = made({"ablations": ["samples", "scratch"]}), made({"ablations": ["rank"]})
    plan = Plan({"digits": one, "other": Experiment("other", other.config, (5,))})
    assert plan.ablated("samples") == ["results/tables/digits_ablation_samples_runs.csv"]
    assert plan.ablated("scratch") == ["results/tables/digits_ablation_scratch.csv"]
    assert plan.ablation_figures("png") == [
        "results/figures/digits_ablation_samples.png",
        "results/figures/digits_ablation_scratch.png",
        "results/figures/other_ablation_rank.png",
    ]
    assert plan.ablation_tables == [
        "results/tables/digits_ablation_samples.md",
        "results/tables/digits_ablation_scratch.md",
        "results/tables/other_ablation_rank.md",
    ]
    assert "ablations" in plan.pages and "ablations" not in Plan({"digits": made()}).pages
    benchmarks = plan.benchmarks()
    assert "results/benchmarks/other/ablate_predictor/rank.tsv" in benchmarks
    assert "results/benchmarks/digits/ablate_scratch.tsv" in benchmarks
    trained = [path for path in benchmarks if "/train_scratch/" in path]
    # Every fitted sample of both seeds that is pruned.
    assert len(trained) == len(one.fitted("scratch"))
    assert not any("d100_w100_r100" in path or "/other/" in path for path in trained)


def test_experiments_that_are_compared_with_another_have_a_table_of_that() -> None:
    config = {**made().config, "compared_with": "other"}
    plan = Plan({name: Experiment(name, config, (5,)) for name in ("digits", "other")})
    assert plan.compared == [["digits", "other"]]
    assert "choices" in plan.pages
    assert "results/benchmarks/tabulate_ablations.tsv" in plan.benchmarks()
    alone = Plan({"digits": made()})
    assert alone.compared == [] and "choices" not in alone.pages
    assert "results/benchmarks/tabulate_ablations.tsv" not in alone.benchmarks()


def test_code_of_ones_own_is_an_input() -> None:
    file = f"{next(OWN.glob('*.py'))}"
    named = f"{file}:{_first_function(Path(file))}"
    one = made({"pruning": {"channel_criterion": named}})
    assert one.channel_code("width")[0] == file
    assert one.channel_code("depth") == [] and one.model_code() == []
    assert one.sample_code("d100_w80_r100")[0] == file and one.sample_code("d80_w100_r100") == []


def _first_function(path: Path) -> str:
    lines = path.read_text().splitlines()
    return next(line[4:].partition("(")[0] for line in lines if line.startswith("def "))


def test_work_grows_with_epochs_and_attempts() -> None:
    one = made({"dense": {"epochs": 300_000}, "final": {"epochs": 3}})
    assert one.workload("dense").epochs == 300_000 and one.workload("once").epochs == 1
    assert one.minutes("dense", 1) > one.minutes("once", 1)
    assert one.minutes("once", 2) == 2 * one.minutes("once", 1)
    assert one.memory_mb("dense", 1, 4) > one.memory_mb("dense", 1, 1)


def test_timings_ask_for_time_by_the_networks_that_they_make() -> None:
    given = {"runtime": "onnxruntime", "runs": 37, "batch_size": 1, "throughput_batch_size": 9}
    one = made({"latency": given, "policies": ["dwr", "width"]})
    # 156 networks of 5 s and 40 passes of 8 x 8 pixels at 1e5 a second.
    assert one.timing_minutes("grid", 1) == 10 + math.ceil(156 * (5 + 40 * 64 / 1e5) / 60)
    assert one.timing_minutes("multiples", 2) == 2 * (10 + math.ceil(13 * 5.0256 / 60))
    finals = 1 + 2 * len(one.config["budgets"])
    assert one.timing_minutes("finals", 1) == 10 + math.ceil(
        finals * (2 * 5 + 40 * (1 + 9) * 64 / 1e5) / 60
    )
    for change in ({"batch_size": 5000}, {"runs": 100_000}):
        other = made({"latency": {**given, **change}, "policies": ["dwr", "width"]})
        assert other.timing_minutes("grid", 1) > one.timing_minutes("grid", 1)
    assert one.timing_minutes("grid", 1000) == 24 * 60


def test_the_networks_that_are_timed_are_counted_as_they_are_made() -> None:
    assert TIMED["grid"] == len(WIDTHS) * DEPTHS * SIDES + CHECKED
    assert TIMED["multiples"] == 1 + len(MULTIPLES) * len(BUDGETS)


def test_a_tree_that_is_wrong_is_told_with_the_experiment() -> None:
    wrong = {"policies": ["width"], "sampling": {"holdout": [[0.8, 1, 1]]}}
    one = made(wrong)
    assert not one.is_method
    with pytest.raises(UserError, match=r"^experiment 'digits', sampling: d80_w100_r100 is listed"):
        one.names("fit")


def test_the_plan_lists_the_files_of_all_runs() -> None:
    rival = made({"policies": ["width"]})
    tried = made({"rerank": {"candidates": 4, "keep": 2}})
    plan = Plan({"digits": tried, "rival": Experiment("rival", rival.config, (5,))})
    assert plan.method == ["digits"]
    assert len(plan.finals("metrics.json")) == 2 * 4 + 1
    # The method and what goes to its optimum have none of their own.
    targets = ["digits/seed0", "digits/seed1", "rival/seed5"]
    assert [path for path in plan.targets() if "/width/" in path] == [
        f"results/{run}/budgets/macs25/width/target.json" for run in targets
    ]
    assert len(plan.targets()) == 2 * 3 + 1
    assert plan.every_run("samples.csv", method_only=True) == [
        "results/digits/seed0/samples.csv",
        "results/digits/seed1/samples.csv",
    ]
    assert plan.rankings("blocks.json") == [
        "results/digits/seed0/dense/blocks.json",
        "results/digits/seed1/dense/blocks.json",
    ]
    assert len(plan.sampled("provenance.json")) == 26 and len(plan.searched("optimum.json")) == 2
    # Two seeds, each with seven networks in the first round and two in the second.
    assert len(plan.tried("provenance.json")) == 2 * (4 + 3 + 2)
    assert plan.surfaces("pdf") == ["results/figures/digits_seed0_macs25_surface.pdf"]


def test_final_networks_are_timed_where_their_experiment_says_so() -> None:
    plain, timed = made({"policies": ["width"]}), made({"latency": {"finals": True}})
    assert timed.timing() == plain.timing()  # or they would be timed again
    never = Plan({"digits": plain, "other": Experiment("other", plain.config, (5,))})
    plan = Plan({"digits": plain, "other": Experiment("other", timed.config, (5,))})
    assert never.timed("latency.csv") == [] and not never.is_timed
    # By name all can be timed.
    assert len(never.asked_to_time("latency.csv")) == 3 and "latency" not in never.pages
    only = ["results/other/seed5/latency.csv"]
    assert plan.timed("latency.csv") == plan.asked_to_time("latency.csv") == only
    assert plan.is_timed and "latency" in plan.pages
    more = {p for p in plan.benchmarks() if "latency" in p or "time_networks" in p}
    assert more == {
        "results/benchmarks/other/seed5/time_networks.tsv",
        "results/benchmarks/tabulate_latency.tsv",
        "results/benchmarks/plot_latency.tsv",
    }
    assert not any("latency" in p or "time_networks" in p for p in never.benchmarks())


def test_nothing_is_tried_where_size_or_speed_decides_among_equals() -> None:
    assert len(made().trials("first", "0", "macs25")) == 2 + 3
    by_size = made({"optimum": {"prefer": "params"}})
    assert by_size.trials("first", "0", "macs25") == []
    assert by_size.optimum("macs25")["candidates"] == 0


def test_rules_ask_by_the_names_of_wildcards() -> None:
    one = made()
    wildcards = {"experiment": "digits", "seed": "1", "budget": "macs25"}
    assert Question("files", ("fit",)).answer(one, wildcards, {}) == one.files("fit", "1")
    # A policy is no wildcard of this rule: the default stands for it.
    assert Question("latencies", ()).answer(one, wildcards, {}) == one.latencies("1", "macs25")
    settings = Question("training", ("dense",)).answer(one, wildcards, {})
    assert settings == one.training("dense") and list(settings) == sorted(settings)
    memory = Question("memory_mb", ("dense",))
    assert memory.of_attempts and not Question("images", ()).of_attempts
    known = {"attempt": 2, "processes": 3}
    assert memory.answer(one, wildcards, known) == one.memory_mb("dense", 2, 3)


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        # Planning; what chooses a rival's target and judges claims, which take no fit; cards.
        ("prune3d.workflow.experiment, prune3d.workflow.plan", ("torch", "scipy", "snakemake")),
        ("prune3d.optimize.rivals", ("torch", "sklearn", "scipy.stats")),
        ("prune3d.report.claims, prune3d.report.published", ("torch", "sklearn", "scipy.stats")),
        ("prune3d.report.delivery", ("torch", "onnx", "onnxruntime")),
    ],
)
def test_what_runs_often_imports_nothing_that_it_does_not_need(
    modules: str, slow: tuple[str, ...]
) -> None:
    code = f"import sys; import {modules}\nprint([n for n in {slow} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_kept_layers_matter_where_something_is_cut_or_removed() -> None:
    free, keeps = made(), made({"pruning": {"keep": ["conv1"]}})
    assert free.structure("0").endswith("/structure.json")
    assert keeps.structure("0", "width").endswith("/structure_kept.json")
    assert keeps.structure("0", "resolution") == free.structure("0", "resolution")
    assert keeps.ranking()["keep"] == keeps.latency()["keep"] == keeps.trial()["keep"] == ["conv1"]
    assert keeps.dense_training() == free.dense_training()
    assert keeps.final_pruning("depth")["keep"] == ["conv1"]
    assert keeps.final_pruning("resolution") == free.final_pruning("resolution")
    smaller, narrower = "d100_w100_r50", "d100_w60_r100"
    assert keeps.pruning(smaller) == free.pruning(smaller)
    assert keeps.structure_checked("0", smaller) == []
    assert keeps.pruning(narrower)["keep"] == ["conv1"]
    assert keeps.structure_checked("0", narrower) == [keeps.structure("0")]


def test_samples_beside_kept_layers_are_networks_that_can_be_made() -> None:
    """A quarter of the MACs plans images of 14 pixels; this network takes 16 and more."""
    kept = {
        "data": {"name": "cifar10"},
        "model": {"name": "cifar_vgg16_bn"},
        "pruning": {"keep": ["features.0"], "round_to": 1},
        "sampling": dict.fromkeys((*AXES, "holdout"), "auto"),
        "budgets": [{"name": "quarter", "macs": 0.25}],
    }
    experiment, known = made(kept), facts("cifar_vgg16_bn")
    assert known is not None
    prunable, sides = Prunable.of_facts(known, 32), set()
    for name in [*experiment.names("fit"), *experiment.names("holdout")]:
        settings = experiment.pruning(name)
        ratios = [settings[axis] for axis in AXES]
        for _ in experiment.structure_checked("0", name):  # as the job that prunes
            ratios = ratios_in(prunable, ratios, settings["stretched"])
        sides.add(round(32 * prunable.resolution(ratios[2] or 1.0)))
    assert min(sides) == 16
    smaller = next(n for n in experiment.names("fit") if n.startswith("d100_w100_r4"))
    given = experiment.structure_checked("0", smaller)
    assert given == [experiment.structure("0", "resolution")]

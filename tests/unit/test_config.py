"""Every wrong value of the configuration is refused in one sentence, within a second."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from prune3d.errors import ConfigError
from prune3d.workflow.config import left_out, load_experiments, overlay
from prune3d.workflow.schema import dotted, leaf_keys

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = yaml.safe_load((ROOT / "config/schema.yaml").read_text())
MISSING = object()


def shipped() -> dict[str, Any]:
    """Return the config that is shipped, without what the demo's experiment changes."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return {**config, "experiments": {"digits": None}}


def changed(**changes: Any) -> dict[str, Any]:
    """Return the shipped config with other values, keys written as ``defaults__dense__epochs``."""
    config = copy.deepcopy(shipped())
    for key, value in changes.items():
        *path, last = key.split("__")
        part = config
        for name in path:
            part = part.setdefault(name, {})
        if value is MISSING:
            del part[last]
        else:
            part[last] = value
    return config


def refusal(config: dict[str, Any]) -> str:
    """Return the one sentence with which a config is refused."""
    with pytest.raises(ConfigError) as caught:
        load_experiments(config, SCHEMA)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_the_shipped_config_is_accepted() -> None:
    settings = load_experiments(shipped(), SCHEMA)
    assert list(settings) == ["digits"]
    assert settings["digits"] == shipped()["defaults"]


def test_settings_of_the_experiment_are_laid_over_the_defaults() -> None:
    config = changed(experiments={"digits": {"dense": {"epochs": 3}}})
    settings = load_experiments(config, SCHEMA)["digits"]
    expected = shipped()["defaults"]
    expected["dense"]["epochs"] = 3
    assert settings == expected


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({}, []),
        ({"experiments": None}, []),
        ({"experiments": {"digits": None}}, []),
        ({"run": ["digits"], "experiments": {"mine": None, "digits": None}}, ["mine"]),
    ],
)
def test_an_experiment_that_is_not_to_be_run_is_found(
    given: dict[str, Any], left: list[str]
) -> None:
    assert left_out(["digits"], given) == left


def test_an_experiment_that_run_forgets_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"experiment 'mine' .* add `run: \[mine\]` to it"):
        left_out(["digits"], {"experiments": {"mine": {"dense": {"epochs": 3}}}})


def test_only_the_experiments_to_run_are_returned() -> None:
    config = changed(experiments={"digits": {}, "other": {"model": {"name": "resnet110"}}})
    assert list(load_experiments(config, SCHEMA)) == ["digits"]
    config["run"] = ["other", "digits"]
    settings = load_experiments(config, SCHEMA)
    names = [values["model"]["name"] for values in settings.values()]
    assert names == ["resnet110", shipped()["defaults"]["model"]["name"]]


def comparing(**settings: Any) -> dict[str, Any]:
    """Return a config of two experiments, the second compared with the first."""
    config = changed(experiments={"base": {}, "own": {"compared_with": "base", **settings}})
    return {**config, "run": ["base", "own"]}


def test_an_experiment_may_be_compared_with_another_or_with_none() -> None:
    assert load_experiments(comparing(), SCHEMA)["own"]["compared_with"] == "base"
    load_experiments(comparing(policies=["width", "depth"]), SCHEMA)
    # Its own name, as where the defaults name the experiment that all are compared with.
    load_experiments(changed(defaults__compared_with="digits"), SCHEMA)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"compared_with": "bse"}, "'bse' that is run; there are: base, own."),
        ({"policies": ["width", "greedy", "dwr"]}, "'base' lacks the policy greedy; allowed is"),
        ({"budgets": [{"name": "macs25", "macs": 0.2}]}, "'base' has other budgets; allowed is"),
        (
            {"data": {"name": "glyphs", "side": 8}},
            "'base' has other test images, its data.name is digits, that of 'own' is glyphs; allow",
        ),
    ],
)
def test_an_experiment_is_compared_with_one_that_has_what_it_has(
    settings: dict[str, Any], told: str
) -> None:
    message = refusal(comparing(**settings))
    assert message.startswith("experiment 'own', compared_with: ") and told in message
    # One that is there but not run makes nothing to compare with.
    assert "'base' that is run" in refusal({**comparing(), "run": ["own"]})


GLYPHS = {"name": "glyphs", "side": 24}


@pytest.mark.parametrize(
    ("base", "own", "key"),
    [
        ({}, {"test_fraction": 0.3}, "test_fraction is 0.2, that of 'own' is 0.3"),
        (GLYPHS, {"side": 32}, "side is 24, that of 'own' is 32"),
        (GLYPHS, {"glyphs": {"classes": 12}}, "glyphs.classes is 10"),
        (GLYPHS, {"glyphs": {"test_images": 500}}, "glyphs.test_images is 1000"),
        (GLYPHS, {"glyphs": {"difficulty": 0.6}}, "glyphs.difficulty is 0.5"),
        (GLYPHS, {"glyphs": {"seed": 1}}, "glyphs.seed is 0"),
        ({"name": "cifar10"}, {"name": "cifar100"}, "name is cifar10"),
    ],
)
def test_experiments_with_other_test_images_are_not_compared(
    base: dict[str, Any], own: dict[str, Any], key: str
) -> None:
    config = comparing(data=own)
    config["defaults"]["data"].update(base)
    message = refusal(config)
    assert "compared_with: 'base' has other test images" in message and f"data.{key}" in message


@pytest.mark.parametrize(
    ("base", "own"),
    [
        ({}, {"selection_fraction": 0.3}),
        ({}, {"root": "elsewhere", "resident_gb": 1.0}),
        # Which have test images of their own.
        (GLYPHS, {"test_fraction": 0.3, "glyphs": {"images": 3000}, "normalization": "imagenet"}),
    ],
)
def test_experiments_that_differ_in_training_images_are_compared(
    base: dict[str, Any], own: dict[str, Any]
) -> None:
    config = comparing(data=own)
    config["defaults"]["data"].update(base)
    assert set(load_experiments(config, SCHEMA)) == {"base", "own"}


@pytest.mark.parametrize("parts", [("train", "test"), ("",)], ids=["own-test", "held-out"])
def test_folders_are_compared_with_the_same_at_any_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[str, ...]
) -> None:
    for folder in ("here", "there"):
        for part in parts:
            for name in ("cat", "dog"):
                (tmp_path / folder / part / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    base = {"name": "imagefolder", "root": "here", "side": 32}
    for own, told in (
        ({"side": 24, "root": "./here"}, ""),
        ({"root": "there"}, "data.root is "),
        ({"test_fraction": 0.3}, "" if "test" in parts else "data.test_fraction is 0.2"),
    ):
        config = comparing(data=own)
        config["defaults"]["data"].update(base)
        if told:
            assert told in refusal(config)
        else:
            load_experiments(config, SCHEMA)


def test_an_overlay_merges_sections_and_replaces_lists() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    top = {"a": {"c": [3]}, "d": 5, "f": {"g": 1}, "h": {}}
    expected = {"a": {"b": 1, "c": [3]}, "d": 5, "f": {"g": 1}, "h": {}}
    assert overlay(base, top) == expected
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


def test_an_overlay_shares_nothing_with_its_parts() -> None:
    base, top = {"a": {"b": [1]}}, {"c": {"d": [2]}}
    merged = overlay(base, top)
    merged["a"]["b"].append(0)
    merged["c"]["d"].append(0)
    assert (base, top) == ({"a": {"b": [1]}}, {"c": {"d": [2]}})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        # Structure.
        ({"run": MISSING}, ["run", "missing"]),
        ({"run": []}, ["run is []", "at least 1"]),
        ({"run": ["digits", "digits"]}, ["run", "without repetitions"]),
        ({"run": ["digit"]}, ["'digit'", "digits"]),
        ({"runs": ["digits"]}, ["runs", "did you mean 'run'", "seeds"]),
        ({"seeds": []}, ["seeds", "at least 1"]),
        ({"seeds": [-1]}, ["seeds[0] is -1", "at least 0"]),
        ({"seeds": [2**32]}, ["seeds[0] is 4294967296", "at most 4294967295"]),
        ({"seeds": ["0"]}, ["seeds[0] is '0'", "whole number"]),
        ({"seeds": 0}, ["seeds is 0", "a list"]),
        ({"experiments": {"my data": {}}}, ["my data", "letters, digits and hyphens"]),
        ({"experiments": {"digits": {"modle": {}}}}, ["experiments.digits.modle", "'model'"]),
        ({"experiments": {"digits": {}, 7: {}}}, ["experiments", "7", "text"]),
        ({"experiments": {"digits": {}, True: {}}}, ["experiments", "True", "text"]),
        ({"experiments": {"digits": {}, "tables": {}}}, ["experiments", "'tables'", "other"]),
        ({"experiments": {"digits": {}, "figures": {}}}, ["experiments", "'figures'", "other"]),
        ({"experiments": {"digits": {}, "logs": {}}}, ["experiments", "'logs'", "other"]),
        ({"experiments": {"digits": {}, "benchmarks": {}}}, ["'benchmarks'", "other"]),
        ({"experiments": []}, ["experiments is []", "section"]),
        ({"defaults": MISSING}, ["defaults", "missing"]),
        # Types and ranges.
        ({"defaults__dense__epochs": 0}, ["defaults.dense.epochs is 0", "at least 1"]),
        ({"defaults__dense__epochs": "3"}, ["defaults.dense.epochs is '3'", "whole number"]),
        ({"defaults__dense__epochs": 2.5}, ["defaults.dense.epochs is 2.5", "whole number"]),
        ({"defaults__dense__epochs": True}, ["defaults.dense.epochs is True", "whole number"]),
        ({"defaults__dense__batch_size": 1}, ["defaults.dense.batch_size is 1", "at least 2"]),
        ({"defaults__dense__learning_rate": 0}, ["learning_rate is 0", "above 0"]),
        ({"defaults__dense__learning_rate": "1e-4"}, ["learning_rate is '1e-4'", "1.0e-4"]),
        ({"defaults__dense__momentum": 1}, ["momentum is 1", "at least 0 and below 1"]),
        ({"defaults__dense__weight_decay": -1}, ["weight_decay is -1", "at least 0"]),
        ({"defaults__dense__flip": 1}, ["flip is 1", "true or false"]),
        ({"defaults__dense__flip": "no"}, ["flip is 'no'", "true or false"]),
        ({"defaults__dense__lr": 0.1}, ["defaults.dense.lr", "learning_rate"]),
        ({"defaults__dense__epochs": MISSING}, ["dense.epochs", "missing"]),
        ({"defaults__dense": MISSING}, ["dense", "missing"]),
        ({"defaults__data__name": 3}, ["defaults.data.name is 3", "text"]),
        ({"defaults__data__test_fraction": 1}, ["test_fraction is 1", "above 0 and below 1"]),
        ({"defaults__data__selection_fraction": 0}, ["selection_fraction is 0", "above 0"]),
        ({"defaults__pruning__round_to": 0}, ["round_to is 0", "at least 1"]),
        ({"defaults__pruning__round_to": "car"}, ["round_to is 'car'", "whole number or 'auto'"]),
        ({"defaults__pruning__probe_images": 15}, ["probe_images is 15", "at least 16"]),
        ({"defaults__sampling__design": "cube"}, ["'cube'", "axes, grid, optimal, list"]),
        ({"defaults__sampling__depth": [1]}, ["sampling.depth[0] is 1", "below 1"]),
        ({"defaults__sampling__width": [0.5, 0]}, ["sampling.width[1] is 0", "above 0"]),
        ({"defaults__sampling__width": [0.5, 0.5]}, ["sampling.width", "without repetitions"]),
        ({"defaults__sampling__holdout": [[0.5, 0.5]]}, ["holdout[0]", "exactly 3 entries"]),
        ({"defaults__sampling__points": [[1, 1, 1, 1]]}, ["points[0]", "exactly 3 entries"]),
        ({"defaults__sampling__points": [[1, 1, 2]]}, ["points[0][2] is 2", "at most 1"]),
        ({"defaults__predictor__kind": "cubic"}, ["'cubic'", "low_rank, full"]),
        ({"defaults__predictor__degree": 7}, ["degree is 7", "at least 1 and at most 6"]),
        ({"defaults__predictor__alpha": "x"}, ["predictor.alpha is 'x'", "number", "'loo'"]),
        ({"defaults__predictor__alpha": -1}, ["predictor.alpha is -1", "at least 0"]),
        ({"defaults__predictor__alpha": True}, ["predictor.alpha is True", "number"]),
        ({"defaults__lattice__width_step": 0.7}, ["width_step is 0.7", "at most 0.5"]),
        ({"defaults__budgets": []}, ["budgets", "at least 1"]),
        ({"defaults__budgets": [{"name": "a"}]}, ["budgets[0]", "give one or more of macs"]),
        ({"defaults__budgets": [{"name": "a/b", "macs": 0.5}]}, ["'a/b'", "name"]),
        ({"defaults__budgets": [{"name": "a", "macs": 25}]}, ["macs is 25", "at most 1"]),
        ({"defaults__policies": ["dwr", "dw"]}, ["policies[1] is 'dw'", "resolution"]),
        ({"defaults__policies": ["width", "greedy"]}, ["policies: greedy uses", "name dwr, too"]),
        (
            {"defaults__policies": ["slimming"]},
            ["model.sparsity.penalty is none", "slimming needs batchnorm_l1"],
        ),
        (
            {"defaults__latency__runtime": "tensorrt"},
            ["latency.runtime: the runtime is tensorrt", "install onnxruntime-gpu"],
        ),
        (
            {"defaults__latency__runtime": "tensorrt", "defaults__latency__device": "cpu"},
            ["latency.device is cpu", "runs on GPUs alone"],
        ),
        (
            {"defaults__policies": ["group_norm"]},
            ["model.sparsity.penalty is none", "group_norm needs group_norm"],
        ),
        (
            {
                "defaults__policies": ["global_l2"],
                "defaults__budgets": [{"name": "small", "macs": 0.5, "params": 0.5}],
            },
            ["global_l2 divides MACs", "'small' limits something else"],
        ),
        ({"figures__policies__dpi": 5}, ["figures.policies.dpi is 5", "at least 30"]),
        ({"figures__policies__size": [5]}, ["size", "exactly 2 entries"]),
        # Values that do not fit together.
        ({"defaults__data__name": "mnist"}, ["'digits', data", "'mnist'", "digits"]),
        ({"defaults__data__side": 9}, ["'digits', data", "side is 9", "8 pixels"]),
        ({"defaults__data__normalization": "imagenet"}, ["'digits', data", "'imagenet'", "grey"]),
        ({"defaults__data__normalization": "none"}, ["data.normalization is 'none'", "own"]),
        # Of 1797 images 0.005 is 9 of ten classes; 0.001 of the 1437 that are left is 2.
        ({"defaults__data__test_fraction": 0.005}, ["data.test_fraction", "0.005", "1797", "9"]),
        ({"defaults__data__test_fraction": 0.999}, ["data.test_fraction", "0.999", "10 classes"]),
        (
            {"defaults__data__selection_fraction": 0.001},
            ["data.selection_fraction", "0.001", "1437", " 2,", "10 classes"],
        ),
        ({"defaults__data__selection_fraction": 0.999}, ["data.selection_fraction", "1436"]),
        ({"defaults__model__name": "resnet19"}, ["model.name", "'resnet19'", "resnet20"]),
        ({"defaults__pruning__block_criterion": "x"}, ["block_criterion", "'x'", "dbp"]),
        ({"defaults__pruning__channel_criterion": "x"}, ["channel_criterion", "'x'", "l1"]),
        ({"defaults__pruning__keep": ["layer9.*"]}, ["pruning.keep", "'layer9.*'", "conv1"]),
        ({"defaults__pruning__keep": ["conv1", ""]}, ["pruning.keep[1]", "not empty"]),
        ({"defaults__pruning__keep": "conv1"}, ["pruning.keep is 'conv1'", "a list"]),
        ({"defaults__dense__warmup_epochs": 991}, ["dense", "warmup_epochs", "991", "epochs"]),
        ({"defaults__final__shift": 8}, ["final", "shift", "8"]),
        ({"defaults__final__cutout": 9}, ["final", "cutout is 9", "at most", "8"]),
        ({"defaults__pruning__steps": 991}, ["pruning.steps", "991", "at most 100"]),
        (
            {"defaults__pruning__steps": 21},
            ["pruning.steps is 21", "at most final.epochs, 16"],
        ),
        ({"defaults__dense__schedule": "rewind"}, ["dense", "schedule is rewind", "one_cycle"]),
        ({"defaults__dense__distillation": 0.5}, ["dense", "distillation is 0.5", "is 0"]),
        (
            {"defaults__finetune__schedule": "rewind", "defaults__finetune__epochs": 31},
            ["finetune", "schedule is rewind", "epochs is 31", "at most dense.epochs, 25"],
        ),
        ({"defaults__dense__schedule": "linear"}, ["dense.schedule", "one of cosine, step"]),
        ({"defaults__dense__decay_at": [0.5, 1]}, ["dense.decay_at[1]", "below 1"]),
        ({"defaults__dense__ema": 1.0}, ["dense.ema", "below 1"]),
        ({"defaults__compute__precision": "float16"}, ["compute.precision", "auto, float32"]),
        ({"defaults__budgets": [{"name": "a", "macs": 0.5}] * 2}, ["budgets", "'a'"]),
        ({"defaults__sampling__depth": [0.01]}, ["sampling.depth", "0.01", "2 blocks"]),
        (
            {"defaults__sampling__depth": [0.8, 0.79, 0.5, 0.3]},
            ["sampling", "d80_w100_r100", "d79_w100_r100"],
        ),
        (
            {"defaults__sampling__depth": [0.99, 0.7, 0.5, 0.3]},
            ["sampling", "d100_w100_r100", "d99_w100_r100"],
        ),
        ({"defaults__sampling__resolution": [0.01]}, ["sampling.resolution", "0.01", "1 pixel"]),
        (
            {"defaults__sampling__resolution": [0.95]},
            ["sampling", "d100_w100_r100", "d100_w100_r95"],
        ),
        (
            {"defaults__pruning__round_to": 64, "defaults__sampling__width": [0.999, 0.6, 0.45]},
            ["sampling", "d100_w100_r100 and d100_w99.9_r100 give the same network"],
        ),
        (
            {"defaults__sampling__width": [0.8, 0.6, 0.45, 0.4501]},
            ["sampling", "d100_w45_r100 and d100_w45.01_r100 give the same network"],
        ),
        (
            {"defaults__sampling__points": [[1, 0.9999, 1]]},
            ["sampling", "d100_w100_r100 and d100_w99.99_r100 give the same network"],
        ),
        (
            {"defaults__sampling__holdout": [[0.74, 1, 1]]},
            ["sampling", "d73_w100_r100 and d74_w100_r100 give the same network"],
        ),
        (
            {"defaults__sampling__holdout": [[0.5, 0.5, 0.5], [0.501, 0.5, 0.5]]},
            ["sampling", "d50_w50_r50 and d50.1_w50_r50 give the same network"],
        ),
        ({"defaults__sampling__depth": [0.5]}, ["sampling", "2 depth levels", "degree 3"]),
        ({"defaults__sampling__holdout": [[0.73, 1, 1]]}, ["sampling", "holdout", "d73_w100_r100"]),
        ({"defaults__sampling__holdout": [[0.01, 1, 1]]}, ["sampling.holdout", "0.01"]),
        ({"defaults__sampling__points": [[0.8, 1, 0.01]]}, ["sampling.points", "0.01"]),
        ({"defaults__sampling__design": "list"}, ["sampling", "level"]),
        ({"defaults__predictor__kind": "full"}, ["sampling", "64", "full"]),
        ({"defaults__predictor__rank": 2}, ["sampling", "rank"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_refused_with_key_value_and_what_is_allowed(
    changes: dict[str, Any], told: list[str]
) -> None:
    message = refusal(changed(**changes))
    for part in told:
        assert part in message


@pytest.mark.parametrize("text", [".nan", ".inf"])
@pytest.mark.parametrize(
    "key",
    [
        "defaults__dense__learning_rate",
        "defaults__dense__weight_decay",
        "defaults__predictor__alpha",
    ],
)
def test_numbers_that_are_not_finite_are_refused(key: str, text: str) -> None:
    message = refusal(changed(**{key: yaml.safe_load(text)}))
    assert key.rpartition("__")[2] in message


def test_a_budget_that_is_not_a_number_is_refused() -> None:
    assert "macs" in refusal(changed(defaults__budgets=[{"name": "a", "macs": float("nan")}]))


@pytest.mark.parametrize(
    ("key", "value"),
    [("seeds", [0.0]), ("defaults__dense__epochs", 40.0), ("defaults__lattice__side_step", 1.0)],
)
def test_whole_numbers_written_with_a_point_are_refused(key: str, value: Any) -> None:
    assert key.rpartition("__")[2] in refusal(changed(**{key: value}))


def test_an_experiment_without_settings_of_its_own_may_be_left_empty() -> None:
    config = yaml.safe_load("experiments:\n  digits:\n")
    settings = load_experiments({**shipped(), **config}, SCHEMA)
    assert settings["digits"] == shipped()["defaults"]


def test_a_setting_of_one_experiment_is_told_with_its_name() -> None:
    experiments = {"digits": {}, "small": {"model": {"name": "resnet19"}}}
    config = changed(run=["digits", "small"], experiments=experiments)
    assert refusal(config).startswith("experiment 'small', model.name: ")


def test_an_experiment_that_is_not_run_is_checked_for_its_keys_and_types_only() -> None:
    config = changed(experiments={"digits": {}, "small": {"modle": {}}})
    assert config["run"] == ["digits"]
    assert "experiments.small.modle" in refusal(config)
    # Values that would not go with these defaults.
    other = {"sampling": {"depth": [0.8, 0.4, 0.2]}}
    config = changed(
        run=["mine"],
        experiments={"other": other, "mine": {}},
        defaults__model__name="resnet14",
        defaults__sampling__depth=[0.8, 0.6, 0.5],
        defaults__sampling__holdout=[],
    )
    assert list(load_experiments(config, SCHEMA)) == ["mine"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seeds", [0, 2**32 - 1]),
        ("defaults__predictor__alpha", "loo"),
        ("defaults__predictor__alpha", 0),
        # Multiples of 16 leave the streams of 64 channels four widths.
        ("defaults__pruning__round_to", 16),
        ("defaults__pruning__round_to", "auto"),
    ],
)
def test_values_at_the_edge_of_what_is_allowed_are_accepted(key: str, value: Any) -> None:
    assert list(load_experiments(changed(**{key: value}), SCHEMA)) == ["digits"]


@pytest.mark.parametrize(
    ("path", "text"),
    [(["a", "b", 2, "c"], "a.b[2].c"), (["a"], "a"), ([], "config"), (["a", 1, 0], "a[1][0]")],
)
def test_keys_are_written_with_dots(path: list[Any], text: str) -> None:
    assert dotted(path) == text


def flat(value: Any, prefix: str = "") -> set[str]:
    """Return the keys of nested sections, with dots."""
    if not isinstance(value, dict):
        return {prefix}
    return {
        key for name, part in value.items() for key in flat(part, f"{prefix}.{name}".strip("."))
    }


def test_the_keys_of_the_schema_are_those_of_the_shipped_config() -> None:
    shipped_keys = flat(shipped()) - {"experiments.digits"} | {"experiments"}
    assert sorted(leaf_keys(SCHEMA)) == sorted({key for key in shipped_keys if key})


def test_the_check_imports_neither_torch_nor_snakemake() -> None:
    code = (
        "import sys, yaml; from prune3d.workflow.config import load_experiments\n"
        "read = lambda name: yaml.safe_load(open(name))\n"
        "load_experiments(read('config/config.yaml'), read('config/schema.yaml'))\n"
        "print([name for name in ('torch', 'snakemake') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"

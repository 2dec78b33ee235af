"""A configuration key from the schema to the settings object that a job reads: one name, one range.

Ranges and meanings stand in config/schema.yaml alone; names and defaults are held to it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from snakemake.iocontainers import Params

from prune3d.data.settings import DataSettings, GlyphSettings
from prune3d.optimize.budget import Budget
from prune3d.optimize.policies import LatticeOptions, OptimumOptions
from prune3d.optimize.registry import POLICIES
from prune3d.optimize.rounds import RerankOptions
from prune3d.optimize.surrogate import Settings as PredictorSettings
from prune3d.pruning.options import PruningOptions
from prune3d.pruning.sparsity import Sparsity
from prune3d.pruning.timing import LatencyOptions
from prune3d.report.figures import Style
from prune3d.report.predictor_ablation import Choices
from prune3d.train.compute import Compute
from prune3d.train.recipe import Recipe
from prune3d.workflow.config import leaf_keys, load_experiments, overlay
from prune3d.workflow.experiment import Experiment
from prune3d.workflow.job import Job

CONFIG = Path(__file__).resolve().parents[2] / "config"
SHIPPED = sorted(path.name for path in CONFIG.glob("*.yaml") if path.name != "schema.yaml")
SCHEMA: dict[str, Any] = yaml.safe_load((CONFIG / "schema.yaml").read_text())

# For each section its class, the fields that no config has, and the keys that are read elsewhere.
SECTIONS: dict[str, tuple[type, set[str], set[str]]] = {
    "data": (DataSettings, set(), {"download", "test_fraction", "selection_fraction"}),
    "data.glyphs": (GlyphSettings, set(), set()),
    "model.sparsity": (Sparsity, {"seed"}, set()),
    "dense": (Recipe, {"name", "original", "rewound"}, set()),
    "finetune": (Recipe, {"name", "original", "rewound"}, set()),
    "final": (Recipe, {"name", "original", "rewound"}, set()),
    "compute": (Compute, {"workers", "processes"}, set()),
    "pruning": (PruningOptions, {"seed", "allocation"}, {"steps"}),
    "predictor": (PredictorSettings, set(), set()),
    "lattice": (LatticeOptions, {"round_to"}, set()),
    "optimum": (OptimumOptions, set(), {"refits"}),
    "rerank": (RerankOptions, set(), set()),
    "latency": (LatencyOptions, set(), {"device", "throughput_batch_size", "finals"}),
}


def section_of(name: str) -> Mapping[str, Any]:
    """Return the schema of a section of the defaults, without references."""
    part: Mapping[str, Any] = SCHEMA["$defs"]["experiment"]
    for key in name.split("."):
        part = resolved(part["properties"][key])
    return part


def resolved(part: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in part:
        return part
    return {**SCHEMA["$defs"][part["$ref"].rpartition("/")[2]], **part}


@pytest.mark.parametrize("name", SECTIONS)
def test_settings_have_the_names_of_their_section(name: str) -> None:
    kind, beside, elsewhere = SECTIONS[name]
    named = {field.name for field in fields(kind)}
    assert beside <= named
    assert named - beside == set(section_of(name)["properties"]) - elsewhere


def test_every_section_has_its_settings() -> None:
    """Or its keys are read one by one, by rules and the config's own checks."""
    keys = {key.removeprefix("defaults.") for key in leaf_keys(SCHEMA) if "defaults." in key}
    sections = {key.rpartition(".")[0] for key in keys} - {""}
    assert sections - set(SECTIONS) == {"model", "sampling"}


@pytest.mark.parametrize("name", SECTIONS)
def test_defaults_of_the_library_are_values_that_a_config_may_have(name: str) -> None:
    kind, beside, _ = SECTIONS[name]
    properties = section_of(name)["properties"]
    for field in fields(kind):
        if field.name not in beside and field.default is not MISSING:
            value = list(field.default) if isinstance(field.default, tuple) else field.default
            whole = {**resolved(properties[field.name]), "$defs": SCHEMA["$defs"]}
            # Off is a value that is larger than any step of a config.
            if (name, field.name, value) != ("lattice", "width_step", 1.0):
                jsonschema.validate(value, whole)


def test_limits_of_budgets_and_the_style_of_figures_have_the_names_of_the_schema() -> None:
    budget = section_of("budgets")["items"]["properties"]
    assert {"name", *Budget.names()} == set(budget)
    assert {field.name for field in fields(Style)} == set(SCHEMA["$defs"]["figure"]["properties"])


@pytest.mark.parametrize("name", SHIPPED)
def test_jobs_of_shipped_configs_find_every_setting_that_they_read(name: str) -> None:
    """As `Job.read` refuses what is missing, on the settings that rules take from a config."""
    base = yaml.safe_load((CONFIG / "config.yaml").read_text())
    config = overlay(base, yaml.safe_load((CONFIG / name).read_text()))
    for one, checked in load_experiments(config, SCHEMA).items():
        experiment = Experiment(one, checked, tuple(config["seeds"]))
        budget = checked["budgets"][0]["name"]
        for section in ("dense", "finetune", "final"):
            read(experiment.training(section), Recipe, name=section, original=None, rewound=None)
            read(experiment.training(section), Compute, workers=0, processes=1)
        read(experiment.images(), DataSettings, glyphs=GlyphSettings())
        read(experiment.data(), DataSettings, glyphs=read(experiment.data(), GlyphSettings))
        read(experiment.dense_training(), Sparsity, seed=0)
        read(experiment.ranking(), PruningOptions, seed=0)
        read(experiment.latency(), LatencyOptions)
        read(experiment.timing(), LatencyOptions)
        read(experiment.quantized(), LatencyOptions, runtime="onnxruntime")
        read(experiment.predictor(), PredictorSettings)
        read(experiment.ablation(), Choices)
        read(experiment.trial(), PruningOptions, seed=0)
        for kind in (LatticeOptions, OptimumOptions, Budget):
            read(experiment.optimum(budget), kind)
        for policy in POLICIES:
            read(experiment.final_pruning(policy), PruningOptions, seed=0)
            read(experiment.step(policy), PruningOptions, seed=0)
            read(experiment.rival(budget, policy), LatticeOptions)
            read(experiment.rival(budget, policy), Budget)
            read(experiment.descent(budget, policy), PruningOptions, seed=0)
            read(experiment.descent(budget, policy), LatticeOptions)
        if experiment.is_method:
            point = experiment.names("fit")[-1]
            read(experiment.pruning(point), PruningOptions, seed=0)
    for style in config["figures"].values():
        read(style, Style)


def read(settings: Mapping[str, Any], kind: type, **given: Any) -> Any:
    """Read settings as a job does."""
    snakemake = SimpleNamespace(
        input=[],
        output=[],
        params=Params(fromdict={"settings": dict(settings)}),
        wildcards={},
        resources={},
        threads=1,
        rule="some_rule",
        log=[],
    )
    return Job(snakemake).read(kind, **given)

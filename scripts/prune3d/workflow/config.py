"""The configuration: merging, and every check that can be made before work starts.

Needs neither torch nor Snakemake, so that a wrong value is refused within a second.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune3d.costs.levels import last_level, stretched
from prune3d.costs.prunable import Prunable
from prune3d.data.registry import DATASETS, DatasetFacts, held_out
from prune3d.data.registry import facts as data_facts
from prune3d.data.settings import DataSettings
from prune3d.errors import ConfigError
from prune3d.models.registry import facts as model_facts
from prune3d.optimize.budget import Budget
from prune3d.optimize.registry import AXIS_SAMPLES, METHOD, POLICIES
from prune3d.predictor.design import check_design
from prune3d.pruning.options import BLOCK_CRITERIA, CHANNEL_CRITERIA, check_criterion
from prune3d.pruning.patterns import why_unmatched
from prune3d.pruning.runtimes import RUNS_ON, check_runtime
from prune3d.sampling.tree import AXES, DENSE, Point, fitted_points, sampling_tree
from prune3d.workflow.paths import RESERVED
from prune3d.workflow.sampling import (
    AUTO,
    axes_with_few_levels,
    design_of,
    last_levels,
    round_to_of,
    stretched_points,
)
from prune3d.workflow.schema import check_schema, leaf_keys

if TYPE_CHECKING:
    from prune3d.workflow.job import Job

Config = Mapping[str, Any]
ORDER = ("degree", "rank")
REACH = 1.25
LEAST = 1e-9  # the least ratio that can be asked for


def load_experiments(config: Config, schema: Config) -> dict[str, dict[str, Any]]:
    """Check a whole config and return the settings of the experiments to run.

    Parameters
    ----------
    config
        The config as read from YAML.
    schema
        The content of config/schema.yaml.

    Returns
    -------
    dict
        For each name in ``run``, ``defaults`` with the experiment's own settings laid over them.

    Raises
    ------
    ConfigError
        In one sentence with the key, its value and what is allowed.
    """
    check_schema(config, schema)
    for name in config["run"]:
        if name not in config["experiments"]:
            raise ConfigError(
                f"run: there is no experiment '{name}' under experiments; "
                f"there are: {', '.join(map(str, config['experiments'])) or 'none'}."
            )
    every = {}
    for name, own in config["experiments"].items():
        _check_name(name)
        every[name] = overlay(config["defaults"], own or {})
        _check_complete(every[name], schema, name)
        # What another experiment says may not go with the defaults of somebody who runs his own.
        if name in config["run"]:
            check_experiment(name, every[name])
    for name in config["run"]:
        _check_compared(name, every, config["run"])
    return {name: every[name] for name in config["run"]}


def _check_compared(name: str, every: Mapping[str, Config], run: Sequence[str]) -> None:
    """Refuse to compare an experiment with one that lacks what it has.

    Raises
    ------
    ConfigError
        In one sentence that names the experiment and the key.
    """
    own, other = every[name], every[name]["compared_with"]
    if other in (None, name):
        return
    about = f"experiment '{name}', compared_with"
    if other not in run:
        raise ConfigError(
            f"{about}: there is no experiment '{other}' that is run; there are: {', '.join(run)}."
        )
    reference = every[other]
    mine, theirs = (_test_images(one["data"]) for one in (own, reference))
    for key, value in mine.items():
        if value != theirs.get(key):
            raise ConfigError(
                f"{about}: '{other}' has other test images, its data.{key} is {theirs.get(key)}, "
                f"that of '{name}' is {value}; allowed is an experiment with the same."
            )
    if own["budgets"] != reference["budgets"]:
        raise ConfigError(
            f"{about}: '{other}' has other budgets; allowed is an experiment with the same."
        )
    lacking = [policy for policy in own["policies"] if policy not in reference["policies"]]
    if lacking:
        raise ConfigError(
            f"{about}: '{other}' lacks the policy {lacking[0]}; allowed is an experiment with all "
            f"policies of '{name}'."
        )


def _test_images(section: Config) -> dict[str, Any]:
    """Return the keys of a section ``data`` that decide its test images, with their values.

    Those of another side are the same pictures, but for the data set that is drawn: there they are
    others. How many images train, and of those how many select, changes none that tests.
    """
    settings = DataSettings.from_config(section)
    uses = DATASETS[settings.name].uses
    found: dict[str, Any] = {"name": settings.name}
    if "root" in uses:
        found["root"] = str(Path(settings.root).resolve())
    if "glyphs" in uses:
        drawn = asdict(settings.glyphs)
        deciding = ("classes", "test_images", "difficulty", "seed")
        found |= {"side": settings.side, **{f"glyphs.{key}": drawn[key] for key in deciding}}
    if data_facts(settings).test_images == 0:
        found["test_fraction"] = section["test_fraction"]
    return found


def left_out(run: Sequence[str], given: Config) -> list[str]:
    """Return the experiments of the given config that are not to be run.

    Parameters
    ----------
    run
        The experiments that are run.
    given
        What was laid over the default config, and nothing else.

    Raises
    ------
    ConfigError
        If there are any and nobody has said what to run, so that the default would be run instead.
    """
    left = [name for name in given.get("experiments") or {} if name not in run]
    if left and "run" not in given:
        raise ConfigError(
            f"run: the given config defines the experiment '{left[0]}' but does not say what to "
            f"run, which is {list(run)} by default; add `run: [{', '.join(left)}]` to it."
        )
    return left


def overlay(base: Config, top: Config) -> dict[str, Any]:
    """Return a copy of `base` with the values of `top` laid over it; lists are replaced."""
    merged = copy.deepcopy(dict(base))
    for key, value in top.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = overlay(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def check_experiment(name: str, settings: Config) -> None:
    """Refuse values that do not fit together, before any job starts.

    Raises
    ------
    ConfigError
        In one sentence that names the experiment and the key.
    """
    with _about(name, "data"):
        data = data_facts(DataSettings.from_config(settings["data"]))
    _check_fractions(name, settings["data"], data)
    _check_model(name, settings["model"])
    registries = {"block_criterion": BLOCK_CRITERIA, "channel_criterion": CHANNEL_CRITERIA}
    for key, registry in registries.items():
        with _about(name, f"pruning.{key}"):
            check_criterion(registry, settings["pruning"][key])
    for section in ("dense", "finetune", "final"):
        with _about(name, section):
            _check_recipe(settings[section], data.side)
            _check_dense_network(section, settings[section], settings["dense"])
    _check_steps(name, settings["pruning"]["steps"], settings["final"]["epochs"])
    with _about(name, "budgets"):
        _check_names([budget["name"] for budget in settings["budgets"]])
    for i, budget in enumerate(settings["budgets"]):
        with _about(name, f"budgets[{i}]"):
            Budget.of(budget)
    known, prunable = model_facts(settings["model"]["name"]), None
    if known is not None:
        with _about(name, "model.name"):
            prunable = Prunable.of_facts(known, data.side)
    _check_policies(name, settings)
    _check_latency(name, settings["latency"])
    samples = METHOD in settings["policies"]  # which rivals alone do not need
    if settings["ablations"] and not samples:
        raise ConfigError(
            f"experiment '{name}', ablations: they need the samples of the method; add dwr to the "
            "policies or leave them out."
        )
    if samples:
        with _about(name, "sampling"):
            design = design_of(settings)
        with _about(name, "sampling.points or sampling.holdout"):
            sampling_tree(design)
    # Of other models, or beside layers that are kept, a job finds out what can be pruned, and then
    # checks the samples.
    if known is not None and prunable is not None:
        _check_keep(name, settings, known.layers)
        if samples and not settings["pruning"]["keep"]:
            check_sampling(name, settings, prunable)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or name in RESERVED:
        raise ConfigError(
            f"experiments: {name!r} cannot be the name of an experiment; allowed is text other "
            f"than {', '.join(RESERVED)}."
        )


def _check_fractions(name: str, section: Config, data: DatasetFacts) -> None:
    # Of folders, only the first job counts the images.
    if data.images is None:
        return
    images = data.images
    if data.test_images == 0:
        with _about(name, "data.test_fraction"):
            images -= held_out(section["test_fraction"], images, data.classes)
    with _about(name, "data.selection_fraction"):
        held_out(section["selection_fraction"], images, data.classes)


def _check_model(name: str, section: Config) -> None:
    with _about(name, "model.name"):
        model_facts(section["name"])
    checkpoint = section["checkpoint"]
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise ConfigError(f"experiment '{name}', model.checkpoint: there is no file {checkpoint}.")


def _check_recipe(recipe: Config, side: int) -> None:
    warmup, epochs, shift = recipe["warmup_epochs"], recipe["epochs"], recipe["shift"]
    if warmup > epochs:
        raise ConfigError(f"warmup_epochs is {warmup}; allowed is at most epochs, {epochs}.")
    if shift >= side:
        raise ConfigError(f"shift is {shift}; allowed is less than the images' side, {side}.")
    if recipe["cutout"] > side:
        raise ConfigError(
            f"cutout is {recipe['cutout']}; allowed is at most the images' side, {side}."
        )


def _check_dense_network(section: str, recipe: Config, dense: Config) -> None:
    """Refuse what needs a dense network in its own training, or more epochs of it than it had."""
    rewinds, epochs = recipe["schedule"] == "rewind", recipe["epochs"]
    if section != "dense":
        if rewinds and epochs > dense["epochs"]:
            raise ConfigError(
                f"schedule is rewind and epochs is {epochs}; allowed is at most dense.epochs, "
                f"{dense['epochs']}."
            )
    elif rewinds:
        raise ConfigError(
            "schedule is rewind; allowed is one of cosine, step, one_cycle: there is nothing to "
            "rewind yet."
        )
    elif recipe["distillation"] > 0:
        raise ConfigError(
            f"distillation is {recipe['distillation']}; allowed is 0: the dense network is what "
            "others follow."
        )


def _check_policies(name: str, settings: Config) -> None:
    """Refuse policies that use what nobody makes, or cannot keep to a budget."""
    policies = settings["policies"]
    for policy in (known for known in policies if known in POLICIES):
        if POLICIES[policy].uses and METHOD not in policies:
            raise ConfigError(
                f"experiment '{name}', policies: {policy} uses the search of {METHOD}, which is "
                f"not there; name {METHOD}, too."
            )
        other = [b["name"] for b in settings["budgets"] if set(b) - {"name", "macs"}]
        if POLICIES[policy].allocation and other:
            raise ConfigError(
                f"experiment '{name}', policies: {policy} divides MACs among the layers, and the "
                f"budget '{other[0]}' limits something else; leave out one of the two."
            )
        needed, penalty = POLICIES[policy].penalty, settings["model"]["sparsity"]["penalty"]
        if needed and penalty != needed and not settings["model"]["checkpoint"]:
            raise ConfigError(
                f"experiment '{name}', model.sparsity.penalty is {penalty}; the policy {policy} "
                f"needs {needed}, which puts channels in the order that it takes."
            )


def _check_steps(name: str, steps: int, epochs: int) -> None:
    if steps > epochs:
        raise ConfigError(
            f"experiment '{name}', pruning.steps is {steps}; allowed is at most final.epochs, "
            f"{epochs}, one for each."
        )


def _check_latency(name: str, section: Config) -> None:
    runtime = section["runtime"]
    if section["device"] == "cpu" and RUNS_ON.get(runtime) == "cuda":
        raise ConfigError(
            f"experiment '{name}', latency.device is cpu and latency.runtime is {runtime}, which "
            "runs on GPUs alone; take onnxruntime, or the device auto."
        )
    with _about(name, "latency.runtime"):
        check_runtime(runtime)


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two budgets have the name '{name}'; each needs its own.")


def check_sampling(name: str, settings: Config, prunable: Prunable) -> None:
    """Refuse samples that the network cannot be pruned to, or that do not fix the predictor.

    Parameters
    ----------
    name
        The experiment's, for the message.
    settings
        Of the experiment, complete.
    prunable
        What of the network can be pruned.

    Raises
    ------
    ConfigError
        In one sentence that names the experiment and the key.
    """
    with _about(name, "sampling"):
        design = design_of(settings)
    predictor, round_to = settings["predictor"], round_to_of(settings)
    given = {key: settings["sampling"][key] != AUTO for key in (*AXES, "holdout")}
    for axis in AXES:
        if given[axis] and design.kind != "list":
            with _about(name, f"sampling.{axis}"):
                for level in getattr(design, axis):
                    prunable.realize(replace(DENSE, **{axis: level}), round_to)
    for key, points in (("points", design.points), ("holdout", design.holdout)):
        if given.get(key, True):
            with _about(name, f"sampling.{key}"):
                for point in points:
                    prunable.realize(point, round_to)
    last, unknown = last_levels(settings), stretched_points(settings, design)

    def realize(point: Point) -> tuple[float, float, float]:
        if point in unknown:
            return stretched(point, last, prunable, round_to)
        return prunable.realize(point, round_to)

    with _about(name, "sampling"):
        made = {point: realize(point) for point in fitted_points(design)}
        held = {point: realize(point) for point in design.holdout}
        # Where a small network has fewer levels than were planned, some samples are the same one.
        _check_distinct({p: r for p, r in (made | held).items() if p not in unknown})
        # What is to be chosen must have a choice.
        degree, rank = (1 if predictor[key] == "cv" else predictor[key] for key in ORDER)
        few = axes_with_few_levels(settings, prunable)
        check_design(list(made.values()), predictor["kind"], degree, rank, few)
        _check_axes(settings, prunable, list(made.values()))
        if not settings["optimum"]["extrapolate"]:
            _check_reach(settings, list(made.values()))


def _check_axes(
    settings: Config, prunable: Prunable, made: Sequence[tuple[float, float, float]]
) -> None:
    """Refuse a policy that goes by samples of single dimensions where one that is there has none.

    Raises
    ------
    ConfigError
        In one sentence that names the policy and the dimension.
    """
    round_to = round_to_of(settings)
    policies = (p for p in settings["policies"] if p in POLICIES)
    policy = next((p for p in policies if POLICIES[p].uses == AXIS_SAMPLES), None)
    for i, axis in enumerate(AXES):
        sampled = any(r[i] < 1 and all(r[j] == 1 for j in range(3) if j != i) for r in made)
        if policy and not sampled and prunable.nearest(axis, LEAST, round_to) < 1:
            raise ConfigError(
                f"the policy {policy} goes by samples that are pruned along one dimension alone, "
                f"and there is none of {axis}; add one to points, take the design axes or grid, or "
                f"leave {policy} out"
            )


def _check_reach(settings: Config, made: Sequence[tuple[float, float, float]]) -> None:
    """Refuse samples none of whose combinations is small enough for a budget, as far as d w^2 r^2.

    Blocks and channels differ in cost, hence the margin.
    """
    ends = [min(values) for values in zip(*made, strict=True)]
    least = ends[0] * ends[1] ** 2 * ends[2] ** 2
    for budget in settings["budgets"]:
        macs = budget.get("macs", 2)
        if macs <= 1 and least > REACH * macs:
            reached = ", ".join(f"{axis} {end:.3g}" for axis, end in zip(AXES, ends, strict=True))
            needed = ", ".join(f"{axis} {last_level(axis, macs):.3g}" for axis in AXES)
            raise ConfigError(
                f"the samples reach down to {reached}, about {least:.3g} of the MACs, and the "
                f"budget '{budget['name']}' asks for {macs:g}; add levels down to {needed}, or set "
                "optimum.extrapolate to true"
            )


def check_structure(job: Job, structure_file: str) -> Prunable:
    """Check the samples and the kept layers of a model that were not known when the run began.

    Returns
    -------
    Prunable
        What of it can be pruned.

    Raises
    ------
    ConfigError
        See `check_sampling`.
    """
    from prune3d.costs.structure_file import read_structure

    structure = read_structure(structure_file)
    experiment = str(job.wildcards.experiment)
    settings = overlay(job.config["defaults"], job.config["experiments"][experiment] or {})
    _check_keep(experiment, settings, [layer.name for layer in structure.layers])
    prunable = Prunable.of_structure(structure)
    if METHOD in settings["policies"]:
        check_sampling(experiment, settings, prunable)
    return prunable


def _check_keep(name: str, settings: Config, layers: Collection[str]) -> None:
    wrong = why_unmatched(settings["pruning"]["keep"], layers, settings["model"]["name"])
    if wrong is not None:
        raise ConfigError(f"experiment '{name}', pruning.keep: {wrong}.")


def _check_distinct(made: Mapping[Point, tuple[float, float, float]]) -> None:
    seen: dict[tuple[float, float, float], Point] = {}
    for point, ratios in made.items():
        if ratios in seen:
            text = ", ".join(f"{ratio:.4g}" for ratio in ratios)
            raise ConfigError(
                f"{seen[ratios].name} and {point.name} give the same network (depth, width, "
                f"resolution {text}); leave one out."
            )
        seen[ratios] = point


@contextmanager
def _about(experiment: str, key: str) -> Iterator[None]:
    """Put the experiment and the key before what is refused."""
    try:
        yield
    except (ValueError, OSError) as error:
        reason = str(error).rstrip(".")
        if isinstance(error, OSError):
            reason = f"{error.filename} cannot be read ({error.strerror})"
        raise ConfigError(f"experiment '{experiment}', {key}: {reason}.") from None


def _check_complete(settings: Config, schema: Config, name: str) -> None:
    """Refuse settings in which a key is given neither by the experiment nor by the defaults."""
    prefix = "defaults."
    for key in leaf_keys(schema):
        if not key.startswith(prefix):
            continue
        value: Any = settings
        for part in key.removeprefix(prefix).split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise ConfigError(
                    f"experiment '{name}', {key.removeprefix(prefix)}: the key is missing; "
                    "give it there or under defaults."
                )
            value = value[part]

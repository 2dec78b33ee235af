"""The configuration: merging, and every check that can be made before work starts.

Needs neither torch nor Snakemake, so that a wrong value is refused within a second.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prune3d.data.registry import facts as data_facts
from prune3d.errors import ConfigError
from prune3d.models.registry import facts as model_facts
from prune3d.predictor.design import check_design
from prune3d.pruning.options import BLOCK_CRITERIA, CHANNEL_CRITERIA
from prune3d.ratios import kept_blocks, side_of
from prune3d.sampling import Design, fitted_points, sampling_tree, to_points

Config = Mapping[str, Any]


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
                f"there are: {', '.join(config['experiments']) or 'none'}."
            )
    settings = {
        name: overlay(config["defaults"], config["experiments"][name] or {})
        for name in config["run"]
    }
    for name, values in settings.items():
        _check_complete(values, schema, name)
        check_experiment(name, values)
    return settings


def overlay(base: Config, top: Config) -> dict[str, Any]:
    """Return a copy of `base` with the values of `top` laid over it; lists are replaced."""
    merged = copy.deepcopy(dict(base))
    for key, value in top.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = overlay(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def design_of(settings: Config) -> Design:
    """Return an experiment's sampling design."""
    sampling = settings["sampling"]
    return Design(
        kind=sampling["design"],
        depth=tuple(sampling["depth"]),
        width=tuple(sampling["width"]),
        resolution=tuple(sampling["resolution"]),
        points=to_points(sampling["points"]),
        holdout=to_points(sampling["holdout"]),
    )


def check_schema(config: Config, schema: Config) -> None:
    """Refuse unknown keys, wrong types and values out of range, in one sentence."""
    import jsonschema

    strict = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_whole, "number": _is_finite}
    )
    validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=strict)(
        schema
    )
    error = next(iter(sorted(validator.iter_errors(config), key=_position)), None)
    if error is not None:
        raise ConfigError(describe(error))


def _is_whole(checker: Any, value: Any) -> bool:
    # JSON Schema takes 40.0 for an integer; range() does not.
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(checker: Any, value: Any) -> bool:
    return _is_whole(checker, value) or (isinstance(value, float) and math.isfinite(value))


def describe(error: Any) -> str:
    """Return a jsonschema error as one sentence."""
    path = list(error.absolute_path)
    key, value, limit = dotted(path), error.instance, error.validator_value
    if error.validator == "additionalProperties":
        allowed = list(error.schema["properties"])
        unknown = next(name for name in value if name not in allowed)
        close = difflib.get_close_matches(str(unknown), allowed, n=1)
        hint = f"did you mean '{close[0]}'? A" if close else "a"
        where = dotted([*path, unknown])
        return f"{where}: there is no such key; {hint}llowed are: {', '.join(allowed)}."
    if error.validator == "required":
        missing = next(name for name in limit if name not in value)
        return f"{dotted([*path, missing])}: the key is missing."
    return f"{key} is {value!r}; allowed is {_allowed(error)}."


def dotted(path: Sequence[Any]) -> str:
    """Return a key such as ``defaults.sampling.depth[2]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "config"


def leaf_keys(schema: Config) -> list[str]:
    """Return every key that a config can set, as ``defaults.dense.epochs``; lists are one key."""
    root = schema

    def walk(part: Config, path: tuple[str, ...]) -> Iterator[str]:
        part = (
            {**root["$defs"][part["$ref"].rpartition("/")[2]], **part} if "$ref" in part else part
        )
        if "properties" not in part:
            yield ".".join(path)
            return
        for key, value in part["properties"].items():
            yield from walk(value, (*path, key))

    return list(walk(schema, ()))


def check_experiment(name: str, settings: Config) -> None:
    """Refuse values that do not fit together, before any job starts.

    Raises
    ------
    ConfigError
        In one sentence that names the experiment and the key.
    """
    with _about(name, "data.name"):
        data = data_facts(settings["data"]["name"])
    with _about(name, "model.name"):
        model_facts(settings["model"]["name"])
    registries = {"block_criterion": BLOCK_CRITERIA, "channel_criterion": CHANNEL_CRITERIA}
    for key, registry in registries.items():
        with _about(name, f"pruning.{key}"):
            _check_known(settings["pruning"][key], registry)
    for section in ("dense", "finetune", "final"):
        with _about(name, section):
            _check_recipe(settings[section], data.side)
    with _about(name, "budgets"):
        _check_names([budget["name"] for budget in settings["budgets"]])
    _check_sampling(name, settings)


def _check_known(criterion: str, registry: Mapping[str, str]) -> None:
    if criterion not in registry:
        raise ConfigError(f"unknown criterion '{criterion}'; known are: {', '.join(registry)}.")


def _check_recipe(recipe: Config, side: int) -> None:
    warmup, epochs, shift = recipe["warmup_epochs"], recipe["epochs"], recipe["shift"]
    if warmup > epochs:
        raise ConfigError(f"warmup_epochs is {warmup}; allowed is at most epochs, {epochs}.")
    if shift >= side:
        raise ConfigError(f"shift is {shift}; allowed is less than the images' side, {side}.")


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two budgets have the name '{name}'; each needs its own.")


def _check_sampling(name: str, settings: Config) -> None:
    design, predictor = design_of(settings), settings["predictor"]
    model = model_facts(settings["model"]["name"])
    image = data_facts(settings["data"]["name"]).side

    def blocks(depth: float) -> float:
        return kept_blocks(depth, model.blocks, model.fewest_blocks) / model.blocks

    def side(resolution: float) -> float:
        return side_of(resolution, image, model.smallest_side) / image

    if design.kind != "list":
        with _about(name, "sampling.depth"):
            _check_distinct(design.depth, blocks)
        with _about(name, "sampling.width"):
            _check_distinct(design.width, float)
        with _about(name, "sampling.resolution"):
            _check_distinct(design.resolution, side)
    for key, points in (("points", design.points), ("holdout", design.holdout)):
        with _about(name, f"sampling.{key}"):
            for point in points:
                blocks(point.depth), side(point.resolution)
    with _about(name, "sampling.points or sampling.holdout"):
        sampling_tree(design)
    realized = [[blocks(p.depth), p.width, side(p.resolution)] for p in fitted_points(design)]
    with _about(name, "sampling"):
        check_design(realized, predictor["kind"], predictor["degree"], predictor["rank"])


def _check_distinct(levels: Sequence[float], realize: Callable[[float], float]) -> None:
    seen: dict[float, float] = {1.0: 1.0}
    for level in levels:
        ratio = realize(level)
        if ratio in seen:
            raise ConfigError(
                f"{seen[ratio]} and {level} give the same ratio, {ratio:.4g}; leave one out."
            )
        seen[ratio] = level


@contextmanager
def _about(experiment: str, key: str) -> Iterator[None]:
    """Put the experiment and the key before what is refused."""
    try:
        yield
    except ValueError as error:
        reason = str(error).rstrip(".")
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


def _position(error: Any) -> tuple[int, str]:
    # Unknown keys first: a typo often makes another key missing.
    return (error.validator != "additionalProperties", str(list(error.absolute_path)))


_TYPES = {
    "integer": "a whole number without a point",
    "number": "a finite number (write 1.0e-4, not 1e-4)",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a section of keys",
}

_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


def _allowed(error: Any) -> str:
    limit = error.validator_value
    if error.validator in _BOUNDS:
        bounds = [f"{word} {error.schema[k]}" for k, word in _BOUNDS.items() if k in error.schema]
        return " and ".join(bounds)
    if error.validator == "type":
        return _TYPES[limit if isinstance(limit, str) else limit[0]]
    if error.validator == "enum":
        return "one of " + ", ".join(map(str, limit))
    if error.validator in ("minItems", "maxItems"):
        word = "at least" if error.validator == "minItems" else "at most"
        return f"{word} {limit} entries"
    if error.validator == "uniqueItems":
        return "a list without repetitions"
    return "a name of letters, digits and hyphens that starts with a letter or digit"

"""A config against its schema: the first thing that is wrong, as one sentence. Needs no torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prune3d.errors import ConfigError

Config = Mapping[str, Any]


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

_PATTERNS = {
    "^loo$": "a number (write 1.0e-4, not 1e-4) or 'loo'",
    "^cv$": "a whole number or 'cv'",
    "^auto$": "a list or 'auto'",
    "^(auto)$": "a whole number or 'auto'",
    "^[A-Za-z0-9][A-Za-z0-9-]*$": "a name of letters, digits and hyphens",
    "^[A-Za-z0-9][A-Za-z0-9._-]*$": "a name of letters, digits, points, hyphens and underscores",
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
        if error.schema.get("minItems") == error.schema.get("maxItems"):
            return f"exactly {limit} entries"
        word = "at least" if error.validator == "minItems" else "at most"
        return f"{word} {limit} entries"
    if error.validator == "minLength":
        return "text that is not empty"
    if error.validator == "uniqueItems":
        return "a list without repetitions"
    return _PATTERNS.get(limit, f"text that matches {limit}")

"""The table of final networks in 8-bit integers beside the same in floats. Needs no torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import model_validator

from prune3d.records import AtLeastOne, Fraction, JsonKind, Name, Positive, Record, TableKind
from prune3d.report.text import markdown, percent, plain
from prune3d.workflow.paths import final_of

Row = dict[str, Any]
KINDS = ("float", "int8")


class _Measured(Record):
    top1: Fraction
    bytes: AtLeastOne
    latency_ms: Positive


class Int8Record(Record):
    """A final network in both forms, or why there is none."""

    unreachable: Name | None = None
    float: _Measured | None = None
    int8: _Measured | None = None
    images: AtLeastOne | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Int8Record:
        if self.unreachable is None and None in (self.float, self.int8, self.images):
            raise ValueError("it tells of no network")
        return self


class Int8Row(Record):
    """Means over the seeds of a policy."""

    experiment: Name
    budget: Name
    policy: Name
    seeds: AtLeastOne
    float_top1: Fraction
    int8_top1: Fraction
    float_bytes: Positive
    int8_bytes: Positive
    float_latency_ms: Positive
    int8_latency_ms: Positive


INT8 = JsonKind("int8", 1, Int8Record)
SUMMARY = TableKind("int8 table", 1, Int8Row)
COLUMNS = ("top1", "bytes", "latency_ms")


def summarize(files: Iterable[str | Path]) -> list[Row]:
    """Return rows of `SUMMARY` from files of `INT8`; those without a network are left out."""
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for file in files:
        told, final = INT8.read(file), final_of(file)
        if told.get("unreachable") is None:
            key = (final.run.experiment, final.budget, final.policy)
            groups.setdefault(key, []).append(told)
    return [
        {
            **dict(zip(("experiment", "budget", "policy"), key, strict=True)),
            "seeds": len(each),
            **{
                f"{kind}_{column}": float(statistics.fmean(one[kind][column] for one in each))
                for kind in KINDS
                for column in COLUMNS
            },
        }
        for key, each in groups.items()
    ]


def readable(summary: Sequence[Mapping[str, Any]]) -> str:
    """Return the table for people, in Markdown."""
    header = ["experiment", "budget", "policy", "seeds"]
    header += [f"{name}, {kind}" for name in ("test top-1 %", "kB", "ms") for kind in KINDS]
    cells = [
        [
            row["experiment"],
            row["budget"],
            row["policy"],
            str(row["seeds"]),
            *(percent(row[f"{kind}_top1"]) for kind in KINDS),
            *(f"{row[f'{kind}_bytes'] / 1000:.1f}" for kind in KINDS),
            *(plain(row[f"{kind}_latency_ms"]) for kind in KINDS),
        ]
        for row in summary
    ]
    note = "- Both forms in ONNX Runtime on the CPU, timed in turns; means over the seeds."
    return f"{markdown(header, cells)}\n{note}\n"

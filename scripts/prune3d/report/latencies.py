"""The table of latencies: what the final networks take beside the dense one. Needs no torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune3d.files import damaged
from prune3d.pruning.runtimes import TITLES
from prune3d.records import (
    AtLeastOne,
    Count,
    Fraction,
    Name,
    NonNegative,
    Positive,
    Ratio,
    Record,
    TableKind,
)
from prune3d.report.text import markdown, percent, plain

Row = dict[str, Any]


class TimedRow(Record):
    """A network that was timed: the dense one, without a budget, or a final one."""

    experiment: Name
    seed: Count
    budget: Name | None = None
    policy: Name
    macs_ratio: Ratio
    params: AtLeastOne
    test_top1: Fraction
    latency_ms: Positive
    throughput_ms: Positive
    batch_size: AtLeastOne
    throughput_batch_size: AtLeastOne
    runtime: Name
    device: Name
    threads: AtLeastOne
    runs: AtLeastOne


class LatencySummaryRow(Record):
    """Means over the seeds of a policy; speed-ups are to the dense network of the same seed.

    ``_std`` is the sample standard deviation over the seeds, None of one. ``device`` and
    ``threads`` name all machines that the seeds were timed on, with semicolons between them.
    """

    experiment: Name
    budget: Name | None = None
    policy: Name
    seeds: AtLeastOne
    macs_ratio: Ratio
    params: Positive
    test_top1: Fraction
    latency_ms: Positive
    speedup: Positive
    throughput_ms: Positive
    throughput_speedup: Positive
    images_per_second: Positive
    test_top1_std: NonNegative | None = None
    latency_ms_std: NonNegative | None = None
    throughput_ms_std: NonNegative | None = None
    batch_size: AtLeastOne
    throughput_batch_size: AtLeastOne
    runtime: Name
    device: Name
    threads: Name


TIMED = TableKind("timed", 1, TimedRow)
SUMMARY = TableKind("latencies", 3, LatencySummaryRow)
AVERAGED = ("macs_ratio", "params", "test_top1", "latency_ms", "throughput_ms")
SPREAD = ("test_top1", "latency_ms", "throughput_ms")
SAME = ("batch_size", "throughput_batch_size", "runtime")


@dataclass(frozen=True)
class Timed:
    """Passes of one runtime over a batch.

    Attributes
    ----------
    runtime
        Its name.
    batch_size
        Images a pass.
    latency_ms
        Median of the passes in milliseconds.
    speedup
        To the dense network; None where that was not timed.
    """

    runtime: str
    batch_size: int
    latency_ms: float
    speedup: float | None = None


@dataclass(frozen=True)
class Timing:
    """How long a network takes, and where that was measured.

    Attributes
    ----------
    rows
        For each runtime and batch size.
    device
        The processor's name.
    threads
        Of the CPU.
    """

    rows: Sequence[Timed]
    device: str
    threads: int


def timing_of(file: str | Path, budget: str, policy: str) -> Timing:
    """Return how long a final network takes, from the table of its seed.

    Parameters
    ----------
    file
        A table of `TIMED` that has it.
    budget, policy
        Of the network.

    Raises
    ------
    UserError
        If the table is damaged or has no row of it.
    """
    rows = TIMED.read(file)
    dense = _dense_of(rows, file)
    row = next((r for r in rows if (r["budget"], r["policy"]) == (budget, policy)), None)
    if row is None:
        raise damaged(file, f"has no row of the policy {policy} for the budget {budget}")
    runtime = TITLES.get(row["runtime"], row["runtime"])
    timed = [
        Timed(runtime, row[size], row[took], dense[took] / row[took])
        for size, took in (
            ("batch_size", "latency_ms"),
            ("throughput_batch_size", "throughput_ms"),
        )
    ]
    return Timing(timed, row["device"], row["threads"])


def read_timed(files: Iterable[str | Path]) -> list[Row]:
    """Read tables of `TIMED`, one for each seed of each experiment.

    Returns
    -------
    list of dict
        Their rows, with speed-ups to the dense network of the same table, and images a second.

    Raises
    ------
    UserError
        If one has no dense network.
    """
    timed = []
    for file in files:
        rows = TIMED.read(file)
        dense = _dense_of(rows, file)
        for row in rows:
            for kind, name in (("latency", "speedup"), ("throughput", "throughput_speedup")):
                row[name] = dense[f"{kind}_ms"] / row[f"{kind}_ms"]
            row["images_per_second"] = 1000 * row["throughput_batch_size"] / row["throughput_ms"]
        timed += rows
    return timed


def summarize(timed: Iterable[Row]) -> list[Row]:
    """Return the means over the seeds.

    Parameters
    ----------
    timed
        See `read_timed`.

    Returns
    -------
    list of dict
        Rows of `SUMMARY`: of each experiment the dense network, then the final ones.
    """
    groups: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in timed:
        groups.setdefault((row["experiment"], row["budget"], row["policy"]), []).append(row)
    return [_mean(key, rows) for key, rows in groups.items()]


def _dense_of(rows: Sequence[Row], file: str | Path) -> Row:
    """Return the row of the dense network."""
    dense = next((row for row in rows if row["budget"] is None), None)
    if dense is None:
        raise damaged(file, "has no row of the dense network")
    return dense


def _mean(key: tuple[str, str | None, str], rows: Sequence[Row]) -> Row:
    averaged = (*AVERAGED, "speedup", "throughput_speedup", "images_per_second")
    means = {name: statistics.fmean(row[name] for row in rows) for name in averaged}
    several = len(rows) > 1
    spread = {
        f"{name}_std": statistics.stdev(row[name] for row in rows) if several else None
        for name in SPREAD
    }
    named = dict(zip(("experiment", "budget", "policy"), key, strict=True))
    same = {name: rows[0][name] for name in SAME}
    machines = dict.fromkeys((row["device"], str(row["threads"])) for row in rows)
    told = dict(
        zip(("device", "threads"), map("; ".join, zip(*machines, strict=True)), strict=True)
    )
    return {**named, "seeds": len(rows), **means, **spread, **same, **told}


def mixing(timed: Iterable[Row]) -> list[str]:
    """Return a sentence for each experiment of which not all seeds were timed on one machine.

    Parameters
    ----------
    timed
        Rows of `TIMED`.
    """
    found: dict[str, dict[str, None]] = {}
    for row in timed:
        machine = f"{row['device']}, threads: {row['threads']}"
        found.setdefault(row["experiment"], {})[machine] = None
    return [
        f"Means and spreads of milliseconds mix several machines in the experiment {experiment} "
        f"({'; '.join(machines)}); speed-ups do not, each being taken on one."
        for experiment, machines in found.items()
        if len(machines) > 1
    ]


def readable(summary: Sequence[Mapping[str, Any]], mixed: Sequence[str] = ()) -> str:
    """Return the table for people, in Markdown.

    Parameters
    ----------
    summary
        Rows of `SUMMARY`.
    mixed
        See `mixing`.
    """
    header = ["experiment", "budget", "policy", "seeds", "test top-1 %", "MACs %"]
    header += ["ms", "speed-up", "ms a batch", "images/s", "speed-up of the batch"]
    cells = [
        [
            row["experiment"],
            row["budget"] or "-",
            row["policy"],
            str(row["seeds"]),
            percent(row["test_top1"]),
            percent(row["macs_ratio"], digits=1),
            plain(row["latency_ms"]),
            f"{row['speedup']:.2f}",
            plain(row["throughput_ms"]),
            f"{row['images_per_second']:.0f}",
            f"{row['throughput_speedup']:.2f}",
        ]
        for row in summary
    ]
    measured = {
        f"{row['runtime']} on {row['device']}, threads: {row['threads']}; ms are medians for "
        f"{row['batch_size']} image(s), a batch is {row['throughput_batch_size']}"
        for row in summary
    }
    notes = [f"- Measured with {told}." for told in sorted(measured)]
    notes.append("- Speed-ups are to the dense network, measured by the same job.")
    notes += [f"- {told}" for told in mixed]
    return markdown(header, cells) + "\n" + "\n".join(notes) + "\n"

"""What the jobs used, and why some were made again."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune3d.errors import UserError
from prune3d.workflow.attempts import COMPLETED, SUFFIX, Attempt, read_attempts
from prune3d.workflow.paths import job_of

COLUMNS = (
    "rule",
    "jobs",
    "attempts",
    "retries",
    "reasons",
    "seconds",
    "seconds_mean",
    "seconds_longest",
    "cpu_seconds",
    "max_rss_mb",
)
RETRY_COLUMNS = ("rule", "job", "attempt", "reason", "begun", "ended", "slurm_job", "host")


@dataclass
class _Rule:
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    max_rss_mb: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def failures(logs: Iterable[str | Path], running: Path | None = None) -> list[dict[str, Any]]:
    """Return a row for each attempt that did not succeed, with `RETRY_COLUMNS`.

    Parameters
    ----------
    logs
        Log files of jobs, beside which their attempts are noted.
    running
        That of the job that asks, whose latest attempt is no failure.
    """
    rows = []
    for log in sorted(map(Path, logs)):
        rule, job = job_of(log, log.suffix)
        attempts = read_attempts(log.with_suffix(SUFFIX))[: -1 if log == running else None]
        rows += [_failure(rule, job, a) for a in attempts if a.outcome != COMPLETED]
    return rows


def _failure(rule: str, job: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "rule": rule,
        "job": job,
        "attempt": attempt.number,
        "reason": attempt.outcome or "killed",
        "begun": attempt.begun,
        "ended": attempt.ended,
        "slurm_job": attempt.slurm_job,
        "host": attempt.host,
    }


def summarize(
    benchmarks: Iterable[str | Path], failed: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return a row for each rule, with `COLUMNS`, the rule that took longest first.

    Parameters
    ----------
    benchmarks
        What Snakemake measured, a file for each job that has succeeded.
    failed
        See `failures`.
    """
    rules: dict[str, _Rule] = {}
    for path in sorted(map(Path, benchmarks)):
        row = _read_benchmark(path)
        rule = rules.setdefault(job_of(path, path.suffix)[0], _Rule())
        rule.seconds.append(row["s"])
        rule.cpu_seconds.append(row["cpu_time"])
        rule.max_rss_mb.append(row["max_rss"])
    for failure in failed:
        rules.setdefault(failure["rule"], _Rule()).reasons.append(failure["reason"])
    rows = [_row(name, rule) for name, rule in rules.items()]
    return sorted(rows, key=lambda row: (-row["seconds"], row["rule"]))


def _read_benchmark(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8") as stream:
        row = next(csv.DictReader(stream, delimiter="\t"), None)
    if row is None:
        raise UserError(f"{path} has no row; delete it and run its job again.")
    # Snakemake writes NA where a job was too short to be looked at.
    return {key: _number(row.get(key)) for key in ("s", "cpu_time", "max_rss")}


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _row(name: str, rule: _Rule) -> dict[str, Any]:
    jobs = len(rule.seconds)
    counted = sorted(Counter(rule.reasons).items())
    return {
        "rule": name,
        "jobs": jobs,
        "attempts": jobs + len(rule.reasons),
        "retries": len(rule.reasons),
        "reasons": "; ".join(f"{reason}: {count}" for reason, count in counted),
        "seconds": round(sum(rule.seconds), 1),
        "seconds_mean": round(sum(rule.seconds) / jobs, 2) if jobs else 0.0,
        "seconds_longest": round(max(rule.seconds, default=0.0), 1),
        "cpu_seconds": round(sum(rule.cpu_seconds), 1),
        "max_rss_mb": round(max(rule.max_rss_mb, default=0.0), 1),
    }


def in_words(failed: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence about the attempts that failed."""
    if not failed:
        return "every job succeeded at once"
    counted = Counter(row["reason"] for row in failed)
    listed = ", ".join(f"{reason} ({count})" for reason, count in counted.most_common())
    return f"{len(failed)} attempts were made again: {listed}"

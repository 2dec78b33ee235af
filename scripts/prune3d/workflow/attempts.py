"""What became of each attempt at a job, and why it was made again.

Beside the log of a job lies a file with a line for each beginning and each end of an attempt, as
long as not every attempt has succeeded. A process that is killed leaves no line at its end: the
next attempt asks SLURM what happened. Nothing here stops a job: what cannot be noted or read is
left out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from prune3d.errors import one_line
from prune3d.workflow.programs import ask

log = logging.getLogger(__name__)
COMPLETED = "completed"
TERMINATED = "terminated"
SUFFIX = ".attempts.jsonl"
# SLURM's states of ended jobs, in words; FAILED says no more than the job itself does.
STATES = {
    "TIMEOUT": "time limit",
    "DEADLINE": "time limit",
    "CANCELLED": "cancelled",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node failure",
    "BOOT_FAIL": "node failure",
    "OUT_OF_MEMORY": "out of memory",
}
# SIGTERM comes up to a minute earlier than asked for with `--signal`.
SECONDS_BEFORE_TIME_LIMIT = 240.0
SECONDS_A_QUESTION = 20.0
# A line has some hundred; more is no log of attempts.
MOST_BYTES = 10_000_000


@dataclass(frozen=True)
class Attempt:
    """One attempt at a job.

    Attributes
    ----------
    number
        From 1.
    begun, ended
        Times in ISO 8601, UTC; `ended` is empty where the process left none.
    slurm_job
        Number of its SLURM job, or empty.
    host
        Name of the machine.
    outcome
        ``completed``, or why there was none: ``time limit``, ``cancelled``, ``requeued``,
        ``killed``, ``error: ...`` and the like; empty while unknown.
    """

    number: int
    begun: str
    ended: str
    slurm_job: str
    host: str
    outcome: str


class AttemptLog:
    """The attempts at one job.

    Parameters
    ----------
    log
        The job's log file.
    """

    def __init__(self, log: str | Path) -> None:
        self._log = Path(log)
        self.path = self._log.with_suffix(SUFFIX)
        self._number = 0

    def begin(self) -> list[Attempt]:
        """Note that an attempt begins and return the earlier ones, their ends found out."""
        earlier = read_attempts(self.path)
        job = os.environ.get("SLURM_JOB_ID", "")
        if earlier and earlier[-1].outcome != COMPLETED:
            self._append(event="found", outcome=explain(earlier[-1], job))
        self._number = len(earlier) + 1
        self._append(event="begun", slurm_job=job, host=platform.node())
        self._keep_log()
        return read_attempts(self.path)[:-1]

    def end(self, outcome: str) -> None:
        """Note how the attempt ended; one that succeeds at once leaves nothing."""
        if outcome == TERMINATED and _near_time_limit():
            outcome = STATES["TIMEOUT"]
        if outcome == COMPLETED:
            with contextlib.suppress(OSError):
                self._kept().unlink(missing_ok=True)
                if self._number == 1:
                    self.path.unlink(missing_ok=True)
                    return
        self._append(event="ended", outcome=outcome)

    def _append(self, **fields: str) -> None:
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **fields})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as stream:
                # A line that was cut, as by a full disk, must not swallow this one.
                start = "" if _ends_line(stream) else "\n"
                stream.write(f"{start}{line}\n".encode())
        except OSError as error:
            log.warning("the attempt cannot be noted in %s (%s)", self.path, error.strerror)

    def _kept(self) -> Path:
        return self._log.with_suffix(f".attempt{self._number}.log")

    def _keep_log(self) -> None:
        # Snakemake deletes the log before the next attempt; a second name keeps it.
        try:
            self._kept().unlink(missing_ok=True)
            os.link(self._log, self._kept())
        except OSError:
            return


def read_attempts(path: Path) -> list[Attempt]:
    """Read a file of attempts, oldest first; lines that are damaged are left out."""
    rows: list[dict[str, str]] = []
    for entry in filter(None, map(_parse, _lines(path))):
        if entry["event"] == "begun":
            rows.append(entry)
        elif rows:
            rows[-1]["outcome"] = entry["outcome"]
            if entry["event"] == "ended":
                rows[-1]["ended"] = entry["time"]
    return [
        Attempt(i, row["time"], row.get("ended", ""), row["slurm_job"], row["host"], row["outcome"])
        for i, row in enumerate(rows, 1)
    ]


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as stream:
            return stream.read(MOST_BYTES).decode(errors="replace").split("\n")
    except OSError:
        return []


def _parse(line: str) -> dict[str, str] | None:
    """Return the entry of a line, with every field as text, or None if it is damaged."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("event") not in ("begun", "found", "ended"):
        return None
    names = ("event", "time", "slurm_job", "host", "outcome")
    fields = {name: entry.get(name, "") for name in names}
    return {n: one_line(v if isinstance(v, str) else "") for n, v in fields.items()}


def _ends_line(stream: IO[bytes]) -> bool:
    if stream.seek(0, os.SEEK_END) == 0:
        return True
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def explain(attempt: Attempt, slurm_job_now: str) -> str:
    """Return why an attempt has not succeeded, as far as it can be known."""
    if attempt.slurm_job and attempt.slurm_job == slurm_job_now:
        return "requeued"
    state = slurm_state(attempt.slurm_job) if attempt.slurm_job else ""
    return STATES.get(state) or attempt.outcome or "killed"


def slurm_state(job: str) -> str:
    """Return the state of a SLURM job, from accounting or the controller; empty if unknown."""
    for command in (
        ["sacct", "-n", "-X", "-P", "-j", job, "-o", "State"],
        ["squeue", "-h", "-t", "all", "-j", job, "-o", "%T"],
    ):
        words = ask(command, SECONDS_A_QUESTION).text.split()
        # "CANCELLED by 1000"
        if words:
            return words[0]
    return ""


def _near_time_limit() -> bool:
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return False
    question = ["squeue", "-h", "-j", job, "-o", "%L"]
    left = parse_duration(ask(question, SECONDS_A_QUESTION).text.strip())
    return left is not None and left < SECONDS_BEFORE_TIME_LIMIT


def parse_duration(text: str) -> float | None:
    """Return the seconds of SLURM's ``days-hours:minutes:seconds``, or None for other text."""
    days, _, rest = text.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        seconds = 86400.0 * int(days or 0)
    except ValueError:
        return None
    for unit, part in zip((1, 60, 3600), reversed(parts), strict=False):
        seconds += unit * part
    return seconds

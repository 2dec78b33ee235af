"""What became of each attempt at a job, and why it was made again.

Beside the log of a job lies a file with a line for each beginning and each end of an attempt, as
long as not every attempt has succeeded. A process that is killed leaves no line at its end: the
next attempt asks SLURM what happened.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prune3d.errors import UserError

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
            self._kept().unlink(missing_ok=True)
            if self._number == 1:
                self.path.unlink(missing_ok=True)
                return
        self._append(event="ended", outcome=outcome)

    def _append(self, **fields: str) -> None:
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **fields})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

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
    """Read a file of attempts, oldest first; none where there is no file.

    Raises
    ------
    UserError
        If a line is damaged.
    """
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            raise UserError(f"{path}, line {number} is damaged; delete the file.") from None
        if entry["event"] == "begun":
            rows.append({**entry, "ended": "", "outcome": ""})
        elif rows:
            rows[-1]["outcome"] = entry["outcome"]
            if entry["event"] == "ended":
                rows[-1]["ended"] = entry["time"]
    return [
        Attempt(i, row["time"], row["ended"], row["slurm_job"], row["host"], row["outcome"])
        for i, row in enumerate(rows, 1)
    ]


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
        words = _ask(command).split()
        # "CANCELLED by 1000"
        if words:
            return words[0]
    return ""


def _near_time_limit() -> bool:
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return False
    left = parse_duration(_ask(["squeue", "-h", "-j", job, "-o", "%L"]).strip())
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


def _ask(command: Iterable[str]) -> str:
    command = list(command)
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (subprocess.TimeoutExpired, OSError):
        return ""
    return done.stdout if done.returncode == 0 else ""

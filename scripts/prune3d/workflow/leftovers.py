"""Jobs that a killed controller of the workflow left in SLURM."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from prune3d.errors import UserError
from prune3d.workflow.programs import ask

SECONDS_TO_END = 300.0
SECONDS_TO_ANSWER = 120.0
SECONDS_A_QUESTION = 60.0


def cancel_leftovers(
    folder: Path, tell: Callable[[str], object], patience: float = SECONDS_TO_ANSWER
) -> list[str]:
    """Cancel this user's SLURM jobs of this workflow folder and wait until they have ended.

    To be called before the first job is submitted. Trainings keep their state.

    Parameters
    ----------
    folder
        The workflow's folder.
    tell
        Called with a message where there are any, or where SLURM does not answer.
    patience
        Seconds that SLURM's controller may be silent, as while it restarts.

    Returns
    -------
    list of str
        Their numbers.

    Raises
    ------
    UserError
        If they do not end, or SLURM does not answer.
    """
    if shutil.which("squeue") is None:
        return []
    found = _left(folder, tell, patience)
    if not found:
        return []
    tell(f"cancelling {len(found)} jobs that an earlier run left: {', '.join(found)}")
    refused = ask(["scancel", *found], SECONDS_A_QUESTION).failure
    if refused:
        tell(f"scancel says '{refused}'")
    end = time.monotonic() + SECONDS_TO_END
    while left := _left(folder, tell, patience):
        if time.monotonic() > end:
            raise UserError(
                f"the SLURM jobs {', '.join(left)} of an earlier run in {folder} do not end; "
                "cancel them with scancel, wait until squeue does not show them, and run again."
            )
        time.sleep(1)
    return found


def _left(folder: Path, tell: Callable[[str], object], patience: float) -> list[str]:
    """Return the numbers of this user's jobs that Snakemake submitted from a folder."""
    left = []
    for line in _queue(tell, patience).splitlines():
        number, _, rest = line.partition("|")
        # Snakemake names the rule or group in the comment, in which a `|` cannot be.
        where, _, comment = rest.rpartition("|")
        if comment.startswith("rule_") and Path(where) == folder:
            left.append(number)
    return left


def _queue(tell: Callable[[str], object], patience: float) -> str:
    """Return number, folder and comment of each job of this user."""
    command = ["squeue", "-h", "-u", str(os.getuid()), "-o", "%i|%Z|%k"]
    end = time.monotonic() + patience
    while True:
        answer = ask(command, SECONDS_A_QUESTION)
        if not answer.failure:
            return answer.text
        if time.monotonic() > end:
            raise UserError(
                f"SLURM does not answer: squeue says '{answer.failure}'; run on a login node of "
                "the cluster while its controller is up."
            )
        tell(f"waiting for SLURM, which does not answer: {answer.failure}")
        time.sleep(5)

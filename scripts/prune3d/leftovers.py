"""Jobs that a killed controller of the workflow left in SLURM."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from prune3d.errors import UserError

SECONDS_TO_END = 300.0


def cancel_leftovers(folder: Path, tell: Callable[[str], object]) -> list[str]:
    """Cancel this user's SLURM jobs of this workflow folder and wait until they have ended.

    To be called before the first job is submitted. Trainings keep their state.

    Parameters
    ----------
    folder
        The workflow's folder.
    tell
        Called with a message where there are any.

    Returns
    -------
    list of str
        Their numbers.

    Raises
    ------
    UserError
        If they do not end.
    """
    if shutil.which("squeue") is None:
        return []
    found = _left(folder)
    if not found:
        return []
    tell(f"cancelling {len(found)} jobs that an earlier run left: {', '.join(found)}")
    subprocess.run(["scancel", *found], check=False, timeout=60)
    end = time.monotonic() + SECONDS_TO_END
    while left := _left(folder):
        if time.monotonic() > end:
            raise UserError(
                f"the SLURM jobs {', '.join(left)} of an earlier run in {folder} do not end; "
                "cancel them with scancel, wait until squeue does not show them, and run again."
            )
        time.sleep(1)
    return found


def _left(folder: Path) -> list[str]:
    """Return the numbers of this user's jobs that Snakemake submitted from a folder."""
    done = subprocess.run(
        ["squeue", "-h", "-u", getpass.getuser(), "-o", "%i|%Z|%k"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rows = [line.split("|", 2) for line in done.stdout.splitlines()]
    # Snakemake names the rule or group in the comment.
    return [
        number
        for number, where, comment in rows
        if Path(where) == folder and comment.startswith("rule_")
    ]

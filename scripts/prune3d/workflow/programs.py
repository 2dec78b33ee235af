"""Programs of the system that jobs ask: they may be absent, fail, or hang."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from prune3d.errors import UserError


@dataclass(frozen=True)
class Answer:
    """What a program said.

    Attributes
    ----------
    text
        Its standard output; empty where it failed.
    failure
        Why there is no answer, in words; empty where there is one.
    """

    text: str = ""
    failure: str = ""


def ask(command: Sequence[str], seconds: float) -> Answer:
    """Run a program to its end, for at most some seconds, with all that it starts."""
    if shutil.which(command[0]) is None:
        return Answer(failure=f"there is no {command[0]}")
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Answer(failure=str(error.strerror))
    try:
        said, complained = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # What it started holds its output open, too.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        return Answer(failure=f"nothing for {seconds:g} s")
    if process.returncode != 0:
        words = " ".join(complained.split()) or f"exit status {process.returncode}"
        return Answer(failure=words)
    return Answer(said)


def check_interpreter(executable: str) -> None:
    """Refuse a Python whose name a shell takes apart, as Snakemake's scripts would not start.

    Raises
    ------
    UserError
        In one sentence.
    """
    if re.search(r"[\s'\"\\$&;()<>|*?`]", executable):
        raise UserError(
            f"Python lies in a folder whose name has a blank or a sign of the shell: {executable}; "
            "make the environment in a folder without them."
        )

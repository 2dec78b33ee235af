"""A job's work in a child process, so that somebody is left to tell of its death."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from prune3d.processes import die_with, signal_name

# How users and batch systems end a job: nothing that needs an explanation.
ASKED = frozenset(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR1", "SIGUSR2")
)


def go_on_in_child() -> int | None:
    """Go on in a child process while this process waits for its end.

    A SIGTERM is passed on, a SIGINT is left to the child, which the terminal tells as well; on
    Linux the child dies with this process.

    Returns
    -------
    int or None
        None in the child; in this process the signal that ended the child.

    Raises
    ------
    SystemExit
        In this process, where the child has exited, with its status.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    waiting = os.getpid()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, before)
        die_with(waiting)
        return None

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    _, status = os.waitpid(child, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    sys.exit(os.waitstatus_to_exitcode(status))


def explain_death(number: int) -> str:
    """Return what a signal that nobody sent on purpose means, and what to try."""
    name = signal_name(number)
    if number == signal.SIGKILL:
        return (
            f"was ended by {name}, as the system does where memory runs out: no fault of the "
            "config; give it more memory or run fewer jobs at a time, then run again."
        )
    room = " or of a full disk" if number == signal.SIGBUS else ""
    return (
        f"died of {name} within a library: no fault of the config but of the library, of the "
        f"machine{room}; run again, and where it dies again set `compute.channels_last: never`."
    )

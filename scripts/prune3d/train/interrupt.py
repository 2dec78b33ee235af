"""Ending on request: a batch system sends SIGTERM some time before it kills a job.

A job ends at once, but a training that keeps its state first reaches the end of its epoch, so that
the next attempt continues from there.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn


class Interrupted(SystemExit):
    """The job was asked to end; its exit status is that of a process ended by SIGTERM."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class _Request:
    asked = False
    deferred = False


def listen() -> None:
    """End with `Interrupted` on SIGTERM from now on; does nothing outside the main thread."""
    _Request.asked = _Request.deferred = False
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _on_sigterm)


def ignore() -> None:
    """Put the system's own handling of SIGTERM back."""
    _Request.asked = _Request.deferred = False
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def defer() -> None:
    """Wait for the next `stop_if_asked` instead of ending at once."""
    _Request.deferred = True


def is_asked() -> bool:
    """Tell whether a SIGTERM came since `listen`."""
    return _Request.asked


def stop_if_asked() -> None:
    """End here if a SIGTERM came since `defer`; to be called after the state was saved.

    Raises
    ------
    Interrupted
        If the job was asked to end.
    """
    if _Request.asked:
        _end()


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    # A batch system and whoever watches the job may both tell it.
    repeated, _Request.asked = _Request.asked, True
    if not _Request.deferred and not repeated:
        _end()


def _end() -> NoReturn:
    # While Python ends it has no handlers any more: a second signal would change the exit status.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted

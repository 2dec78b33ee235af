"""How long work will take, in words."""

from __future__ import annotations


def time_left(seconds: float, done: float, total: float) -> str:
    """Estimate the time left from the time spent.

    Parameters
    ----------
    seconds
        Time spent on what is done.
    done, total
        Amounts of work in one unit.
    """
    if total <= done:
        return f"done in {in_words(seconds)}"
    if done <= 0:
        return "time left unknown"
    return f"about {in_words(seconds * (total - done) / done)} left"


def in_words(seconds: float) -> str:
    """Return a duration such as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""Errors that a user can cause, told in one sentence."""

from __future__ import annotations

import re

LONGEST = 900
LINE_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


class UserError(ValueError):
    """Something the user can mend: a value, a file, a network that cannot do what is asked.

    Its text is one line of valid Unicode, whatever the names in it hold.
    """

    def __init__(self, *texts: object) -> None:
        super().__init__(*(one_line(str(text)) for text in texts))


def one_line(text: str) -> str:
    """Return a text without line breaks; what cannot be printed becomes escapes.

    Of a very long one, such as with a value that is a whole file, the middle is left out.
    """
    text = LINE_BREAKS.sub(" ", text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 300]} [...] {text[-250:]}"
    return text


def what_failed(error: BaseException) -> str:
    """Return an exception's type and message without line breaks, cut to about 300 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    return text if len(text) <= 300 else f"{text[:300]} ..."


class ConfigError(UserError):
    """A value of the configuration that is not allowed."""


class CheckpointError(UserError):
    """A model file that cannot be read: truncated, foreign, newer, or without a network."""


class PruningError(UserError):
    """A network that cannot be pruned as asked."""


class TrainingError(UserError):
    """A training that cannot go on, such as one whose loss is no longer finite."""

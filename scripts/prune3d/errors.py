"""Errors that a user can cause, told in one sentence."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can mend: a value, a file, a network that cannot do what is asked."""


class ConfigError(UserError):
    """A value of the configuration that is not allowed."""


class CheckpointError(UserError):
    """A model file that cannot be read: truncated, foreign, newer, or without a network."""


class PruningError(UserError):
    """A network that cannot be pruned as asked."""


class TrainingError(UserError):
    """A training that cannot go on, such as one whose loss is no longer finite."""

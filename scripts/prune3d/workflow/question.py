"""What a rule asks of a job's experiment: a method, by the names of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from prune3d.workflow.experiment import Experiment


class Question:
    """A method of `Experiment` with its first arguments, whose others are known for each job.

    Parameters
    ----------
    method
        Its name.
    given
        Its first arguments.

    Attributes
    ----------
    of_attempts
        Whether the answer depends on which attempt at the job it is.
    """

    def __init__(self, method: str, given: tuple[Any, ...]) -> None:
        self._function, self._given = getattr(Experiment, method), given
        parameters = list(inspect.signature(self._function).parameters.values())
        # Once, since planning asks for every job.
        self._others = [(one.name, one.default) for one in parameters[1 + len(given) :]]
        self.of_attempts = any(name == "attempt" for name, _ in self._others)

    def answer(self, experiment: Experiment, wildcards: Any, known: Mapping[str, Any]) -> Any:
        """Return the answer for a job.

        Parameters
        ----------
        experiment
            The job's.
        wildcards
            The job's, with a method ``get``; the method's default stands for one that there is not.
        known
            What else is known, by name, before the wildcards.
        """
        rest = [known.get(n) or wildcards.get(n, default) for n, default in self._others]
        return ordered(self._function(experiment, *self._given, *rest))


def ordered(answer: Any) -> Any:
    """Sort settings by name: in another order in a config they would be others to Snakemake."""
    return dict(sorted(answer.items())) if isinstance(answer, dict) else answer

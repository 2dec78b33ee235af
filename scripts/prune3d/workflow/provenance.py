"""The files ``provenance.json``: how a network was made, and how long that took."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from prune3d.records import Excerpt, JsonKind, NonNegative
from prune3d.train.history import HISTORY


class ProvenanceRecord(Excerpt):
    """The durations of a job, and the provenance of the jobs before it."""

    seconds: dict[str, NonNegative]
    steps: dict[str, ProvenanceRecord]

    @model_validator(mode="after")
    def _has_a_duration(self) -> ProvenanceRecord:
        if "job" not in self.seconds:
            raise ValueError("seconds has no 'job'")
        return self

    def training_seconds(self) -> float | None:
        """Return the time in epochs of the training that is nearest, None where there was none."""
        if "training" in self.seconds:
            return self.seconds["training"] + self.seconds.get("earlier_attempts", 0.0)
        found = (step.training_seconds() for step in self.steps.values())
        return next((seconds for seconds in found if seconds is not None), None)

    def total_seconds(self) -> float:
        """Return the duration of all attempts at the job and at those before it."""
        own = self.seconds["job"] + self.seconds.get("earlier_attempts", 0.0)
        return own + sum(step.total_seconds() for step in self.steps.values())


PROVENANCE = JsonKind("provenance", 1, ProvenanceRecord)


def job_seconds(path: str | Path) -> float:
    """Return the duration of a job and of those that its ``provenance.json`` takes in.

    Of a job that was interrupted and made again, what earlier attempts trained counts, too.
    """
    return ProvenanceRecord.model_validate(PROVENANCE.read(path)).total_seconds()


def epoch_seconds(provenance: str | Path, history: str | Path) -> float | None:
    """Return the mean duration of an epoch of a training, None where nothing was trained.

    Parameters
    ----------
    provenance, history
        The ``provenance.json`` of the network, and the ``history.csv`` of its training.
    """
    known = ProvenanceRecord.model_validate(PROVENANCE.read(provenance))
    epochs, seconds = len(HISTORY.read(history)), known.training_seconds()
    return seconds / epochs if epochs and seconds is not None else None

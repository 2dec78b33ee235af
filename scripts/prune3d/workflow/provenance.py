"""The files ``provenance.json``: how a network was made, and how long that took."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from prune3d.records import Excerpt, JsonKind, NonNegative


class ProvenanceRecord(Excerpt):
    """The durations of a job, and the provenance of the jobs before it."""

    seconds: dict[str, NonNegative]
    steps: dict[str, ProvenanceRecord]

    @model_validator(mode="after")
    def _has_a_duration(self) -> ProvenanceRecord:
        if "job" not in self.seconds:
            raise ValueError("seconds has no 'job'")
        return self

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

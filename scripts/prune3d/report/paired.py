"""What two ways to prune differ by, over the seeds that both were run with."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Effect:
    """A difference over seeds.

    Attributes
    ----------
    mean
        Its mean.
    error
        Its standard error; None for one seed, and where all seeds differ by the same: what they
        would spread by is then unknown.
    seeds
        How many there are.
    """

    mean: float
    error: float | None
    seeds: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Effect:
        """Return the effect of one difference for each seed, of which there is at least one."""
        seeds = len(differences)
        spread = statistics.stdev(differences) if seeds > 1 else 0.0
        # Equal differences of decimal numbers are equal but for the last bits.
        known = spread > 1e-12 * max(1.0, *map(abs, differences))
        return cls(
            statistics.fmean(differences), spread / math.sqrt(seeds) if known else None, seeds
        )

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Return the t interval of a level in (0, 1), None where the spread is unknown."""
        if self.error is None:
            return None
        from scipy.special import stdtrit

        half = float(stdtrit(self.seeds - 1, (1 + level) / 2)) * self.error
        return self.mean - half, self.mean + half


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Effect | None:
    """Return by how much `one` exceeds `other`, values by seed; None without a common seed."""
    differences = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
    return Effect.of(differences) if differences else None

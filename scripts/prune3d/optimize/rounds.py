"""How many networks are tried before one is chosen, and for how long; see `rerank`.

Apart from it, since every planning of the workflow asks, which need not wait for SciPy.
"""

from __future__ import annotations

from dataclasses import dataclass

from prune3d.sampling.tree import AXES

ROUNDS = ("first", "second")


@dataclass(frozen=True)
class RerankOptions:
    """How many networks are tried, and for how long.

    Attributes
    ----------
    candidates
        Networks spread over the tied ones that are tried, the best predicted among them; 0 tries
        none. The best network of each single dimension comes beside them.
    keep
        Networks that are tried once more, for longer: the best predicted, and the best others of
        the first round; below 2 none.
    part
        Part of the final epochs that a network is fine-tuned for in the first round, in (0, 0.5];
        in the second it is twice that.
    """

    candidates: int = 0
    keep: int = 2
    part: float = 0.2

    def places(self, round_name: str) -> int:
        """Return how many networks a round can have."""
        if self.candidates == 0:
            return 0
        first = self.candidates + len(AXES)
        if round_name == ROUNDS[0]:
            return first
        # One alone has nothing to be compared with.
        return min(self.keep, first) if self.keep > 1 else 0

    def part_of(self, round_name: str) -> float:
        """Return the part of the final epochs that a network is fine-tuned for in a round."""
        return self.part * (1 + ROUNDS.index(round_name))

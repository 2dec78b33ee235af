"""What a search for a network returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


class BudgetError(ValueError):
    """No realizable network meets the budget."""


@dataclass(frozen=True)
class NearTie:
    """A network that the predictor puts within 0.001 of the chosen one.

    Attributes
    ----------
    depth, width, resolution : float
        Ratios in (0, 1].
    macs_ratio : float
        MACs as a fraction of the dense network's.
    predicted_accuracy : float
        Fraction.
    """

    depth: float
    width: float
    resolution: float
    macs_ratio: float
    predicted_accuracy: float


@dataclass(frozen=True)
class Choice:
    """The chosen network.

    Attributes
    ----------
    index : tuple of int
        Levels (d, w, s) in the lattice.
    depth, width, resolution : float
        Realized ratios in (0, 1].
    macs, params : int
    macs_ratio : float
        MACs as a fraction of the dense network's.
    predicted_accuracy : float or None
        Fraction; None where no predictor was asked.
    n_candidates : int
        Networks among which it was chosen.
    near_ties : list of NearTie
        Up to 10 next best, best first.
    """

    index: tuple[int, int, int]
    depth: float
    width: float
    resolution: float
    macs: int
    params: int
    macs_ratio: float
    predicted_accuracy: float | None
    n_candidates: int
    near_ties: list[NearTie] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {**asdict(self), "index": list(self.index)}

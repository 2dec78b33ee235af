"""What a search for a network returns."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


class BudgetError(ValueError):
    """No realizable network meets the budget."""


@dataclass(frozen=True)
class NearTie:
    """A network that the predictor puts within 0.001 of the best one.

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
class Ties:
    """The networks that the samples cannot tell from the best, by refits to redrawn labels.

    Attributes
    ----------
    level : float
        A network is tied if it is at least as good as the best in more than this share of refits.
    refits : int
    networks : int
        Tied networks, the best among them.
    examined : int
        Candidates that were compared: all, or as many of the best as `search.MOST_EXAMINED`.
    depth, width, resolution : list of float
        Lowest and highest ratio among the tied networks.
    accuracy_interval : list of float
        5 % and 95 % quantiles over the refits of the chosen network's predicted accuracy.
    optimum_interval : dict
        The same of the ratios of each refit's own optimum among the candidates.
    members : list of dict
        The tied networks, best first: ratios, costs, predicted accuracy, share of refits and index
        in the lattice. Left out of `Choice.to_dict`.
    """

    level: float
    refits: int
    networks: int
    examined: int
    depth: list[float]
    width: list[float]
    resolution: list[float]
    accuracy_interval: list[float]
    optimum_interval: dict[str, list[float]]
    members: list[dict[str, Any]]


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
    latency_ms : float or None
        None where latencies are not known.
    predicted_accuracy : float or None
        Fraction; None where no predictor was asked.
    n_candidates : int
        Networks among which it was chosen.
    near_ties : list of NearTie
        Up to 10 next best, best first.
    ties : Ties or None
        None where no refits were given.
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
    latency_ms: float | None = None
    ties: Ties | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        plain = {**asdict(self), "index": list(self.index)}
        if plain["ties"] is not None:
            del plain["ties"]["members"]
        return plain

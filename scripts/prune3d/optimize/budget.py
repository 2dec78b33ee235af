"""What a network may cost: MACs, parameters, milliseconds, or several of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune3d.costs.lattice import Lattice

FEWEST_ABSOLUTE = 1000  # MACs or parameters; what lies between 1 and this is neither
UNITS = {"macs": "MACs", "params": "parameters", "latency_ms": "ms"}
HAIR = 1e-12  # relative; a network of exactly the budget is within it


@dataclass(frozen=True)
class Budget:
    """Upper limits; at least one is given, and a network must obey all that are.

    Attributes
    ----------
    macs, params : float, optional
        Up to 1 a fraction of the dense network's, from 1,000 on a number of their own.
    latency : float, optional
        Fraction of the dense network's latency, in (0, 1].
    latency_ms : float, optional
        Milliseconds.

    Raises
    ------
    ValueError
        If a limit is none of these, or none is given.
    """

    macs: float | None = None
    params: float | None = None
    latency: float | None = None
    latency_ms: float | None = None

    def __post_init__(self) -> None:
        """Check the limits."""
        given = self.to_dict()
        if not given:
            raise ValueError(
                f"a budget limits nothing; give one or more of {', '.join(self.names())}"
            )
        for name, value in given.items():
            _check(name, value)

    @classmethod
    def names(cls) -> list[str]:
        """Return what can be limited."""
        return [field.name for field in fields(cls)]

    @classmethod
    def of(cls, value: float | Budget | Mapping[str, float]) -> Budget:
        """Read a budget; a number is a fraction of the dense MACs.

        Raises
        ------
        ValueError
            If it is not a budget.
        """
        if isinstance(value, Budget):
            return value
        if isinstance(value, Mapping):
            return cls(**{name: value[name] for name in cls.names() if name in value})
        if not 0 < value <= 1:
            raise ValueError(f"the budget is {value} of the dense MACs but must be in (0, 1]")
        return cls(macs=value)

    def to_dict(self) -> dict[str, float]:
        """Return the limits that are given."""
        return {n: getattr(self, n) for n in self.names() if getattr(self, n) is not None}

    @property
    def needs_latency(self) -> bool:
        """Whether latencies must be known."""
        return self.latency is not None or self.latency_ms is not None

    def limits(self, lattice: Lattice) -> dict[str, float]:
        """Return the most of each resource that is allowed, in its own unit.

        Parameters
        ----------
        lattice : Lattice

        Returns
        -------
        dict
            Of macs, params and latency_ms those that are limited.

        Raises
        ------
        ValueError
            If the lattice does not know a latency or the dense network's parameters.
        """
        limits = {}
        for name in ("macs", "params"):
            value = getattr(self, name)
            if value is not None:
                limits[name] = value * dense(lattice, name) if value <= 1 else float(value)
        if self.needs_latency:
            allowed = [self.latency_ms] if self.latency_ms is not None else []
            whole = dense(lattice, "latency_ms")
            allowed += [self.latency * whole] if self.latency is not None else []
            limits["latency_ms"] = min(allowed)
        return limits

    def describe(self) -> str:
        """Return the limits in words."""
        words = {
            "macs": "{:g} of the dense MACs" if (self.macs or 0) <= 1 else "{:.6g} MACs",
            "params": "{:g} of the dense parameters"
            if (self.params or 0) <= 1
            else "{:.6g} parameters",
            "latency": "{:g} of the dense latency",
            "latency_ms": "{:g} ms",
        }
        return " and ".join(words[name].format(value) for name, value in self.to_dict().items())


def amounts(lattice: Lattice, name: str) -> NDArray[np.float64]:
    """Return what every network needs of a resource, shape (D, W, S).

    Raises
    ------
    ValueError
        If the lattice has no latencies.
    """
    if name == "macs":
        return lattice.macs.astype(np.float64)
    if name == "params":
        return np.broadcast_to(lattice.params[:, :, None].astype(np.float64), lattice.shape)
    if lattice.latency_ms is None:
        raise ValueError("the lattice has no latencies but the budget or the preference needs them")
    return lattice.latency_ms


def dense(lattice: Lattice, name: str) -> float:
    """Return what the dense network needs of a resource.

    Raises
    ------
    ValueError
        If the lattice does not know.
    """
    if name == "macs":
        return float(lattice.dense_macs)
    value = lattice.dense_params if name == "params" else lattice.dense_latency_ms
    if value is None:
        raise ValueError(f"the lattice does not know the dense network's {UNITS[name]}")
    return float(value)


def _check(name: str, value: Any) -> None:
    if name == "latency_ms":
        if not 0 < value < np.inf:
            raise ValueError(f"latency_ms is {value} but must be above 0")
    elif name == "latency":
        if not 0 < value <= 1:
            raise ValueError(
                f"latency is {value} but must be a part of the dense network's, above 0 and at "
                f"most 1; latency_ms takes milliseconds"
            )
    elif not (0 < value <= 1 or FEWEST_ABSOLUTE <= value < np.inf):
        raise ValueError(
            f"{name} is {value} but must be a part of the dense network's, above 0 and at most 1, "
            f"or a number of {UNITS[name]} of at least {FEWEST_ABSOLUTE}"
        )

"""The networks that pruning can really make, with the true cost of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Lattice:
    """Product of D depth levels, W width levels and S image sides.

    Attributes
    ----------
    depth : ndarray of shape (D,)
        Realized depth ratio, in (0, 1].
    width : ndarray of shape (D, W)
        Realized width ratio, in (0, 1]; rounding of channels may make it depend on the depth.
    resolution : ndarray of shape (S,)
        Realized resolution ratio, in (0, 1].
    macs : ndarray of int64 of shape (D, W, S)
        Multiply-accumulates for one image.
    params : ndarray of int64 of shape (D, W)
        Parameters, the same for every image side.
    dense_macs : int
        Multiply-accumulates of the dense network, to which budgets refer.
    dense_params : int, optional
        Its parameters, where budgets refer to them.
    latency_ms : ndarray of shape (D, W, S), optional
        Milliseconds of a forward pass, where they are known.
    dense_latency_ms : float, optional
        Those of the dense network.

    Raises
    ------
    ValueError
        If a shape, a ratio or a cost is not as above.
    """

    depth: NDArray[np.float64]
    width: NDArray[np.float64]
    resolution: NDArray[np.float64]
    macs: NDArray[np.int64]
    params: NDArray[np.int64]
    dense_macs: int
    dense_params: int | None = None
    latency_ms: NDArray[np.float64] | None = None
    dense_latency_ms: float | None = None

    def __post_init__(self) -> None:
        """Make arrays of what was given and check it."""
        for name in ("depth", "width", "resolution"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        for name in ("macs", "params"):
            object.__setattr__(self, name, _whole_numbers(name, getattr(self, name)))
        object.__setattr__(self, "dense_macs", int(self.dense_macs))
        if self.latency_ms is not None:
            object.__setattr__(self, "latency_ms", np.asarray(self.latency_ms, dtype=np.float64))
        self._check_shapes()
        self._check_values()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, W, S)."""
        return len(self.depth), self.width.shape[1], len(self.resolution)

    @property
    def size(self) -> int:
        """Number of networks."""
        return self.macs.size

    def points(self, flat: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """Return depth, width and resolution ratios.

        Parameters
        ----------
        flat : ndarray of int of shape (n,), default=None
            Networks by flat index in C order; None for all D W S.

        Returns
        -------
        ndarray of shape (n, 3)
        """
        chosen = np.arange(self.size) if flat is None else flat
        d, w, s = np.unravel_index(chosen, self.shape)
        return np.column_stack([self.depth[d], self.width[d, w], self.resolution[s]])

    def index(self, flat: int) -> tuple[int, int, int]:
        """Return the levels (d, w, s) of the network at a flat index in C order."""
        d, w, s = np.unravel_index(flat, self.shape)
        return int(d), int(w), int(s)

    def _check_shapes(self) -> None:
        if self.depth.ndim != 1 or self.resolution.ndim != 1 or self.width.ndim != 2:
            raise ValueError(
                f"depth, width and resolution must have 1, 2 and 1 dimensions, got "
                f"{self.depth.ndim}, {self.width.ndim} and {self.resolution.ndim}"
            )
        expected: dict[str, tuple[int, ...]] = {
            "width": self.shape[:2],
            "macs": self.shape,
            "params": self.shape[:2],
        }
        if self.latency_ms is not None:
            expected["latency_ms"] = self.shape
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} has shape {getattr(self, name).shape} but the levels need {shape}"
                )
        if self.size == 0:
            raise ValueError(f"a lattice of shape {self.shape} has no network; give every level")

    def _check_values(self) -> None:
        for name in ("depth", "width", "resolution"):
            values = getattr(self, name)
            wrong = values[~((values > 0) & (values <= 1 + 1e-9))]
            if wrong.size:
                raise ValueError(f"{name} has the ratio {wrong[0]} but ratios must be in (0, 1]")
        if self.latency_ms is not None and not np.all(self.latency_ms > 0):
            raise ValueError("latency_ms must be above 0")
        if self.macs.min() < 0 or self.params.min() < 0:
            raise ValueError("macs and params must not be negative")
        if self.dense_macs < 1:
            raise ValueError(f"dense_macs is {self.dense_macs} but must be at least 1")


def _whole_numbers(name: str, values: object) -> NDArray[np.int64]:
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers, got an array of {array.dtype}")
    return array.astype(np.int64)

"""Sampling designs that make the predictor's error on the budget surface least.

Classical optimal design (Fedorov's exchange) for the polynomial to be fitted: the variance of its
predictions depends on where the samples lie, not on their labels, so that the points can be chosen
before anything is trained. What is minimised is variance x cost^THRIFT. Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray

from prune3d.errors import ConfigError
from prune3d.predictor.basis import basis_values, data_domain, eigenvalues, tensor_rows

Array = NDArray[np.float64]

CRITERIA = ("i", "d")
# Prior precision per unit of roughness: coefficients that no sample determines are not infinitely
# uncertain, so that designs can be compared before they determine everything.
PRIOR = 1e-6
SURFACE_LEVELS = 12
RANDOM_STARTS, LARGE = 4, 1500  # a large search, read with every config, has the greedy start alone
# How much a cheaper sample counts. With 1 (variance per unit spent) designs cling to the smallest
# networks and predict worse; with 0.1 no worse than with 0, and they are cheaper.
THRIFT = 0.1
EXPONENTS = np.array([1.0, 2.0, 2.0])  # cost d w^2 r^2 [paper]


@dataclass(frozen=True)
class Polynomial:
    """The polynomial that will be fitted.

    Attributes
    ----------
    kind
        ``low_rank`` or ``full``.
    degree, rank
        See `prune3d.predictor.design`.
    """

    kind: str
    degree: int
    rank: int = 1

    def rows(self, X: Array, domain: Array) -> Array:
        """Return the derivatives of predictions by the coefficients, shape (n, m).

        A product of curves that are nearly flat varies as their sum; any other polynomial is taken
        as a full one.
        """
        basis = basis_values(X, domain, self.degree)
        if self.kind == "low_rank" and self.rank == 1:
            varying = basis[:, :, 1:].transpose(1, 0, 2).reshape(len(X), -1)
            return np.hstack([np.ones((len(X), 1)), varying])
        return tensor_rows(basis)

    def unknowns(self, dimensions: int) -> int:
        """Return the number of free coefficients."""
        return len(self.charges(dimensions))

    def charges(self, dimensions: int) -> Array:
        """Return the roughness of each coefficient, shape (m,)."""
        one = eigenvalues(self.degree)
        if self.kind == "low_rank" and self.rank == 1:
            return np.concatenate([[0.0], np.tile(one[1:], dimensions)]) ** 3
        return np.asarray(reduce(np.add.outer, [one] * dimensions, np.zeros(())) ** 3).ravel()


@dataclass(frozen=True)
class TreeCost:
    """What a sample costs, in passes over the training images of the dense network.

    Attributes
    ----------
    train
        Passes of the sample itself: fine-tuning, batch norms, its label.
    score
        Passes of its parent, where blocks are removed: they are scored there. A sample pruned from
        a small parent is cheaper than one pruned from the dense network.
    """

    train: float
    score: float


def optimal_points(
    levels: Sequence[Sequence[float]],
    count: int,
    polynomial: Polynomial,
    budgets: Sequence[float],
    cost: TreeCost,
    criterion: str = "d",
    thrift: float = THRIFT,
) -> list[tuple[float, float, float]]:
    """Choose the samples beside the dense network among all combinations of levels.

    Parameters
    ----------
    levels
        Of depth, width and resolution, without 1; none of what cannot be pruned.
    count
        How many samples.
    polynomial
        That will be fitted.
    budgets
        Fractions of the dense MACs on whose surfaces predictions matter; none: everywhere.
    cost
        What a sample costs.
    criterion
        ``i``: the mean variance of predictions on the surfaces; ``d``: the volume of the
        coefficients' confidence region.
    thrift
        See `THRIFT`.

    Returns
    -------
    list of (float, float, float)
        Parents before children, in the order of `prune3d.sampling.tree.nearest_ancestor`.

    Raises
    ------
    ConfigError
        If there are fewer combinations than samples asked for, or too few samples asked for to
        determine the polynomial.
    """
    grid = np.array(sorted(product(*[sorted({1.0, *axis}) for axis in levels])))
    dense = len(grid) - 1  # the last, since no ratio is above 1
    varied = np.flatnonzero((grid < 1).any(axis=0))
    unknowns = polynomial.unknowns(len(varied))
    if count > dense:
        raise ConfigError(
            f"count is {count} but the levels have {dense} combinations beside the dense network; "
            "lower it or add levels."
        )
    if count + 1 < unknowns:
        raise ConfigError(
            f"count is {count}, too few samples for a polynomial with {unknowns} free "
            "coefficients, one of which the dense network gives; allowed is "
            f"{unknowns - 1} and more."
        )
    domain = data_domain(grid[:, varied])
    on_budgets = budget_surface(domain, budgets, EXPONENTS[varied])
    surface = polynomial.rows(on_budgets, domain)
    search = _Search(
        rows=polynomial.rows(grid[:, varied], domain),
        prior=PRIOR * np.diag(polynomial.charges(len(varied)) + 1.0),
        weight=surface.T @ surface / len(surface) if criterion == "i" else None,
        covers=np.all(grid[:, None] >= grid, axis=2) & ~np.eye(len(grid), dtype=bool),
        shallower=grid[:, None, 0] > grid[:, 0],
        macs=np.prod(grid**EXPONENTS, axis=1),
        cost=cost,
        thrift=thrift,
    )
    # Exchanges end in local optima; a few fixed random starts beside the greedy one find better.
    rng = np.random.default_rng(0)
    starts = [search.greedy(dense, count)]
    more = RANDOM_STARTS if count * dense < LARGE else 0
    starts += [[dense, *map(int, rng.permutation(dense)[:count])] for _ in range(more)]
    chosen = min(map(search.exchange, starts), key=search.value)
    points = grid[sorted((i for i in chosen if i != dense), reverse=True)]
    return [(float(d), float(w), float(r)) for d, w, r in points]


def budget_surface(domain: Array, budgets: Sequence[float], exponents: Array = EXPONENTS) -> Array:
    """Return points of the box that have the cost of a budget, or of the whole box if none does.

    Parameters
    ----------
    domain : ndarray of shape (p, 2)
    budgets : sequence of float
    exponents : ndarray of shape (p,)
        Of each dimension in the cost; the last dimension follows from the budget.

    Returns
    -------
    ndarray of shape (n, p)
    """
    lines = [np.linspace(low, high, SURFACE_LEVELS) for low, high in domain]
    others = np.array(list(product(*lines[:-1])))
    part = np.prod(others ** exponents[:-1], axis=1)
    found = []
    for budget in budgets:
        last = (budget / part) ** (1 / exponents[-1])
        inside = (last >= domain[-1, 0]) & (last <= domain[-1, 1])
        found.append(np.column_stack([others[inside], last[inside]]))
    points = np.vstack(found) if found else np.empty((0, len(domain)))
    return points if len(points) else np.array(list(product(*lines)))


@dataclass(frozen=True)
class _Search:
    """Everything that the criterion needs about the N points of the grid."""

    rows: Array
    prior: Array
    weight: Array | None
    covers: NDArray[np.bool_]
    shallower: NDArray[np.bool_]
    macs: Array
    cost: TreeCost
    thrift: float

    def greedy(self, dense: int, count: int) -> list[int]:
        """Add one point at a time."""
        chosen = [dense]
        for _ in range(count):
            chosen.append(self._best([*chosen]))
        return chosen

    def exchange(self, chosen: list[int]) -> list[int]:
        """Replace one point at a time, not the first, until none does better."""
        value = self.value(chosen)
        while True:
            before = value
            for position in range(1, len(chosen)):
                rest = chosen[:position] + chosen[position + 1 :]
                trial = [*rest[:position], self._best(rest), *rest[position:]]
                new = self.value(trial)
                if new < value * (1 - 1e-9):
                    chosen, value = trial, new
            if value >= before * (1 - 1e-9):
                return chosen

    def value(self, chosen: Sequence[int]) -> float:
        """Return variance x cost^thrift of a design."""
        *rest, last = chosen
        return float(self._values(rest)[last])

    def _best(self, rest: Sequence[int]) -> int:
        values = self._values(rest)
        values[list(rest)] = np.inf
        return int(np.argmin(values))

    def _values(self, rest: Sequence[int]) -> Array:
        """Return variance x cost^thrift when each point of the grid is added to the others."""
        own = self.rows[list(rest)]
        inverse = np.linalg.inv(own.T @ own + self.prior)
        leverage = np.einsum("na,ab,nb->n", self.rows, inverse, self.rows)
        if self.weight is None:
            # det(M + x x^T) = det(M) (1 + leverage), per coefficient.
            _, log = np.linalg.slogdet(inverse)
            variance = np.exp((log - np.log1p(leverage)) / len(inverse))
        else:
            spread = inverse @ self.weight @ inverse
            gain = np.einsum("na,ab,nb->n", self.rows, spread, self.rows) / (1 + leverage)
            variance = np.trace(self.weight @ inverse) - gain
        return np.asarray(variance * self._costs(rest) ** self.thrift)

    def _costs(self, rest: Sequence[int]) -> Array:
        """Return the cost of the tree when each point of the grid is added."""
        every = np.arange(len(self.macs))
        members = np.column_stack([np.tile(np.asarray(rest), (len(every), 1)), every])
        # Sorted, the first that covers a point is its parent.
        members.sort(axis=1)
        covers = self.covers[members[:, :, None], members[:, None, :]]
        first = np.argmax(covers, axis=1)
        parents = np.take_along_axis(members, first, axis=1)
        scored = covers.any(axis=1) & self.shallower[parents, members]
        own = self.macs[members] * covers.any(axis=1)  # the dense network has no parent
        return np.asarray(
            self.cost.train * own.sum(axis=1)
            + self.cost.score * np.sum(self.macs[parents] * scored, axis=1)
        )

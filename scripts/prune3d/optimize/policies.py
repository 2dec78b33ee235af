"""What each policy prunes to: the method's optimum, and the choices of its rivals. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prune3d.costs.lattice import Lattice
from prune3d.costs.structure import Structure, enumerate_lattice
from prune3d.costs.structure_file import read_removal_order, read_structure
from prune3d.costs.work import Work
from prune3d.errors import PruningError
from prune3d.optimize import (
    Budget,
    BudgetError,
    Choice,
    maximize,
    solve_kkt,
)
from prune3d.optimize.budget import HAIR
from prune3d.optimize.kkt import MACS, PARAMS, PowerLaw
from prune3d.pruning.latency import LatencyTable, read_latencies
from prune3d.sampling.table import Samples
from prune3d.sampling.tree import AXES

if TYPE_CHECKING:
    from torch import nn

    from prune3d.predictor import Ensemble


@dataclass(frozen=True)
class LatticeOptions:
    """Which networks are realizable.

    Attributes
    ----------
    width_step
        Step of the width ratio; 1.0 is off: it leaves the full width alone.
    side_step
        Step of the image side in pixels, down from the dense network's.
    round_to
        Channels are kept in multiples of this.
    """

    width_step: float = 1.0
    side_step: int = 1
    round_to: int = 1


@dataclass(frozen=True)
class OptimumOptions:
    """How the optimum is chosen.

    Attributes
    ----------
    prefer
        ``none``, ``params`` or ``latency``: which of the tied networks is taken.
    extrapolate
        Whether networks outside the sampled region may be chosen.
    """

    prefer: str = "none"
    extrapolate: bool = False


@dataclass(frozen=True)
class Candidates:
    """The realizable networks.

    Attributes
    ----------
    lattice
        Their ratios and costs, the dense network first.
    widths
        The width ratio to ask for at each width level, which is not quite the realized one.
    removal_order
        Blocks in the order in which they go.
    """

    lattice: Lattice
    widths: NDArray[np.float64]
    removal_order: tuple[str, ...] = ()


def distinct_widths(structure: Structure, options: LatticeOptions) -> NDArray[np.float64]:
    """Return width ratios descending from 1 that keep different channels, shape (W,)."""
    steps = int(np.ceil(1 / options.width_step - 1e-9))
    widths = 1 - options.width_step * np.arange(steps, dtype=np.float64)
    kept = structure.kept(widths, options.round_to)
    channels = np.array([*kept.values(), np.zeros(steps, dtype=np.int64)])
    changes = (np.diff(channels, axis=1) != 0).any(0)
    return widths[np.concatenate([[True], changes])]


def enumerate_candidates(
    structure: Structure,
    removal_order: Sequence[str],
    options: LatticeOptions,
    latencies: LatencyTable | None = None,
) -> Candidates:
    """Enumerate the realizable networks, with their latencies where those are known."""
    widths = distinct_widths(structure, options)
    sides = structure.sides[:: -options.side_step]
    lattice = enumerate_lattice(structure, removal_order, widths, sides, options.round_to)
    # The first network is the dense one.
    lattice = replace(lattice, dense_params=int(lattice.params[0, 0]))
    if latencies is not None:
        work = Work(structure, removal_order, options.round_to)
        found = latencies.at(lattice.depth, widths, np.asarray(sides, dtype=float), work)
        lattice = replace(lattice, latency_ms=found, dense_latency_ms=float(found[0, 0, 0]))
    return Candidates(lattice, widths, tuple(removal_order))


def read_candidates(
    options: LatticeOptions,
    structure: str,
    blocks: str | None,
    latency: str | None,
    shuffled: int | None = None,
) -> Candidates:
    """Enumerate the realizable networks from files.

    Blocks go in the order of a file or, with a seed for it, in a random one. Without either depth
    is not a dimension. Latencies are of networks whose blocks went in the order of the file, and
    whose channels are in the multiples of the options.
    """
    known = read_structure(structure)
    order = read_removal_order(blocks, known)
    timed = Work(known, order, options.round_to)
    latencies = read_latencies(latency, timed) if latency else None
    if shuffled is not None:
        order = np.random.default_rng(shuffled).permutation(sorted(known.removable)).tolist()
    return enumerate_candidates(known, order, options, latencies)


def optimal_target(
    predictor: Any,
    samples: Samples,
    candidates: Candidates,
    budget: Budget,
    options: OptimumOptions | None = None,
    refits: Ensemble | None = None,
) -> dict[str, Any]:
    """Return the optimum of the method, for JSON.

    Parameters
    ----------
    predictor
        Fitted, with ``predict`` and ``gradient``.
    samples
        Those that it was fitted to; they bound the region that is searched.
    candidates
        The realizable networks.
    budget
        What the network may cost.
    options
        How to choose.
    refits
        The predictor refitted to redrawn labels; without it nothing is said about ties.

    Returns
    -------
    dict
        See `describe`, with ``region``, the continuous solution ``kkt`` and ``extrapolated``, the
        dimensions in which the network lies outside the region; or ``unreachable``. ``members``
        has the tied networks, for a table of their own.
    """
    options = options or OptimumOptions()
    region = samples.region()
    lattice = candidates.lattice
    searched = searched_region(samples, lattice, options)
    extra = {
        "region": region.tolist(),
        "kkt": solve_kkt(predictor, power_laws(lattice, budget), searched).to_dict(),
        "policy": "dwr",
        "prefer": options.prefer,
        **describe_budget(lattice, budget),
    }
    try:
        choice = maximize(
            predictor, lattice, budget, region=searched, refits=refits, prefer=options.prefer
        )
    except BudgetError as error:
        return {**extra, "unreachable": str(error), "members": []}
    members = choice.ties.members if choice.ties else []
    network = describe(choice, candidates)
    outside = extrapolated(network, region)
    return {**extra, **network, "extrapolated": outside, "members": members}


def searched_region(
    samples: Samples, lattice: Lattice, options: OptimumOptions
) -> NDArray[np.float64]:
    """Return the lowest and highest depth, width and resolution that are searched, shape (3, 2)."""
    return _whole(lattice) if options.extrapolate else samples.region()


def extrapolated(network: Mapping[str, Any], region: ArrayLike) -> list[str]:
    """Return the dimensions in which a network lies outside the sampled region."""
    return [
        name
        for name, (low, high) in zip(AXES, np.asarray(region), strict=True)
        if not low - 1e-9 <= network[name] <= high + 1e-9
    ]


def power_laws(lattice: Lattice, budget: Budget) -> float | list[PowerLaw]:
    """Return a budget as powers of the ratios; one of MACs alone is the paper's d w^2 r^2.

    The exponents of latency are fitted to the lattice by least squares in the logarithms.
    """
    limits = budget.limits(lattice)
    laws = []
    for name, limit in limits.items():
        if name == "macs":
            laws.append(PowerLaw(name, tuple(MACS), min(1.0, limit / lattice.dense_macs)))
        elif name == "params":
            part = limit / float(lattice.dense_params or 1)
            laws.append(PowerLaw(name, tuple(PARAMS), min(1.0, part)))
        else:
            laws.append(_latency_law(lattice, limit))
    return laws[0].budget if list(limits) == ["macs"] else laws


def _latency_law(lattice: Lattice, limit: float) -> PowerLaw:
    assert lattice.latency_ms is not None  # or the budget would have been refused
    X = np.log(lattice.points())
    design = np.column_stack([np.ones(len(X)), X])
    level, *exponents = np.linalg.lstsq(design, np.log(lattice.latency_ms.ravel()))[0]
    known = tuple(max(0.0, float(e)) for e in exponents)
    return PowerLaw("latency_ms", (known[0], known[1], known[2]), float(limit / np.exp(level)))


def describe_budget(lattice: Lattice, budget: Budget) -> dict[str, Any]:
    """Return a budget as it was given, and the limits that follow from it."""
    limits = budget.limits(lattice)
    ratio = limits["macs"] / lattice.dense_macs if "macs" in limits else None
    return {"budget": budget.to_dict(), "limits": limits, "budget_macs": ratio}


def _whole(lattice: Lattice) -> NDArray[np.float64]:
    points = (lattice.depth, lattice.width, lattice.resolution)
    return np.array([[values.min(), values.max()] for values in points])


def describe(choice: Choice, candidates: Candidates) -> dict[str, Any]:
    """Return a choice with the width ratio to ask for and the size of the lattice."""
    return {
        **choice.to_dict(),
        "width_asked": float(candidates.widths[choice.index[1]]),
        "lattice_networks": int(candidates.lattice.macs.size),
    }


def check_delivered(
    model: nn.Module, target: Mapping[str, Any], *, is_allocated: bool = False
) -> None:
    """Compare the measured MACs and parameters of a pruned network with those it was chosen for.

    Where each layer keeps another share of its channels, it has no more MACs, and parameters of its
    own.

    Raises
    ------
    PruningError
        If they differ or exceed the budget.
    """
    from prune3d.pruning.realized import realized

    measured = realized(model)
    for key in ("macs", "params"):
        if measured[key] != target[key] and not is_allocated:
            raise PruningError(
                f"the pruned network has {measured[key]} {key} but {target[key]} were expected; "
                "this is a defect of prune3d, please report it with your model."
            )
    for key, limit in target["limits"].items():
        # Latency is interpolated from measurements, not counted.
        if key in measured and measured[key] > limit * (1 + HAIR):
            raise PruningError(
                f"the pruned network has {measured[key]} {key}, above the budget of {limit:g}."
            )

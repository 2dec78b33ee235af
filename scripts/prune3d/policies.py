"""What each policy prunes to: the method's optimum, and the choices of its rivals. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prune3d.errors import PruningError
from prune3d.optimize import BudgetError, Choice, Lattice, largest_within, maximize, solve_kkt
from prune3d.ratios import kept_channels
from prune3d.samples import Samples
from prune3d.structure import Structure, enumerate_lattice

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LatticeOptions:
    """Which networks are realizable.

    Attributes
    ----------
    width_step
        Step of the width ratio; 1 leaves the full width alone.
    side_step
        Step of the image side in pixels, down from the dense network's.
    round_to
        Channels are kept in multiples of this.
    """

    width_step: float = 1.0
    side_step: int = 1
    round_to: int = 1


@dataclass(frozen=True)
class Candidates:
    """The realizable networks.

    Attributes
    ----------
    lattice
        Their ratios and costs, the dense network first.
    widths
        The width ratio to ask for at each width level, which is not quite the realized one.
    """

    lattice: Lattice
    widths: NDArray[np.float64]


def distinct_widths(structure: Structure, options: LatticeOptions) -> NDArray[np.float64]:
    """Return width ratios descending from 1 that keep different channels, shape (W,)."""
    steps = int(np.ceil(1 / options.width_step - 1e-9))
    widths = 1 - options.width_step * np.arange(steps, dtype=np.float64)
    kept = kept_channels(structure.groups, widths, options.round_to)
    channels = np.array([*kept.values(), np.zeros(steps, dtype=np.int64)])
    changes = (np.diff(channels, axis=1) != 0).any(0)
    return widths[np.concatenate([[True], changes])]


def enumerate_candidates(
    structure: Structure, removal_order: Sequence[str], options: LatticeOptions
) -> Candidates:
    """Enumerate the realizable networks."""
    widths = distinct_widths(structure, options)
    sides = structure.sides[:: -options.side_step]
    lattice = enumerate_lattice(structure, removal_order, widths, sides, options.round_to)
    return Candidates(lattice, widths)


def optimal_target(
    predictor: Any,
    samples: Samples,
    structure: Structure,
    removal_order: Sequence[str],
    budget: float,
    options: LatticeOptions,
) -> dict[str, Any]:
    """Return the optimum of the method, for JSON.

    Parameters
    ----------
    predictor
        Fitted, with ``predict`` and ``gradient``.
    samples
        Those that it was fitted to; they bound the region that is searched.
    structure
        Of the dense network.
    removal_order
        Its removable blocks, the least important first.
    budget
        Ratio of the dense network's MACs, in (0, 1].
    options
        The lattice.

    Returns
    -------
    dict
        See `describe`, with ``region`` and the continuous solution ``kkt``; or ``unreachable``.
    """
    region = samples.region()
    candidates = enumerate_candidates(structure, removal_order, options)
    continuous = solve_kkt(predictor, budget, region).to_dict()
    extra = {"region": region.tolist(), "kkt": continuous, "policy": "dwr", "budget_macs": budget}
    try:
        choice = maximize(predictor, candidates.lattice, budget, region=region)
    except BudgetError as error:
        return {**extra, "unreachable": str(error)}
    return {**extra, **describe(choice, candidates)}


def rival_target(
    policy: str,
    structure: Structure,
    removal_order: Sequence[str],
    budget: float,
    options: LatticeOptions,
) -> dict[str, Any]:
    """Return what a policy that prunes one dimension alone prunes to, for JSON.

    Parameters
    ----------
    policy
        ``depth``, ``width`` or ``resolution``.
    structure, removal_order, budget, options
        See `optimal_target`.

    Returns
    -------
    dict
        The largest network within the budget, see `describe`; or ``unreachable``.
    """
    candidates = enumerate_candidates(structure, removal_order, options)
    extra = {"policy": policy, "budget_macs": budget}
    try:
        choice = largest_within(candidates.lattice, budget, policy)
    except BudgetError as error:
        return {**extra, "unreachable": str(error)}
    return {**extra, **describe(choice, candidates)}


def describe(choice: Choice, candidates: Candidates) -> dict[str, Any]:
    """Return a choice with the width ratio to ask for and the size of the lattice."""
    return {
        **choice.to_dict(),
        "width_asked": float(candidates.widths[choice.index[1]]),
        "lattice_networks": int(candidates.lattice.macs.size),
    }


def check_delivered(model: nn.Module, target: Mapping[str, Any]) -> None:
    """Compare the measured MACs and parameters of a pruned network with those it was chosen for.

    Raises
    ------
    PruningError
        If they differ or exceed the budget.
    """
    from prune3d.pruning.realized import realized

    measured = realized(model)
    for key in ("macs", "params"):
        if measured[key] != target[key]:
            raise PruningError(
                f"the pruned network has {measured[key]} {key} but {target[key]} were expected; "
                "this is a defect of prune3d, please report it with your model."
            )
    if measured["macs_ratio"] > target["budget_macs"]:
        raise PruningError(
            f"the pruned network has {measured['macs_ratio']:.4f} of the dense MACs, above the "
            f"budget of {target['budget_macs']}."
        )

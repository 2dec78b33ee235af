"""The predicted optimum over a series of budgets. No torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prune3d.costs.lattice import Lattice
from prune3d.optimize.policies import OptimumOptions, searched_region
from prune3d.optimize.search import inside, maximize
from prune3d.records import AtLeastOne, Count, Name, Positive, Ratio, Record, TableKind
from prune3d.sampling.table import Samples
from prune3d.sampling.tree import AXES

if TYPE_CHECKING:
    from prune3d.predictor import Ensemble

BUDGETS = 24


class OptimumRow(Record):
    """The network of the highest prediction within a budget, and how far its equals reach."""

    experiment: Name
    seed: Count
    budget_macs: Ratio
    depth: Ratio
    width: Ratio
    resolution: Ratio
    macs: Count
    macs_ratio: Positive
    params: Count
    predicted_accuracy: float
    accuracy_low: float
    accuracy_high: float
    tied: AtLeastOne
    depth_low: Ratio
    depth_high: Ratio
    width_low: Ratio
    width_high: Ratio
    resolution_low: Ratio
    resolution_high: Ratio


OPTIMA = TableKind("optima", 1, OptimumRow)


def budgets_of(lattice: Lattice, region: NDArray[np.float64]) -> list[float]:
    """Return parts of the dense MACs, from that of the cheapest network of a region to all.

    They grow by one factor; where the cheapest network is the dense one there is one budget.
    """
    macs = lattice.macs[inside(lattice, region)]
    least = float(macs.min()) / lattice.dense_macs
    if least >= 1:
        return [1.0]
    series = np.geomspace(least, 1.0, BUDGETS)
    # Rounding must leave the cheapest network within the first, and none above all.
    series[[0, -1]] = least, 1.0
    return [float(part) for part in series]


def optima_over_budgets(
    predictor: Any,
    samples: Samples,
    lattice: Lattice,
    options: OptimumOptions,
    refits: Ensemble,
) -> list[dict[str, Any]]:
    """Find the network of the highest prediction within each of a series of budgets of MACs.

    Parameters
    ----------
    predictor
        Fitted.
    samples
        Those that it was fitted to; they bound the region that is searched.
    lattice
        The realizable networks.
    options
        Whether networks outside the sampled region are searched. Which of the tied ones is
        preferred does not matter: it is that of the highest prediction.
    refits
        The predictor refitted to redrawn labels.

    Returns
    -------
    list of dict
        Rows of `OPTIMA` but experiment and seed, by rising budget.
    """
    region = searched_region(samples, lattice, options)
    rows = []
    for budget in budgets_of(lattice, region):
        choice = maximize(predictor, lattice, budget, region=region, refits=refits)
        ties = choice.ties
        assert ties is not None  # since there are refits
        known = ("depth", "width", "resolution", "macs", "macs_ratio", "params")
        row = {"budget_macs": budget, **{name: getattr(choice, name) for name in known}}
        row["predicted_accuracy"], row["tied"] = choice.predicted_accuracy, ties.networks
        row["accuracy_low"], row["accuracy_high"] = ties.accuracy_interval
        for axis in AXES:
            row[f"{axis}_low"], row[f"{axis}_high"] = getattr(ties, axis)
        rows.append(row)
    return rows

"""The MACs that a budget allows."""

from __future__ import annotations

from prune3d.optimize.lattice import Lattice


def allowed_macs(lattice: Lattice, budget: float) -> float:
    """Return the most MACs within a budget.

    Parameters
    ----------
    lattice : Lattice
    budget : float
        Fraction of the dense MACs, in (0, 1].

    Returns
    -------
    float
        A hair above budget x dense MACs, so that a network of exactly that cost is within it.

    Raises
    ------
    ValueError
        If the budget is not in (0, 1].
    """
    if not 0 < budget <= 1:
        raise ValueError(f"the budget is {budget} of the dense MACs but must be in (0, 1]")
    return budget * lattice.dense_macs * (1 + 1e-12)

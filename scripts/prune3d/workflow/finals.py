"""Pruning the dense network to what was chosen, in a job of the workflow.

Apart from the trainings (`prune3d.workflow.session`), which the code of the search must not rerun.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from prune3d.costs.count import takes_side
from prune3d.costs.ratios import side_of
from prune3d.costs.structure_file import read_removal_order
from prune3d.data.images import load_splits
from prune3d.models.assembly import get_spec
from prune3d.models.checkpoint import load
from prune3d.optimize.policies import check_delivered
from prune3d.pruning import PruningOptions, prune
from prune3d.pruning.joint import cost_of_dense

if TYPE_CHECKING:
    from prune3d.workflow.job import Job


def prune_dense(job: Job, target: Mapping[str, Any], is_filling_budget: bool = False) -> nn.Module:
    """Prune the dense network to what was chosen, and check that it costs what was composed.

    Parameters
    ----------
    job
        With inputs ``origin``, the dense network or one on the way, ``train``, ``selection`` and,
        where blocks go, ``blocks``.
    target
        Ratios and costs, the ``limits`` of the budget, and ``removal_order`` where it is not that
        of the blocks' file.
    is_filling_budget
        Whether as many channels stay as the budget's MACs allow, not as the target has.
    """
    origin = load_origin(job)
    if is_filling_budget:
        macs = min(1.0, target["limits"]["macs"] / cost_of_dense(origin))
        pruned = _prune(job, {**target, "width_asked": None}, origin, macs)
    else:
        pruned = _prune(job, target, origin)
    is_allocated = job.params["allocation"] not in (None, "uniform")
    check_delivered(pruned, target, is_allocated=is_allocated)
    return pruned


def prune_on_the_way(job: Job, target: Mapping[str, Any], part: float) -> nn.Module:
    """Prune a network to a part of the way, in the logarithms of the ratios, to what was chosen.

    All blocks go at once: where channels have gone before, some networks can lose no more of them.
    The image side is the smallest that the network takes from there on.

    Parameters
    ----------
    job, target
        See `prune_dense`.
    part
        In (0, 1].
    """
    origin = load_origin(job)
    ratios = {axis: target[axis] ** part for axis in ("width_asked", "resolution")}
    spec = get_spec(origin)
    sides = range(side_of(ratios["resolution"], spec.image_size), spec.side)
    side = next((side for side in sides if takes_side(origin, side)), spec.side)
    return _prune(job, {**target, **ratios, "resolution": side / spec.image_size}, origin)


def load_origin(job: Job) -> nn.Module:
    """Load the network that is pruned, of the input ``origin``."""
    return load(job.input.origin, job.device(), job.params["own_network"])


def _prune(
    job: Job, target: Mapping[str, Any], origin: nn.Module, macs: float | None = None
) -> nn.Module:
    options = job.read(PruningOptions, seed=job.seed("pruning"))
    images = load_splits(job.input.train, job.input.selection)
    return prune(
        origin,
        target["depth"],
        target["width_asked"],
        target["resolution"],
        macs=macs,
        options=options,
        images=images.probe(options.probe_images, options.seed).with_batches_on(job.device()),
        removal_order=target.get("removal_order")
        or read_removal_order(job.optional_input("blocks")),
    )

"""Pruning the dense network to what was chosen, in a job of the workflow.

Apart from the trainings (`prune3d.workflow.session`), which the code of the search must not rerun.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from prune3d.costs.structure_file import read_removal_order
from prune3d.data.images import load_splits
from prune3d.models.checkpoint import load
from prune3d.optimize.policies import check_delivered
from prune3d.pruning import PruningOptions, prune

if TYPE_CHECKING:
    from prune3d.workflow.job import Job


def prune_dense(job: Job, target: Mapping[str, Any]) -> nn.Module:
    """Prune the dense network to what was chosen, and check that it costs what was composed.

    Parameters
    ----------
    job
        With inputs ``dense``, ``train``, ``selection`` and, where blocks go, ``blocks``.
    target
        Ratios and costs, the ``limits`` of the budget, and ``removal_order`` where it is not that
        of the blocks' file.
    """
    device = job.device()
    options = job.read(PruningOptions, seed=job.seed("pruning"))
    images = load_splits(job.input.train, job.input.selection)
    pruned = prune(
        load(job.input.dense, device, job.params["own_network"]),
        target["depth"],
        target["width_asked"],
        target["resolution"],
        options=options,
        images=images.probe(options.probe_images, options.seed).with_batches_on(device),
        removal_order=target.get("removal_order")
        or read_removal_order(job.optional_input("blocks")),
    )
    check_delivered(pruned, target, is_allocated=options.allocation != "uniform")
    return pruned

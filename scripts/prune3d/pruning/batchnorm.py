"""Batch-norm statistics of a network whose layers have changed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.data.images import Images
from prune3d.models.assembly import get_spec
from prune3d.pruning.options import PruningOptions


def reestimate_statistics(model: nn.Module, images: Images, options: PruningOptions) -> int:
    """Replace running means and variances by averages over training images, in place.

    As "precise batch-norm statistics" in pycls: the average over batches, not an exponential one.

    Returns
    -------
    int
        Images passed through the network.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    chosen = images.subset(options.probe_images, options.seed)
    training = model.training
    model.train()
    with torch.no_grad():
        for batch in chosen.batches(get_spec(model).side):
            model(batch)
    model.train(training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return len(chosen)

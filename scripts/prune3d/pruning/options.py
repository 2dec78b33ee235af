"""How to prune, and the criteria that can be named. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_CRITERIA = {
    "dbp": "prune3d.pruning.block_criteria:discrimination",
    "random": "prune3d.pruning.block_criteria:random",
}

CHANNEL_CRITERIA = {
    "batchnorm_scale": "prune3d.pruning.channel_criteria:batchnorm_scale",
    "l1": "prune3d.pruning.channel_criteria:l1",
    "l2": "prune3d.pruning.channel_criteria:l2",
    "random": "prune3d.pruning.channel_criteria:random",
}


@dataclass(frozen=True)
class PruningOptions:
    """Choices that hold for every pruning of a run.

    Attributes
    ----------
    block_criterion
        A name in `BLOCK_CRITERIA`.
    channel_criterion
        A name in `CHANNEL_CRITERIA`.
    round_to
        Channels are kept in multiples of this.
    probe_images
        Training images, at most, on which blocks are scored and batch-norm statistics estimated.
    seed
        For the choice of those images and for the random criteria.
    """

    block_criterion: str = "dbp"
    channel_criterion: str = "batchnorm_scale"
    round_to: int = 1
    probe_images: int = 2048
    seed: int = 0

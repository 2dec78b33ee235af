"""How to prune, and the criteria that can be named. Needs no torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prune3d.errors import PruningError, UserError
from prune3d.models.registry import check_own, is_own

BLOCK_CRITERIA = {
    "dbp": "prune3d.pruning.block_criteria:discrimination",
    "skip": "prune3d.pruning.block_criteria:loss_increase",
    "random": "prune3d.pruning.block_criteria:random",
}

CHANNEL_CRITERIA = {
    "batchnorm_scale": "prune3d.pruning.channel_criteria:batchnorm_scale",
    "l1": "prune3d.pruning.channel_criteria:l1",
    "l2": "prune3d.pruning.channel_criteria:l2",
    "group_norm": "prune3d.pruning.channel_criteria:group_norm",
    "fpgm": "prune3d.pruning.channel_criteria:fpgm",
    "taylor": "prune3d.pruning.channel_criteria:taylor",
    "random": "prune3d.pruning.channel_criteria:random",
}

ALLOCATIONS = ("uniform", "global")


@dataclass(frozen=True)
class PruningOptions:
    """Choices that hold for every pruning of a run.

    Attributes
    ----------
    block_criterion
        A name in `BLOCK_CRITERIA`, or one's own: ``path/to/file.py:function``.
    channel_criterion
        A name in `CHANNEL_CRITERIA`, or one's own.
    round_to
        Channels are kept in multiples of this, or of a divisor in small groups; see
        `prune3d.costs.ratios.step_of`.
    probe_images
        Training images, at most, on which blocks and channels are scored and batch-norm statistics
        estimated.
    seed
        For the choice of those images and for the random criteria.
    keep
        Patterns of layers that are neither cut nor removed; see `prune3d.pruning.patterns`.
    allocation
        ``uniform``: every group of layers keeps the same share of its channels; ``global``: each
        another one, at the same MACs, see `prune3d.pruning.allocate`.
    """

    block_criterion: str = "dbp"
    channel_criterion: str = "l2"
    round_to: int = 1
    probe_images: int = 2048
    seed: int = 0
    keep: tuple[str, ...] = ()
    allocation: str = "uniform"

    def __post_init__(self) -> None:
        """Take the patterns from a list as well, as a config has them."""
        object.__setattr__(self, "keep", tuple(self.keep))
        if self.allocation not in ALLOCATIONS:
            raise PruningError(
                f"allocation is '{self.allocation}'; allowed is one of {', '.join(ALLOCATIONS)}."
            )


def check_criterion(registry: Mapping[str, str], name: str) -> None:
    """Refuse a criterion that is neither registered nor in a file of one's own.

    Raises
    ------
    UserError
        In one sentence.
    """
    if name in registry:
        return
    if is_own(name):
        check_own(name)
        return
    raise PruningError(
        f"unknown criterion '{name}'; known are: {', '.join(registry)}, and one's own as "
        "path/to/file.py:function."
    )


def resolve_criterion(registry: Mapping[str, str], name: str) -> Any:
    """Import the criterion of a name.

    Raises
    ------
    UserError
        See `check_criterion`; or if one's own file fails or names something that is no function.
    """
    check_criterion(registry, name)
    if name in registry:
        module, function = registry[name].split(":")
        return getattr(importlib.import_module(module), function)
    from prune3d.models.own import guarded, load_own

    own = load_own(name)
    if not callable(own):
        raise UserError(f"'{name}' is a {type(own).__name__}, not a function.")
    return guarded(name, own)

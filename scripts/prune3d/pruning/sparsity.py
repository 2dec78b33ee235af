"""Penalties that make channels small while the dense network is trained, so that few are missed.

A penalty acts on the channels of every channel group, or on a fixed part of them: partial
regularization (arXiv 2009.01395) leaves the channels that are to stay alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.pruning.channels.groups import ChannelGroup, Member
from prune3d.pruning.dense import channel_groups

PENALTIES = ("none", "batchnorm_l1", "group_lasso")


@dataclass(frozen=True)
class Sparsity:
    """What is penalized.

    Attributes
    ----------
    penalty
        ``batchnorm_l1``: the absolute batch-norm scales (network slimming, arXiv 1708.06519);
        ``group_lasso``: the L2 norm of each filter (structured sparsity learning, arXiv
        1608.03665); ``none``.
    strength
        Factor of the penalty in the loss, at least 0.
    fraction
        Part of the channels of each group on which it acts, in (0, 1].
    seed
        For the choice of that part.
    """

    penalty: str = "none"
    strength: float = 1e-4
    fraction: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class ChannelPenalty:
    """Adds the gradient of a penalty to those of the loss, as `prune3d.train` calls it.

    Attributes
    ----------
    penalty, strength
        See `Sparsity`.
    rows
        For each parameter, by name, int64 indices of the rows on which the penalty acts.
    """

    penalty: str
    strength: float
    rows: dict[str, Tensor]
    # By device: moved once, since a GPU would wait for each further copy.
    _moved: dict[torch.device, dict[str, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __call__(self, model: nn.Module) -> None:
        """Add the gradient in place; parameters without a gradient are left alone."""
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name in self.rows:
                parameter = parameters[name]
                if parameter.grad is None:
                    continue
                index = self._rows_on(parameter.device)[name]
                gradient = self._gradient(parameter.detach()[index])
                parameter.grad.index_add_(0, index, gradient.to(parameter.grad.dtype))

    def _rows_on(self, device: torch.device) -> dict[str, Tensor]:
        if device not in self._moved:
            self._moved[device] = {name: rows.to(device) for name, rows in self.rows.items()}
        return self._moved[device]

    def _gradient(self, values: Tensor) -> Tensor:
        if self.penalty == "batchnorm_l1":
            return self.strength * values.sign()
        norms = values.flatten(1).norm(dim=1).clamp_min(1e-12)
        return self.strength * values / norms.view(-1, *[1] * (values.dim() - 1))


def channel_penalty(model: nn.Module, sparsity: Sparsity) -> ChannelPenalty | None:
    """Return the penalty for a network, or None where there is none.

    Raises
    ------
    PruningError
        If the penalty is unknown, the network's channels cannot be followed, or it has no batch
        norm to penalize.
    """
    if sparsity.penalty not in PENALTIES:
        raise PruningError(
            f"unknown penalty '{sparsity.penalty}'; known are: {', '.join(PENALTIES)}."
        )
    if sparsity.penalty == "none" or sparsity.strength == 0:
        return None
    rows: dict[str, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(sparsity.seed)
    for group in channel_groups(model):
        chosen = _subset(group, sparsity.fraction, generator)
        for member in _penalized(group, sparsity.penalty):
            positions = member.positions[chosen].flatten()
            rows.setdefault(f"{member.name}.weight", []).append(positions)
    if not rows:
        raise PruningError(
            f"penalty '{sparsity.penalty}' finds no batch norm in {get_spec(model).name}; use "
            "'group_lasso'."
        )
    indices = {name: torch.cat(parts) for name, parts in rows.items()}
    return ChannelPenalty(sparsity.penalty, sparsity.strength, indices)


def _penalized(group: ChannelGroup, penalty: str) -> list[Member]:
    if penalty == "group_lasso":
        return group.writers
    return [m for m in group.norms if isinstance(m.layer, _BatchNorm) and m.layer.affine]


def _subset(group: ChannelGroup, fraction: float, generator: torch.Generator) -> Tensor:
    runs = group.channels // group.multiple
    chosen = torch.randperm(runs, generator=generator)[: max(1, round(fraction * runs))]
    marked = torch.zeros(runs, dtype=torch.bool)
    marked[chosen] = True
    return marked.repeat_interleave(group.multiple).nonzero().flatten()

"""Penalties that make channels small while the dense network is trained, so that few are missed.

A penalty acts on the channels of every channel group, or on a fixed part of them: partial
regularization (arXiv 2009.01395) leaves the channels that are to stay alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.pruning.channels.groups import ChannelGroup, Member
from prune3d.pruning.dense import channel_groups

# Of the network's largest scale or norm, below which one is near 0.
NEAR_ZERO = 0.01
SPREAD = 4.0  # group_norm: the least channel of a group is drawn 2^4 times as hard as the largest


def _slope_of_scales(values: list[Tensor]) -> list[Tensor]:
    return [value.sign() for value in values]


def _slope_of_filters(values: list[Tensor]) -> list[Tensor]:
    return [value / value.norm(dim=1, keepdim=True).clamp_min(1e-12) for value in values]


def _slope_of_groups(values: list[Tensor]) -> list[Tensor]:
    """Half the slope of the squares, weighted by the channel's size: as in the authors' code."""
    sizes = _size_of_groups(values)
    lack = (sizes.max() - sizes) / (sizes.max() - sizes.min()).clamp_min(1e-12)
    factors = torch.exp2(SPREAD * lack)[:, None]
    return [factors * value for value in values]


def _size_of_each(values: list[Tensor]) -> Tensor:
    return torch.cat([value.norm(dim=1) for value in values])


def _size_of_groups(values: list[Tensor]) -> Tensor:
    return torch.stack([value.square().sum(1) for value in values]).mean(0).sqrt()


# From the weights of a group's channels, one of shape (channels, weights) for each of its slices.
_SLOPES: dict[str, Callable[[list[Tensor]], list[Tensor]]] = {
    "batchnorm_l1": _slope_of_scales,
    "group_lasso": _slope_of_filters,
    "group_norm": _slope_of_groups,
}
PENALTIES = ("none", *_SLOPES)
# The slope of a weight depends on all that its channel has in other layers.
_TOGETHER = ("group_norm",)


@dataclass(frozen=True)
class Sparsity:
    """What is penalized.

    Attributes
    ----------
    penalty
        ``batchnorm_l1``: the absolute batch-norm scales (network slimming, arXiv 1708.06519);
        ``group_lasso``: the L2 norm of each filter (structured sparsity learning, arXiv
        1608.03665); ``group_norm``: the square of all weights of a channel, where they are written,
        scaled and read, the more the smaller they are (DepGraph, arXiv 2301.12900); ``none``.
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
class Slice:
    """Where a parameter has the penalized channels of a group.

    Attributes
    ----------
    parameter, axis
        Its name, and the axis of the channels.
    positions
        int64, shape (channels, m).
    """

    parameter: str
    axis: int
    positions: Tensor


@dataclass(frozen=True)
class ChannelPenalty:
    """Adds the gradient of a penalty to those of the loss, as `prune3d.train` calls it.

    Attributes
    ----------
    sparsity
        What is penalized.
    groups
        What it acts on together: the parts of a channel group, or each parameter by itself.
    """

    sparsity: Sparsity
    groups: tuple[tuple[Slice, ...], ...]
    # By device: moved once, since a GPU would wait for each further copy.
    _moved: dict[torch.device, list[list[Tensor]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def made_by(self) -> tuple[Callable[..., ChannelPenalty | None], dict[str, Any]]:
        """How another process makes it for the same network."""
        return _make_again, asdict(self.sparsity)

    def __call__(self, model: nn.Module) -> None:
        """Add the gradient in place; parameters without a gradient are left alone."""
        parameters = dict(model.named_parameters())
        slope, strength = _SLOPES[self.sparsity.penalty], self.sparsity.strength
        with torch.no_grad():
            for group, positions, values in self._penalized(model, parameters):
                for part, place, change in zip(group, positions, slope(values), strict=True):
                    gradient = parameters[part.parameter].grad
                    if gradient is not None:
                        rows = gradient.movedim(part.axis, 0)
                        change = (strength * change).view(place.numel(), *rows.shape[1:])
                        rows.index_add_(0, place.flatten(), change.to(rows.dtype))

    def sizes(self, model: nn.Module) -> Tensor:
        """Return the size of all that is penalized, shape (n,): scales, or norms of channels."""
        together = self.sparsity.penalty in _TOGETHER
        size = _size_of_groups if together else _size_of_each
        with torch.no_grad():
            groups = self._penalized(model, dict(model.named_parameters()))
            return torch.cat([size(values) for _, _, values in groups])

    def _penalized(
        self, model: nn.Module, parameters: Mapping[str, Tensor]
    ) -> Iterator[tuple[tuple[Slice, ...], list[Tensor], list[Tensor]]]:
        """Yield the parts of each group with their places and values, (channels, weights) each."""
        places = self._places_on(next(model.parameters()).device)
        for group, positions in zip(self.groups, places, strict=True):
            values = [
                parameters[part.parameter].movedim(part.axis, 0)[place].flatten(1)
                for part, place in zip(group, positions, strict=True)
            ]
            yield group, positions, values

    def _places_on(self, device: torch.device) -> list[list[Tensor]]:
        if device not in self._moved:
            self._moved[device] = [[s.positions.to(device) for s in group] for group in self.groups]
        return self._moved[device]


def channel_penalty(model: nn.Module, sparsity: Sparsity) -> ChannelPenalty | None:
    """Return the penalty for a network, or None where there is none.

    Raises
    ------
    PruningError
        If the penalty is unknown, the network's channels cannot be followed, it has no batch norm
        to penalize, or a weight that is computed from other parameters.
    """
    if sparsity.penalty not in PENALTIES:
        raise PruningError(
            f"unknown penalty '{sparsity.penalty}'; known are: {', '.join(PENALTIES)}."
        )
    if sparsity.penalty == "none" or sparsity.strength == 0:
        return None
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    generator = torch.Generator().manual_seed(sparsity.seed)
    groups = []
    for group in channel_groups(model):
        chosen = _subset(group, sparsity.fraction, generator)
        # Once for a parameter that two layers share.
        slices = {
            (_name_of(member, names, sparsity), member.axis): member.positions[chosen]
            for member in _penalized(group, sparsity.penalty)
        }
        groups.append(tuple(Slice(*key, positions) for key, positions in slices.items()))
    if not any(groups):
        raise PruningError(
            f"penalty '{sparsity.penalty}' finds no batch norm in {get_spec(model).name}; use "
            "'group_lasso'."
        )
    parts = tuple(group for group in groups if group)
    if sparsity.penalty not in _TOGETHER:
        parts = _by_parameter(parts)
    return ChannelPenalty(sparsity, parts)


def near_zero(model: nn.Module, sparsity: Sparsity | None = None) -> dict[str, float]:
    """Return the part of what a penalty acts on that is at most `NEAR_ZERO` of the largest.

    Parameters
    ----------
    model
        A network built by prune3d.
    sparsity
        What was penalized in its training. None where that is not known: then each penalty counts,
        on all channels.

    Returns
    -------
    dict
        Parts in [0, 1] by the names of the penalties that can act on the network.
    """
    asked = [Sparsity(kind) for kind in _SLOPES] if sparsity is None else [sparsity]
    parts = {}
    for one in asked:
        with suppress(PruningError):
            penalty = channel_penalty(model, replace(one, strength=1.0))
            if penalty is not None:
                parts[one.penalty] = _part_near_zero(penalty.sizes(model))
    return parts


def _part_near_zero(sizes: Tensor) -> float:
    return float((sizes <= NEAR_ZERO * sizes.max()).double().mean())


def _make_again(model: nn.Module, **settings: Any) -> ChannelPenalty | None:
    return channel_penalty(model, Sparsity(**settings))


def _by_parameter(groups: Sequence[tuple[Slice, ...]]) -> tuple[tuple[Slice, ...], ...]:
    """Join the slices of each parameter: one step for each, however many groups it belongs to."""
    rows: dict[tuple[str, int], list[Tensor]] = {}
    for part in (part for group in groups for part in group):
        rows.setdefault((part.parameter, part.axis), []).append(part.positions.flatten())
    return tuple((Slice(*key, torch.cat(own)[:, None]),) for key, own in rows.items())


def _name_of(member: Member, names: Mapping[int, str], sparsity: Sparsity) -> str:
    name = names.get(id(getattr(member.layer, member.key)))
    if name is None:
        raise PruningError(
            f"penalty '{sparsity.penalty}' cannot act on {member.name}.{member.key}, which is "
            "computed from other parameters; use 'batchnorm_l1' or 'none'."
        )
    return name


def _penalized(group: ChannelGroup, penalty: str) -> Sequence[Member]:
    if penalty == "group_lasso":
        return group.writers
    if penalty == "group_norm":
        return group.members
    return [m for m in group.norms if isinstance(m.layer, _BatchNorm) and m.layer.affine]


def _subset(group: ChannelGroup, fraction: float, generator: torch.Generator) -> Tensor:
    runs = group.channels // group.multiple
    chosen = torch.randperm(runs, generator=generator)[: max(1, round(fraction * runs))]
    marked = torch.zeros(runs, dtype=torch.bool)
    marked[chosen] = True
    return marked.repeat_interleave(group.multiple).nonzero().flatten()

"""Pruning along width where each group keeps another share of its channels, at equal MACs (ours).

All channels of the network stand in one order of importance, and go from its lower end until the
network costs no more than the one of which every group keeps the same share: one threshold for all
layers, as in network slimming (arXiv 1708.06519), found by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from prune3d.costs.ratios import step_of
from prune3d.costs.structure import Structure, compose
from prune3d.data.images import ImageSplits
from prune3d.models.assembly import get_spec
from prune3d.pruning.analyze import analyze
from prune3d.pruning.channels.groups import ChannelGroup
from prune3d.pruning.dense import channel_graph, look_at_dense
from prune3d.pruning.options import CHANNEL_CRITERIA, PruningOptions, resolve_criterion
from prune3d.pruning.width import keep_highest, known_groups, score_channels, uniform_counts

LEAST = 0.1  # of a group's channels in the dense network that stay whatever their scores
MOST_BACK = 200  # steps below the threshold that are tried once more
ENOUGH = 0.98  # of the MACs that may be used, below which another order is tried
MOST_SPARED = 8  # groups that are spared from a step on for that

Gone = NDArray[np.int64]  # steps that each group loses


def prune_allocated(
    model: nn.Module,
    width: float,
    options: PruningOptions,
    images: ImageSplits | None = None,
    most: float | None = None,
) -> dict[str, int]:
    """Remove the least important channels of all groups together, in place.

    Parameters
    ----------
    model
        A network built by prune3d.
    width
        Ratio in (0, 1]: the network costs at most as many MACs as if every group kept it.
    options, images
        See `prune3d.prune`. Scores of a criterion are compared between groups after they are
        divided by their group's unit, see `unit_of`.
    most
        MACs that it may cost instead, no fewer than those: a uniform width seldom uses up a budget.

    Returns
    -------
    dict
        Channels that each group of the dense network keeps.

    Raises
    ------
    PruningError
        See `prune3d.pruning.width.prune_width`.
    """
    uniform = uniform_counts(model, width, options)
    if not uniform or width == 1:
        return uniform
    graph = channel_graph(model)
    groups = known_groups(model, graph)
    scores = score_channels(model, [group for group, _ in groups], options, images)
    # What is no group of the dense network alone keeps the uniform share.
    named = [(group, known.name) for group, known in groups if known.name is not None]
    counts = allocate(model, named, scores, uniform, options, most)
    keep_highest(model, graph, groups, counts, scores)
    return counts


def allocate(
    model: nn.Module,
    groups: Sequence[tuple[ChannelGroup, str]],
    scores: Mapping[str, Tensor],
    uniform: Mapping[str, int],
    options: PruningOptions,
    most: float | None = None,
) -> dict[str, int]:
    """Return how many channels each group keeps at the lowest threshold that costs no more.

    Where that leaves MACs unused, channels just below it stay as well; where it still leaves some,
    since one step costs much, that step and what is below it in its group may stay, and others go.

    A group keeps at least `LEAST` of the dense network's channels, or its uniform share where that
    is less.

    Parameters
    ----------
    model
        The network, with the blocks and the image side that it is to have.
    groups
        Of the network, each with the dense network's name of it.
    scores
        Of each group's channels, by its own name.
    uniform
        Channels of each group, by the dense network's names, of the network that bounds the cost.
    options
        Criterion and rounding.
    most
        MACs that bound it instead.
    """
    spec = get_spec(model)
    structure = analyze(model, [spec.side])
    criterion = resolve_criterion(CHANNEL_CRITERIA, options.channel_criterion)
    dense = look_at_dense(model).sizes
    ladders = [
        _Ladder.of(
            group,
            scores[group.name],
            dense[name],
            options.round_to,
            unit_of(criterion, group, scores),
        )
        for group, name in groups
    ]
    owners = _order(ladders)
    fewest = [
        min(uniform[name], ladder.least) for ladder, (_, name) in zip(ladders, groups, strict=True)
    ]

    def without(gone: NDArray[np.int64]) -> dict[str, int]:
        own = {
            name: max(least, ladder.kept(int(removed)))
            for ladder, (_, name), removed, least in zip(ladders, groups, gone, fewest, strict=True)
        }
        return {**uniform, **own}

    def macs(gone: Gone) -> int:
        return macs_of(structure, spec.removed_blocks, without(gone))

    # Without any step of theirs all groups keep their fewest, no more than their uniform share.
    limit = most or macs_of(structure, spec.removed_blocks, uniform)
    best = np.full(len(ladders), len(owners))
    for _ in range(1 + MOST_SPARED):
        steps, gone = _below_threshold(owners, len(ladders), lambda gone: macs(gone) <= limit)
        best = max((one for one in (best, gone) if macs(one) <= limit), key=macs)
        if macs(best) >= ENOUGH * limit:
            break
        # The last step that went costs much: its group is spared, so that cheaper steps go.
        last = max(0, steps - 1)
        spared = (np.arange(len(owners)) >= last) & (owners == owners[last])
        owners = owners[~spared]
        if not len(owners):
            break
    return without(best)


def _below_threshold(
    owners: NDArray[np.int64], groups: int, fits: Callable[[Gone], bool]
) -> tuple[int, Gone]:
    """Return how many steps of an order go, and of each group, at the lowest threshold that fits.

    Of those that go, some of the most important come back where more than needed had gone. All go
    where nothing fits.
    """

    def first(steps: int) -> Gone:
        return np.bincount(owners[:steps], minlength=groups)

    low, high = 0, len(owners)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(first(middle)) else (middle + 1, high)
    gone = first(low)
    for owner in owners[max(0, low - MOST_BACK) : low][::-1]:
        back = gone - (np.arange(groups) == owner)
        gone = back if fits(back) else gone
    return low, gone


@dataclass(frozen=True)
class _Ladder:
    """The steps in which the channels of a group go.

    Attributes
    ----------
    channels, step
        How many there are, and how many go together.
    least
        Channels that stay whatever their scores.
    merits
        Mean score of each step, in units of the group, the first to go first.
    """

    channels: int
    step: int
    least: int
    merits: NDArray[np.float64]

    @classmethod
    def of(
        cls, group: ChannelGroup, scores: Tensor, dense: int, round_to: int, unit: float
    ) -> _Ladder:
        step = step_of(dense, round_to, group.multiple)
        least = min(group.channels, max(1, math.ceil(LEAST * dense / step)) * step)
        runs = scores.detach().cpu().double().view(-1, group.multiple).mean(1).sort().values.numpy()
        ends = range(step // group.multiple, len(runs), step // group.multiple)
        merits = np.array([part.mean() for part in np.split(runs, ends)]) / unit
        return cls(group.channels, step, least, merits)

    def kept(self, removed: int) -> int:
        """Return the channels that are left without some steps, a multiple of the step."""
        return (len(self.merits) - removed) * self.step if removed else self.channels


def _order(ladders: Sequence[_Ladder]) -> NDArray[np.int64]:
    """Return to which ladder each step belongs, the least important first.

    Equal ones go in the order that keeps the same share of each group.
    """
    merits = np.concatenate([ladder.merits for ladder in ladders])
    places = np.concatenate([np.arange(n) / n for n in (len(la.merits) for la in ladders)])
    owners = np.repeat(np.arange(len(ladders)), [len(ladder.merits) for ladder in ladders])
    return np.asarray(owners[np.lexsort((places, merits))])


def macs_of(structure: Structure, removed: Sequence[str], counts: Mapping[str, int]) -> int:
    """Return the MACs, at the first side of a structure, with some channels of each group."""
    kept = {name: np.array([counts[name]]) for name in structure.groups}
    level = compose(structure, removed, kept)
    return int((structure.arrays.positions[0] @ level.weights)[0])


def unit_of(
    criterion: Callable[..., Tensor], group: ChannelGroup, scores: Mapping[str, Tensor]
) -> float:
    """Return what a group's scores are divided by before they are compared with others'.

    The criterion's own ``unit``, a function of the group, where it has one and that is not 0; else
    their mean.
    """
    own = getattr(criterion, "unit", None)
    unit = float(own(group)) if own is not None else 0.0
    unit = unit or float(scores[group.name].double().mean())
    return unit if unit > 0 else 1.0

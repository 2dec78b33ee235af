"""Pruning along width: the same ratio of every channel group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prune3d.costs.count import cost
from prune3d.costs.ratios import kept_channels
from prune3d.data.images import Images, ImageSplits
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec, with_current_shapes
from prune3d.models.lineage import Step, add_step
from prune3d.pruning.channels.compare import compare, expected_outputs
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.channels.groups import ChannelGraph, ChannelGroup
from prune3d.pruning.dense import channel_graph, look_at_dense
from prune3d.pruning.options import CHANNEL_CRITERIA, PruningOptions, resolve_criterion
from prune3d.train.convolutions import avoid_faulty_kernel


def prune_width(
    model: nn.Module, width: float, options: PruningOptions, images: ImageSplits | None = None
) -> dict[str, int]:
    """Remove the least important channels of every group in place, down to a ratio of the dense.

    Returns
    -------
    dict
        Channels that each group of the dense network keeps.

    Raises
    ------
    PruningError
        If the ratio is outside (0, 1], a group has fewer channels already, or the network's
        channels cannot be followed.
    """
    counts = uniform_counts(model, width, options)
    if counts:
        graph = channel_graph(model)
        groups = known_groups(model, graph)
        for group, known in groups:
            _refuse_growth(width, group, known.count(counts))
        smaller = [group for group, known in groups if known.count(counts) < group.channels]
        scores = score_channels(model, smaller, options, images) if smaller else {}
        keep_highest(model, graph, groups, counts, scores)
    return counts


def uniform_counts(model: nn.Module, width: float, options: PruningOptions) -> dict[str, int]:
    """Return how many channels each group of the dense network keeps at a ratio.

    None if the network has no groups, and the ratio is 1.

    Raises
    ------
    PruningError
        If the ratio is outside (0, 1], or below 1 and there are no groups.
    """
    if not 0 < width <= 1:
        raise PruningError(f"width is {width}; allowed is above 0 and at most 1.")
    dense = look_at_dense(model)
    if not dense.groups:
        if width == 1:
            return {}
        reason = dense.no_width or f"{get_spec(model).name} has no channels that can be removed."
        raise PruningError(f"width is {width}, but must be 1: {reason}")
    kept = kept_channels(dense.sizes, np.array([width]), options.round_to, dense.multiples)
    return {name: int(count[0]) for name, count in kept.items()}


@dataclass(frozen=True)
class Known:
    """Of which groups of the dense network a group is.

    Without the blocks that told them apart groups of one layer may have become one, and without
    those that tied its layers one may have become several.

    Attributes
    ----------
    times
        How many channels of the group stand for one of each dense group.
    """

    times: Mapping[str, Fraction]

    @property
    def name(self) -> str | None:
        """The dense network's group, where this group is simply the same; else None."""
        (name, *others), (times, *_) = self.times.keys(), self.times.values()
        return name if times == 1 and not others else None

    def count(self, counts: Mapping[str, int]) -> int:
        """Return how many channels are kept where the dense network's groups keep some."""
        return int(sum(times * counts[name] for name, times in self.times.items()))


def known_groups(model: nn.Module, graph: ChannelGraph) -> list[tuple[ChannelGroup, Known]]:
    """Return the groups of a network, each with what it is in the dense network."""
    dense = look_at_dense(model)
    of_axis: dict[tuple[str, str, int], dict[str, int]] = {}
    for group in dense.groups:
        for member in group.writers:
            places = of_axis.setdefault((member.name, member.key, member.axis), {})
            places[group.name] = member.positions.shape[1]
    shared = Counter((m.name, m.key, m.axis) for group in graph.groups for m in group.writers)
    names = {g.name for g in dense.groups}
    found = []
    for group in graph.groups:
        known = _known_as(group, of_axis, shared, names)
        if known is not None:
            found.append((group, known))
    return found


def keep_highest(
    model: nn.Module,
    graph: ChannelGraph,
    groups: Sequence[tuple[ChannelGroup, Known]],
    counts: Mapping[str, int],
    scores: Mapping[str, Tensor],
) -> None:
    """Remove in place all but the channels with the highest scores.

    Every group is scored before any is pruned, so that the order of the groups does not matter.

    Parameters
    ----------
    model, graph, groups
        The network, and what `known_groups` gives for it.
    counts
        Channels to keep, by the dense network's names.
    scores
        Of the channels of each group that becomes smaller, by its own name.
    """
    chosen = {
        group.name: highest(scores[group.name], known.count(counts), group.multiple)
        for group, known in groups
        if known.count(counts) < group.channels
    }
    if not chosen:
        return
    expected = expected_outputs(model, graph, chosen)
    keep_channels(model, graph, chosen)
    if expected is not None:
        compare(model, expected)
    with_current_shapes(model)


def _known_as(
    group: ChannelGroup,
    of_axis: Mapping[tuple[str, str, int], Mapping[str, int]],
    shared: Mapping[tuple[str, str, int], int],
    names: Set[str],
) -> Known | None:
    """Return what a group is of the dense network, or None if it had no such group.

    Parameters
    ----------
    group
        Of a network that may have lost layers.
    of_axis
        For each axis that makes channels of the dense network its groups there, each with its
        places for one channel.
    shared
        How many groups of the network each axis makes now.
    names
        Of the dense network's groups.
    """
    for member in group.writers:
        axis = (member.name, member.key, member.axis)
        dense = of_axis.get(axis, {})
        if dense and shared[axis] == 1:
            own = member.positions.shape[1]
            return Known({name: Fraction(places, own) for name, places in dense.items()})
    if group.name in names:
        return Known({group.name: Fraction(1)})
    for member in group.writers:
        for name in of_axis.get((member.name, member.key, member.axis), {}):
            return Known({name: Fraction(1)})
    return None


def highest(scores: Tensor, count: int, multiple: int = 1) -> Tensor:
    """Return the channels with the highest scores, in whole runs of `multiple`, ascending."""
    runs = scores.detach().cpu().double().view(-1, multiple).sum(1)
    gone = torch.argsort(runs, stable=True)[: len(runs) - count // multiple]
    stay = torch.ones(len(runs), dtype=torch.bool)
    stay[gone] = False
    return stay.repeat_interleave(multiple).nonzero().flatten()


def score_channels(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    options: PruningOptions,
    images: ImageSplits | None,
) -> dict[str, Tensor]:
    """Score the channels of groups by the criterion of the options.

    Returns
    -------
    dict
        For each group a tensor of shape (channels,).

    Raises
    ------
    PruningError
        If the criterion needs images and there are none, or gives something else than a finite
        score for each channel.
    """
    criterion = resolve_criterion(CHANNEL_CRITERIA, options.channel_criterion)
    generator = torch.Generator().manual_seed(options.seed)
    if getattr(criterion, "needs_gradients", False):
        if images is None:
            raise PruningError(
                f"criterion '{options.channel_criterion}' scores channels on images and there are "
                "none; give images or use 'l1' or 'l2'."
            )
        scores = _score_by_batches(model, groups, criterion, generator, images.train, options)
    else:
        scores = {group.name: criterion(group, generator) for group in groups}
    for group in groups:
        _check_scores(scores[group.name], group, options.channel_criterion)
    return scores


def _score_by_batches(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    criterion: Any,
    generator: torch.Generator,
    images: Images,
    options: PruningOptions,
) -> dict[str, Tensor]:
    chosen = images.subset(options.probe_images, options.seed)
    total: dict[str, Tensor] = {}
    training = model.training
    model.eval()
    avoid_faulty_kernel()
    done = 0
    with torch.enable_grad():
        for batch in chosen.batches(get_spec(model).side):
            model.zero_grad(set_to_none=True)
            labels = chosen.labels[done : done + len(batch)]
            F.cross_entropy(model(batch), labels.to(batch.device)).backward()
            done += len(batch)
            for group in groups:
                part = criterion(group, generator) * len(batch)
                total[group.name] = total[group.name] + part if group.name in total else part
    model.zero_grad(set_to_none=True)
    model.train(training)
    add_step(model, Step("score channels", done, cost(model).macs))
    return {name: score / done for name, score in total.items()}


def _check_scores(scores: Any, group: ChannelGroup, criterion: str) -> None:
    if not isinstance(scores, Tensor) or scores.shape != (group.channels,):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise PruningError(
            f"criterion '{criterion}' gave {shape} for layer '{group.name}'; expected is a tensor "
            f"of shape ({group.channels},)."
        )
    if not bool(torch.isfinite(scores).all()):
        raise PruningError(
            f"criterion '{criterion}' gave a score that is not finite for layer '{group.name}'; "
            "its weights or gradients are not finite."
        )


def _refuse_growth(width: float, group: ChannelGroup, count: int) -> None:
    if count > group.channels:
        raise PruningError(
            f"width {width} asks for {count} channels of layer '{group.name}', which has only "
            f"{group.channels}; pruning only makes smaller."
        )

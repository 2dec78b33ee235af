"""What the rivals prune to: each finder chooses a network of the lattice. No torch."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune3d.costs.lattice import Lattice
from prune3d.optimize.budget import Budget, dense
from prune3d.optimize.choice import BudgetError, Choice
from prune3d.optimize.curves import next_to, power_rule, tinynet_ratios, using, width_line
from prune3d.optimize.one_axis import largest_within
from prune3d.optimize.policies import Candidates, describe, describe_budget
from prune3d.optimize.registry import POLICIES, Policy
from prune3d.optimize.search import Mask, inside, maximize
from prune3d.optimize.search import describe as describe_index
from prune3d.sampling.table import Samples, read_samples
from prune3d.sampling.tree import AXES

# Each dimension gives its third of the cost d w^2 r^2.
UNIFORM = (1 / 3, 1 / 6, 1 / 6)
# alpha, beta, gamma of EfficientNet (arXiv 1905.11946): d = 1.2^-k, w = 1.1^-k, r = 1.15^-k.
COMPOUND = tuple(float(np.log(factor)) for factor in (1.2, 1.1, 1.15))
# alpha = 0.8 of Dollar et al. (arXiv 2103.06877).
FAST_COMPOUND = (0.1, 0.4, 0.05)
THRESHOLDS = 256


@dataclass(frozen=True)
class Question:
    """What is asked of a rival, and what it may look at.

    Attributes
    ----------
    candidates, budget
        The realizable networks, and what one may cost.
    axes
        The dimensions that it may shrink.
    seed
        Of what it draws.
    lowest
        Least depth, width and resolution that are drawn.
    samples, predictor, optimum
        The method's, where the policy uses them.
    loss
        Tells the loss of a network, see `describe`, on the selection images, where the policy
        judges networks on its way.
    """

    candidates: Candidates
    budget: Budget
    axes: tuple[str, ...] = AXES
    seed: int = 0
    lowest: tuple[float, float, float] = (0.0, 0.0, 0.0)
    samples: Samples | None = None
    predictor: Any = None
    optimum: Mapping[str, Any] | None = None
    loss: Callable[[Mapping[str, Any]], float] | None = None

    @property
    def lattice(self) -> Lattice:
        """The realizable networks."""
        return self.candidates.lattice

    @property
    def part(self) -> float:
        """The smallest limit as a part of what the dense network needs, at most 1."""
        limits = self.budget.limits(self.lattice)
        return min(1.0, *(limit / dense(self.lattice, name) for name, limit in limits.items()))

    def known(self) -> Samples:
        """Return the samples."""
        if self.samples is None:
            raise ValueError("this policy needs samples, and none are given")
        return self.samples


# Raises BudgetError where no network meets the budget.
Finder = Callable[[Question], Choice]


def rival_target(policy: str, question: Question) -> dict[str, Any]:
    """Return what a rival prunes to, for JSON.

    Parameters
    ----------
    policy
        One of `prune3d.optimize.registry.POLICIES` with a finder of its own.
    question
        The budget, and what the policy may look at.

    Returns
    -------
    dict
        The network, see `prune3d.optimize.policies.describe`; or ``unreachable``.
    """
    extra = {"policy": policy, **describe_budget(question.lattice, question.budget)}
    try:
        choice = finder_of(POLICIES[policy])(question)
    except BudgetError as error:
        return {**extra, "unreachable": str(error)}
    if POLICIES[policy].is_shuffling_blocks:
        extra["removal_order"] = list(question.candidates.removal_order)
    return {**extra, **describe(choice, question.candidates)}


def finder_of(policy: Policy) -> Finder:
    """Import how a policy chooses its network."""
    module, function = policy.find.split(":")
    finder: Finder = getattr(importlib.import_module(module), function)
    return finder


def largest_of_one(question: Question) -> Choice:
    """Choose the costliest network that shrinks one dimension alone."""
    (axis,) = question.axes
    return largest_within(question.lattice, question.budget, axis)


def best_predicted(question: Question) -> Choice:
    """Choose the best predicted network that shrinks some dimensions, or all."""
    return maximize(
        question.predictor,
        question.lattice,
        question.budget,
        region=question.known().region(),
        allowed=shrinking(question.lattice, question.axes),
    )


def shrinking(lattice: Lattice, axes: tuple[str, ...]) -> Mask:
    """Return which networks have all other dimensions at their largest, shape (D, W, S)."""
    ratios = {
        "depth": lattice.depth[:, None, None],
        "width": lattice.width[:, :, None],
        "resolution": lattice.resolution[None, None, :],
    }
    mask = np.ones(lattice.shape, dtype=bool)
    for axis, values in ratios.items():
        if axis not in axes:
            along = 1 if axis == "width" else None
            mask &= values >= values.max(axis=along, keepdims=True) - 1e-9
    return mask


def uniform(question: Question) -> Choice:
    """Choose the network to which each dimension gives its third of the cost."""
    return next_to(question.lattice, question.budget, power_rule(UNIFORM))


def compound(question: Question) -> Choice:
    """Choose by EfficientNet's compound scaling, backwards."""
    return next_to(question.lattice, question.budget, power_rule(COMPOUND))


def fast_compound(question: Question) -> Choice:
    """Choose by fast compound scaling, which changes the width most, backwards."""
    return next_to(question.lattice, question.budget, power_rule(FAST_COMPOUND))


def tinynet(question: Question) -> Choice:
    """Choose depth and resolution between the published TinyNets; the width by the budget."""
    return next_to(question.lattice, question.budget, width_line(*tinynet_ratios(question.part)))


def tinynet_fitted(question: Question) -> Choice:
    """Choose depth and resolution by TinyNet's processes of the samples; the width by the budget.

    The processes regress on measured MACs.
    """
    from prune3d.predictor.rivals import pareto_ratios

    samples = question.known()
    if samples.macs_ratio is None:
        raise ValueError("this policy needs the MACs of samples, and none are given")
    with warnings.catch_warnings():
        # A process of few samples often ends at the bounds of its length scales.
        warnings.simplefilter("ignore")
        depth, _, resolution = pareto_ratios(
            samples.ratios, samples.accuracy, samples.macs_ratio, question.part
        )
    return next_to(question.lattice, question.budget, width_line(depth, resolution))


def greedy(question: Question) -> Choice:
    """Shrink every dimension as far as it alone costs one threshold of accuracy.

    The threshold is that at which the measured cost meets the budget; see `sensitivities`. A
    dimension that the network has not is left at 1, as is one of which no sample is left.
    """
    tables = sensitivities(question.known())
    largest = max((table[-1, 0] for table in tables.values()), default=0.0)
    losses = np.linspace(0.0, largest, THRESHOLDS)
    # The least ratio that costs at most the threshold, by dimension.
    corners = np.ones((1 + THRESHOLDS, len(AXES)))
    for axis, table in tables.items():
        corners[1:, AXES.index(axis)] = np.interp(losses, *table.T)
    return next_to(question.lattice, question.budget, corners)


def sensitivities(samples: Samples) -> dict[str, np.ndarray]:
    """Return the table of each dimension from the samples that shrink it alone.

    Returns
    -------
    dict
        For each dimension that was sampled alone, rows of (loss of accuracy, ratio), losses rising
        from 0: the least ratio that costs no more. A loss is that to the dense network fine-tuned,
        and at least that of every larger ratio.
    """
    tables = {}
    for i, axis in enumerate(AXES):
        alone = samples.alone(i)
        if alone.sum() > 1:
            ratios, accuracy = samples.ratios[alone, i], samples.accuracy[alone]
            order = np.argsort(-ratios, kind="stable")
            losses = np.maximum.accumulate(accuracy[order[0]] - accuracy[order])
            table = np.column_stack([losses, ratios[order]])
            tables[axis] = table[np.append(np.diff(losses) > 0, True)]
    return tables


def at_optimum(question: Question) -> Choice:
    """Choose the method's depth and side; the width by the MACs, since other blocks cost other."""
    lattice, optimum = question.lattice, question.optimum
    if optimum is None:
        raise ValueError("this policy needs the method's optimum, and none is given")
    if optimum.get("unreachable"):
        raise BudgetError(str(optimum["unreachable"]))
    depth = int(np.argmin(np.abs(lattice.depth - optimum["depth"])))
    side = int(np.argmin(np.abs(lattice.resolution - optimum["resolution"])))
    mask = np.zeros(lattice.shape, dtype=bool)
    mask[depth, :, side] = True
    candidates = using(lattice, question.budget, mask)
    apart = np.abs(lattice.macs.ravel()[candidates] - optimum["macs"])
    return describe_index(lattice, int(candidates[np.argmin(apart)]), None, len(candidates))


def random_point(question: Question) -> Choice:
    """Draw a network on the surface of the budget (ours).

    Depth and image side are drawn together, each pair of them that some width brings to the budget
    being as likely as another; the width is the largest that the budget allows.
    """
    lattice = question.lattice
    region = np.column_stack([question.lowest, np.ones(3)])
    candidates = using(lattice, question.budget, inside(lattice, region))
    depth, _, side = np.unravel_index(candidates, lattice.shape)
    pairs = np.unique(np.column_stack([depth, side]), axis=0)
    drawn = pairs[np.random.default_rng(question.seed).integers(len(pairs))]
    those = candidates[(depth == drawn[0]) & (side == drawn[1])]
    largest = those[np.argmax(lattice.macs.ravel()[those])]
    return describe_index(lattice, int(largest), None, len(candidates))


def read_lowest(lowest: Sequence[float] | None) -> tuple[float, float, float]:
    """Return the least ratios of a job's settings, which has none where nothing is drawn."""
    depth, width, resolution = lowest or (0.0, 0.0, 0.0)
    return float(depth), float(width), float(resolution)


def read_search(samples: str | None, predictor: str | None) -> tuple[Samples | None, Any]:
    """Read the method's samples and its predictor, where a policy uses them.

    With the predictor, samples that it left out are left out.
    """
    if samples is None:
        return None, None
    table = read_samples(samples)
    if predictor is None:
        return table, None
    from prune3d.optimize.predictor_file import read_predictor
    from prune3d.optimize.surrogate import chosen

    fitted = read_predictor(predictor)
    return table.without(fitted["left_out"]), chosen(fitted)

"""The policies by name: how each finds what to prune to, and of which part of the search.

Apart from the finding itself (`prune3d.optimize.rivals`), since every planning of the workflow
asks, which need not wait for SciPy. Needs numpy no more than torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from prune3d.sampling.tree import AXES

METHOD = "dwr"
DENSE_LONGER = "dense_longer"  # the control that prunes nothing
DRAWN = tuple(f"random_point{i}" for i in range(1, 6))  # each a draw of its own
# What a policy uses of the method's search, and is billed for: each includes those before it.
NOTHING, AXIS_SAMPLES, SAMPLES, OPTIMUM = range(4)

RIVALS = "prune3d.optimize.rivals:"


@dataclass(frozen=True)
class Policy:
    """How a policy prunes.

    Attributes
    ----------
    source
        Where it is from, a sentence for docs/policies.md.
    find
        ``module:function`` that chooses the network, see `prune3d.optimize.rivals.Finder`; empty
        where it is the method's optimum.
    axes
        The dimensions that it may shrink.
    uses
        What it uses of the method's search, see `OPTIMUM`.
    channel_criterion
        By which channels go; None where it is that of the config.
    allocation
        ``global`` where each group of layers keeps another share of its channels, at the MACs of
        the network in which all keep the same.
    is_shuffling_blocks
        Whether blocks go in a random order.
    is_judging
        Whether it prunes and judges networks on its way, in a job of its own that needs torch.
    penalty
        The sparsity penalty by which the dense network must have been trained, if any.
    scratch
        Where the network is trained from random weights, for how long: for as many ``epochs`` as
        the dense network and the pruned one together, or at the cost of those, its ``budget``.
    """

    source: str
    find: str = ""
    axes: tuple[str, ...] = AXES
    uses: int = NOTHING
    channel_criterion: str | None = None
    allocation: str | None = None
    is_shuffling_blocks: bool = False
    is_judging: bool = False
    penalty: str | None = None
    scratch: str | None = None

    @property
    def is_at_optimum(self) -> bool:
        """Whether it prunes to the method's optimum as it is."""
        return not self.find

    @property
    def is_control(self) -> bool:
        """Whether it leaves to chance what the method chooses, and is no rival of it."""
        return self.channel_criterion == "random" or self.is_shuffling_blocks

    @property
    def is_pruning_as_the_method(self) -> bool:
        """Whether the same depth, width and resolution give the same network as the method."""
        return not (self.channel_criterion or self.allocation or self.is_shuffling_blocks)

    @property
    def is_filling_budget(self) -> bool:
        """Whether it keeps all channels that the budget allows, not those of a uniform width."""
        return self.allocation is not None and not self.is_at_optimum

    @property
    def is_removing_blocks(self) -> bool:
        """Whether it may remove blocks, in the order in which they are ranked."""
        return "depth" in self.axes

    @property
    def is_narrowing(self) -> bool:
        """Whether it may remove channels."""
        return "width" in self.axes

    @property
    def is_cutting(self) -> bool:
        """Whether it may remove blocks or channels, not only make the images smaller."""
        return self.axes != ("resolution",)


_LARGEST = f"{RIVALS}largest_of_one"
_PREDICTED = f"{RIVALS}best_predicted"
_TWO = "ours: the method's samples and predictor, with {} left alone"

POLICIES: dict[str, Policy] = {
    METHOD: Policy("Wang et al. 2021, arXiv 2010.04879: the method", uses=OPTIMUM),
    **{axis: Policy("the paper's comparison", _LARGEST, (axis,)) for axis in AXES},
    "dwr_predicted": Policy(
        "ours: the method's best predicted network, without trials", _PREDICTED, uses=SAMPLES
    ),
    "depth_width": Policy(_TWO.format("resolution"), _PREDICTED, ("depth", "width"), SAMPLES),
    "depth_resolution": Policy(_TWO.format("width"), _PREDICTED, ("depth", "resolution"), SAMPLES),
    "width_resolution": Policy(_TWO.format("depth"), _PREDICTED, ("width", "resolution"), SAMPLES),
    "uniform": Policy("a third of the cost from each dimension", f"{RIVALS}uniform"),
    "compound": Policy(
        "Tan and Le 2019, EfficientNet, arXiv 1905.11946: its factors 1.2, 1.1, 1.15 backwards",
        f"{RIVALS}compound",
    ),
    "fast_compound": Policy(
        "Dollar et al. 2021, arXiv 2103.06877: d = T^0.1, w = T^0.4, r = T^0.05",
        f"{RIVALS}fast_compound",
    ),
    "tinynet": Policy(
        "Han et al. 2020, TinyNet, arXiv 2010.14819: its published networks, interpolated",
        f"{RIVALS}tinynet",
    ),
    "tinynet_fitted": Policy(
        "the same: Gaussian processes fitted to the Pareto samples",
        f"{RIVALS}tinynet_fitted",
        uses=SAMPLES,
    ),
    "greedy": Policy(
        "after NVIDIA's FastNAS, ours for whole dimensions: one threshold of sensitivity",
        f"{RIVALS}greedy",
        uses=AXIS_SAMPLES,
    ),
    "joint_gradient": Policy(
        "after Liu et al., JointPruning, arXiv 2005.08931, of which no code is public: all three "
        "dimensions along an estimated gradient of the loss",
        "prune3d.optimize.descent:joint_gradient",
        is_judging=True,
    ),
    "global_l2": Policy(
        "one threshold over all layers, of L2 norms in units of their layers' mean",
        _LARGEST,
        ("width",),
        channel_criterion="l2",
        allocation="global",
    ),
    "global_taylor": Policy(
        "Molchanov et al. 2019, arXiv 1906.10771: one threshold over all layers, of the change of "
        "the loss; in one step",
        _LARGEST,
        ("width",),
        channel_criterion="taylor",
        allocation="global",
    ),
    "slimming": Policy(
        "Liu et al. 2017, network slimming, arXiv 1708.06519: one threshold over all layers, of "
        "batch-norm scales that were penalized",
        _LARGEST,
        ("width",),
        channel_criterion="batchnorm_scale",
        allocation="global",
        penalty="batchnorm_l1",
    ),
    "group_norm": Policy(
        "Fang et al. 2023, DepGraph, arXiv 2301.12900: one threshold over all layers, of the norms "
        "of all that belongs to a channel, which were penalized",
        _LARGEST,
        ("width",),
        channel_criterion="group_norm",
        allocation="global",
        penalty="group_norm",
    ),
    "dwr_allocated": Policy(
        "ours: the method's optimum, each layer keeping another share",
        uses=OPTIMUM,
        allocation="global",
    ),
    "random_channels": Policy(
        "a control: the method's optimum, other channels", uses=OPTIMUM, channel_criterion="random"
    ),
    "random_blocks": Policy(
        "a control: the method's optimum, other blocks",
        f"{RIVALS}at_optimum",
        uses=OPTIMUM,
        is_shuffling_blocks=True,
    ),
    "scratch_epochs": Policy(
        "Liu et al. 2019, arXiv 1810.05270, Scratch-E: the method's optimum, trained anew",
        uses=OPTIMUM,
        channel_criterion="random",
        scratch="epochs",
    ),
    "scratch_budget": Policy(
        "the same, Scratch-B: for longer, at equal cost",
        uses=OPTIMUM,
        channel_criterion="random",
        scratch="budget",
    ),
    **{name: Policy("a network of the budget, drawn", f"{RIVALS}random_point") for name in DRAWN},
}


# By the job that chooses what they prune to.
JUDGING = tuple(name for name, policy in POLICIES.items() if policy.is_judging)
CHOOSING = tuple(n for n, policy in POLICIES.items() if policy.find and n not in JUDGING)


def target_of(policy: str) -> str:
    """Return the policy whose target a policy prunes to: its own, or the method's."""
    return METHOD if POLICIES[policy].is_at_optimum else policy

"""What an experiment is: its settings, seeds, policies and samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from prune3d.data.registry import DATASETS, Dataset
from prune3d.errors import UserError
from prune3d.optimize.budget import Budget
from prune3d.optimize.registry import DENSE_LONGER, METHOD, POLICIES
from prune3d.optimize.rounds import RerankOptions
from prune3d.sampling.tree import Design, Node, Point, SamplingTree, sampling_tree
from prune3d.workflow.paths import Run
from prune3d.workflow.sampling import design_of, stretched_points

Settings = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ExperimentBase:
    """A named (data set, model, recipe).

    Attributes
    ----------
    name
        Its name.
    config
        Its settings, complete and checked; see `prune3d.workflow.config.load_experiments`.
    seeds
        Of its repetitions.
    """

    name: str
    config: Mapping[str, Any]
    seeds: tuple[int, ...]

    def run(self, seed: int | str) -> Run:
        """Return where a seed's files lie."""
        return Run(self.name, int(seed))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All seeds."""
        return tuple(self.run(seed) for seed in self.seeds)

    @cached_property
    def policies(self) -> tuple[str, ...]:
        """Those that prune to a budget."""
        return tuple(name for name in self.config["policies"] if name != DENSE_LONGER)

    @property
    def is_dense_longer(self) -> bool:
        """Whether the dense network is fine-tuned as the final networks are, as a control."""
        return DENSE_LONGER in self.config["policies"]

    @property
    def is_method(self) -> bool:
        """Whether the method itself is run, not rivals alone."""
        return METHOD in self.config["policies"]

    @property
    def ablations(self) -> tuple[str, ...]:
        """What is measured beside the policies."""
        return tuple(self.config["ablations"])

    @property
    def is_trained(self) -> bool:
        """Whether the dense network is trained, not taken from a file."""
        return not self.checkpoint()

    @property
    def keep(self) -> list[str] | None:
        """Patterns of layers that are left alone, None where there are none."""
        return list(self.config["pruning"]["keep"]) or None

    def steps(self, policy: str) -> int:
        """Return in how many steps the final network of a policy is pruned."""
        return 1 if POLICIES[policy].scratch else int(self.config["pruning"]["steps"])

    def budget(self, budget: str) -> Settings:
        """Return a budget: its name and its limits."""
        return next(b for b in self.config["budgets"] if b["name"] == budget)

    def is_timed(self, budget: str) -> bool:
        """Tell whether a budget limits milliseconds."""
        return Budget.of(self.budget(budget)).needs_latency

    @cached_property
    def rerank(self) -> RerankOptions:
        """How many networks are tried; none where size or speed decides among equals."""
        if self.config["optimum"]["prefer"] != "none":
            return RerankOptions()
        return RerankOptions(**self.config["rerank"])

    @cached_property
    def design(self) -> Design:
        """The sampling design; see `tree`."""
        return design_of(self.config)

    @cached_property
    def tree(self) -> SamplingTree:
        """The sampling tree; with rivals alone there may be none that is right.

        Raises
        ------
        UserError
            If there is none, in one sentence.
        """
        try:
            return sampling_tree(self.design)
        except UserError as error:
            raise UserError(f"experiment '{self.name}', sampling: {error}") from None

    def node(self, point: str) -> Node:
        """Return a sample's node in the tree."""
        return self.tree.nodes[point]

    def names(self, role: str) -> list[str]:
        """Return the names of the samples of a role, ``fit`` or ``holdout``."""
        return self.tree.named(role)

    def is_pruned_along(self, axis: str, point: str) -> bool:
        """Tell whether a sample is pruned along a dimension, compared with its parent."""
        node = self.node(point)
        return bool(getattr(node.point, axis) < getattr(node.parent, axis))

    def checkpoint(self) -> list[str]:
        """Return the file of weights that the dense network starts from instead of training."""
        path = self.config["model"]["checkpoint"]
        return [path] if path else []

    def _keeps_in(self, point: str) -> bool:
        """Tell whether layers that are kept matter to the pruning of a sample."""
        prunes = any(self.is_pruned_along(axis, point) for axis in ("depth", "width"))
        return bool(self.keep) and prunes

    def _is_stretched(self, point: str) -> bool:
        """Tell whether a sample was found before the network was known."""
        return self.node(point).point in self._unknown

    @cached_property
    def _unknown(self) -> frozenset[Point]:
        return stretched_points(self.config, self.design)

    @cached_property
    def _data_set(self) -> Dataset:
        return DATASETS[self.config["data"]["name"]]

    def _channel_criterion(self, policy: str) -> str | None:
        known, named = POLICIES[policy], self.config["pruning"]["channel_criterion"]
        return (known.channel_criterion or named) if known.is_narrowing else None

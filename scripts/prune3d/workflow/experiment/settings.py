"""The settings that the jobs of an experiment depend on.

A setting that has no effect on a job is None, so that changing it runs nothing again.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from prune3d.models.registry import is_own
from prune3d.optimize.budget import Budget
from prune3d.optimize.registry import DRAWN, POLICIES
from prune3d.sampling.tree import AXES, fitted_points
from prune3d.train.recipe import SCHEDULE_KEYS, matters
from prune3d.workflow.experiment.base import ExperimentBase, Settings
from prune3d.workflow.sampling import last_levels, round_to_of


class ExperimentSettings(ExperimentBase):
    """Answers with the parameters of a job."""

    def images(self) -> Settings:
        """Return the settings with which pictures are read."""
        data = self.config["data"]
        keys = ("root", "side", "resident_gb")
        own = {key: self._of_data(key) for key in keys}
        return {"name": data["name"], **own, "normalization": None}

    def data(self) -> Settings:
        """Return the settings with which the images are read and split."""
        data = self.config["data"]
        drawn = "glyphs" in self._data_set.uses
        return {
            **self.images(),
            **{key: value if drawn else None for key, value in data["glyphs"].items()},
            "normalization": data["normalization"],
            "test_fraction": self._of_data("test_fraction"),
            "selection_fraction": data["selection_fraction"],
        }

    def architecture(self) -> Settings:
        """Return what the dense network is built from."""
        return {"model": self.config["model"]["name"]}

    def network(self) -> Settings:
        """Return what a job must know that loads a network: by what code of one's own."""
        name = self.config["model"]["name"]
        return {"own_network": name if is_own(name) else None}

    def dense_training(self) -> Settings:
        """Return how the dense network is trained."""
        sparsity = self.config["model"]["sparsity"]
        sparse = self.is_trained and sparsity["penalty"] != "none"
        return {
            **self._recipe("dense", is_used=self.is_trained),
            **{key: value if sparse else None for key, value in sparsity.items()},
            "penalty": sparsity["penalty"] if sparse else "none",
            **self.architecture(),
        }

    def training(self, section: str) -> Settings:
        """Return how a network that there is already is trained: by the recipe of a section."""
        return {**self._recipe(section), **self.network()}

    def ranking(self) -> Settings:
        """Return how blocks are ranked."""
        pruning = self.config["pruning"]
        return {
            **self.network(),
            "block_criterion": pruning["block_criterion"],
            "channel_criterion": None,
            "round_to": None,
            "probe_images": pruning["probe_images"],
            "keep": self.keep,
            "allocation": None,
        }

    def kept(self) -> Settings:
        """Return what is found out of the dense network with some layers left alone."""
        return {**self.architecture(), "keep": self.keep}

    def pruning(self, point: str) -> Settings:
        """Return how a sample is pruned: along which dimensions, and by what criteria."""
        pruning, node = self.config["pruning"], self.node(point)
        along = {axis: self.is_pruned_along(axis, point) for axis in AXES}
        return {
            **self.network(),
            "block_criterion": pruning["block_criterion"] if along["depth"] else None,
            "channel_criterion": pruning["channel_criterion"] if along["width"] else None,
            "round_to": round_to_of(self.config) if along["width"] else None,
            "probe_images": pruning["probe_images"],
            "keep": self.keep if self._keeps_in(point) else None,
            "allocation": None,
            "stretched": self._stretched(point),
            **{axis: getattr(node.point, axis) if along[axis] else None for axis in AXES},
        }

    def final_pruning(self, policy: str) -> Settings:
        """Return how the final network of a policy is pruned."""
        pruning = self.config["pruning"]
        return {
            **self.network(),
            "block_criterion": None,
            "channel_criterion": self._channel_criterion(policy),
            "round_to": pruning["round_to"] if POLICIES[policy].is_narrowing else None,
            "probe_images": pruning["probe_images"],
            "keep": self.keep if POLICIES[policy].is_cutting else None,
            "allocation": POLICIES[policy].allocation,
            "scratch": POLICIES[policy].scratch,
        }

    def final_training(self, policy: str) -> Settings:
        """Return how the final network of a policy is trained: fine-tuned, or from scratch."""
        scratch = POLICIES[policy].scratch
        return {
            **self.training("dense" if scratch else "final"),
            "scratch": scratch,
            "more_epochs": self.config["final"]["epochs"] if scratch else None,
            "steps": self.steps(policy),
        }

    def step(self, policy: str) -> Settings:
        """Return how a network is pruned and fine-tuned on the way to the final one of a policy."""
        return {**self.final_pruning(policy), **self.final_training(policy)}

    def samples(self, role: str) -> Settings:
        """Return the names of the samples of a role."""
        return {"samples": self.names(role)}

    def predictor(self) -> Settings:
        """Return the settings of the predictor."""
        return dict(self.config["predictor"])

    def ablation(self) -> Settings:
        """Return what an ablation of the predictor does not vary."""
        budgets = self.config["budgets"]
        return {
            **self.predictor(),
            "seeds": list(self.seeds),
            "budgets": [b["macs"] for b in budgets if b.get("macs", 2) <= 1],
            "epochs": self.config["finetune"]["epochs"],
        }

    def latency(self) -> Settings:
        """Return how latencies are measured."""
        round_to = self.config["pruning"]["round_to"]
        measured = {k: v for k, v in self.timing().items() if k != "throughput_batch_size"}
        return {**measured, "round_to": round_to, "keep": self.keep}

    def rounded(self) -> Settings:
        """Return how the multiple that channels are kept in is measured."""
        measured = {k: v for k, v in self.timing().items() if k != "throughput_batch_size"}
        return {**measured, **self.kept()}

    def carded(self) -> Settings:
        """Return what the card of a final network tells beside its files."""
        return {"licence": self.config["licence"]}

    def timing(self) -> Settings:
        """Return how the final networks are timed."""
        measured = {k: v for k, v in self.config["latency"].items() if k != "finals"}
        return {**self.network(), **measured}

    def quantized(self) -> Settings:
        """Return how the networks in 8-bit integers are timed, which ONNX Runtime runs."""
        config = self.config["latency"]
        return {key: config[key] for key in ("threads", "batch_size", "runs")}

    def limits(self, budget: str) -> Settings:
        """Return each limit of a budget, None where there is none."""
        given = self.budget(budget)
        return {name: given.get(name) for name in Budget.names()}

    def search(self) -> Settings:
        """Return which networks are searched for the highest prediction, whatever the budget."""
        config = self.config
        own = {**config["optimum"], **config["lattice"], "prefer": "none"}
        return {**own, "round_to": config["pruning"]["round_to"]}

    def optimum(self, budget: str) -> Settings:
        """Return how the optimum within a budget is found."""
        tried = {"candidates": self.rerank.candidates}
        prefer = self.config["optimum"]["prefer"]
        return {**self.search(), **self.limits(budget), **tried, "prefer": prefer}

    def trial(self) -> Settings:
        """Return how a network that may be the optimum is pruned and trained for a while."""
        part = self.config["rerank"]["part"]
        given = {k: v for k, v in self.config["pruning"].items() if k != "steps"}
        pruning = {**given, "keep": self.keep, "allocation": None}
        return {"part": part, **pruning, **self.training("final")}

    def rival(self, budget: str, policy: str) -> Settings:
        """Return how a rival policy chooses what to prune to."""
        lattice, pruning = self.config["lattice"], self.config["pruning"]
        axes = POLICIES[policy].axes
        widths, sides = "width" in axes, "resolution" in axes
        return {
            **self.limits(budget),
            # These are off: the full width alone, every side, every channel.
            "width_step": lattice["width_step"] if widths else 1.0,
            "side_step": lattice["side_step"] if sides else 1,
            # Unless latencies are of networks in some multiple.
            "round_to": pruning["round_to"] if widths or self.is_timed(budget) else 1,
            "lowest": self._lowest if policy in DRAWN else None,
        }

    def descent(self, budget: str, policy: str) -> Settings:
        """Return how a rival chooses that prunes and judges networks on its way."""
        return {**self.rival(budget, policy), **self.final_pruning(policy)}

    @cached_property
    def _lowest(self) -> list[float]:
        """Least depth, width and resolution that the design samples."""
        points = fitted_points(self.design)
        return [min(getattr(point, axis) for point in points) for axis in AXES]

    def _stretched(self, point: str) -> Settings | None:
        """Return the last levels where a sample was found before the network was known."""
        return last_levels(self.config) if self._is_stretched(point) else None

    def _of_data(self, key: str) -> Any:
        return self.config["data"][key] if key in self._data_set.uses else None

    def _recipe(self, section: str, *, is_used: bool = True) -> Settings:
        """Return the keys of a recipe that have an effect, and what it rewinds."""
        recipe, dense = self.config[section], self.config["dense"]
        rewinds = recipe["schedule"] == "rewind"
        values = {k: v if is_used and matters(recipe, k) else None for k, v in recipe.items()}
        for key in () if section == "dense" else SCHEDULE_KEYS:
            values[f"original_{key}"] = dense[key] if rewinds and matters(dense, key) else None
        return {**values, **self.config["compute"]}

"""What rules ask of an experiment: files, settings of each job, work. Needs no torch.

An `Experiment` is made of a checked config. Its methods take the wildcards of a job by name, so
that a rule says what it depends on by naming one of them. A setting that has no effect on a job is
None among the job's settings, so that changing it runs nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from prune3d.data.registry import DATASETS, Dataset
from prune3d.data.registry import facts as data_facts
from prune3d.data.settings import DataSettings
from prune3d.errors import UserError
from prune3d.models.registry import facts as model_facts
from prune3d.models.registry import is_own, own_file
from prune3d.models.sources import read_sources
from prune3d.optimize.budget import Budget
from prune3d.optimize.registry import (
    AXIS_SAMPLES,
    DENSE_LONGER,
    DRAWN,
    METHOD,
    OPTIMUM,
    POLICIES,
    SAMPLES,
)
from prune3d.optimize.rounds import ROUNDS, RerankOptions
from prune3d.sampling.tree import (
    AXES,
    DENSE,
    Design,
    Node,
    SamplingTree,
    fitted_points,
    sampling_tree,
)
from prune3d.train.recipe import SCHEDULE_KEYS, matters
from prune3d.workflow.paths import PICTURES, ROUNDING, Run
from prune3d.workflow.resources import Workload
from prune3d.workflow.sampling import AUTO, design_of, is_stretched, last_levels, round_to_of

Settings = dict[str, Any]
# An input that is not always there: Snakemake takes an empty list for none.
OptionalFile = str | list[str]


@dataclass(frozen=True, eq=False)
class Experiment:
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

    # Which networks are sampled.

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

    # Files that jobs need.

    def parent(self, seed: str, point: str) -> str:
        """Return the model file that a sample is pruned from."""
        parent, run = self.node(point).parent, self.run(seed)
        name = "model.safetensors"
        return run.dense(name) if parent == DENSE else run.sample(parent.name, name)

    def pruned(self, seed: str, point: str) -> str:
        """Return the network that a sample is fine-tuned from: pruned, or the dense one itself."""
        run = self.run(seed)
        if point == DENSE.name:
            return run.dense("model.safetensors")
        return run.sample(point, "pruned.safetensors")

    def pruning_provenance(self, seed: str, point: str) -> OptionalFile:
        """Return what is known of the pruning of a sample, where it is pruned."""
        run = self.run(seed)
        return run.sample(point, "pruned_provenance.json") if point != DENSE.name else []

    def files(self, role: str, seed: str) -> list[str]:
        """Return the metrics of a seed's samples of a role, ``fit`` or ``holdout``."""
        run = self.run(seed)
        return [run.sample(name, "metrics.json") for name in self.names(role)]

    def fitted(self, kind: str) -> list[str]:
        """Return the metrics of the pruned samples of all seeds: ``sample`` or ``scratch``."""
        return [
            getattr(run, kind)(name, "metrics.json")
            for run in self.runs
            for name in self.names("fit")
            if name != DENSE.name
        ]

    def every_seed(self, name: str) -> list[str]:
        """Return one file of each seed."""
        return [f"{run.folder}/{name}" for run in self.runs]

    def teacher(self, section: str, seed: str) -> OptionalFile:
        """Return the dense network where a recipe distils it."""
        distils = self.config[section]["distillation"] > 0
        return self.run(seed).dense("model.safetensors") if distils else []

    def final_teacher(self, seed: str, policy: str) -> OptionalFile:
        """Return the dense network where the recipe of a policy's final network distils it."""
        return self.teacher("dense" if POLICIES[policy].scratch else "final", seed)

    def checkpoint(self) -> list[str]:
        """Return the file of weights that the dense network starts from instead of training."""
        path = self.config["model"]["checkpoint"]
        return [path] if path else []

    def structure(self, seed: str, policy: str = "") -> str:
        """Return the file that says what can be pruned: without the layers that are kept.

        None of them matters to a policy that changes the image side alone.
        """
        keeps = self.keep and (not policy or POLICIES[policy].is_cutting)
        return self.run(seed).dense("structure_kept.json" if keeps else "structure.json")

    def structure_first(self, seed: str) -> list[str]:
        """Return the structure of a model that is not registered, looked at before training.

        Whatever is kept, which must not train the dense network anew.
        """
        known = model_facts(self.config["model"]["name"])
        return [self.run(seed).dense("structure.json")] if known is None else []

    def structure_checked(self, seed: str, point: str) -> list[str]:
        """Return the structure where only it tells whether a sample can be pruned as asked for."""
        if self._keeps_in(point):
            return [self.structure(seed)]
        return self.structure_first(seed)

    def pictures(self) -> OptionalFile:
        """Return the file of pictures that all seeds share, where the data set has pictures."""
        return PICTURES.format(experiment=self.name) if self._data_set.is_pictures else []

    def removal_order(self, seed: str, policy: str) -> OptionalFile:
        """Return the order in which blocks are removed, for policies that remove any."""
        known = POLICIES[policy]
        ranked = known.is_removing_blocks and not known.is_shuffling_blocks
        return self.run(seed).dense("blocks.json") if ranked else []

    def rounding(self, policy: str = "width") -> OptionalFile:
        """Return the multiple that was measured, for policies that prune channels to one."""
        is_auto = self.config["pruning"]["round_to"] == AUTO
        is_measured = is_auto and POLICIES[policy].is_narrowing
        return ROUNDING.format(experiment=self.name) if is_measured else []

    def train_images(self) -> str:
        """Return the training images of the first seed, for what is the same for all."""
        return self.runs[0].train

    def latencies(self, seed: str, budget: str, policy: str = "") -> OptionalFile:
        """Return the table of latencies if a budget or, without a policy, the choice needs it."""
        prefers = not policy and self.config["optimum"]["prefer"] == "latency"
        needs = prefers or Budget.of(self.budget(budget)).needs_latency
        return self.run(seed).dense("latency.csv") if needs else []

    def trials(self, name: str, seed: str, budget: str) -> list[str]:
        """Return the metrics of the networks that are tried in a round, by place."""
        run = self.run(seed)
        return [run.trial(budget, name, i, "metrics.json") for i in self.places(name)]

    def trials_before(self, seed: str, budget: str, round: str) -> list[str]:
        """Return the metrics of the first round for a trial of the second."""
        return self.trials(ROUNDS[0], seed, budget) if round == ROUNDS[1] else []

    def places(self, name: str) -> range:
        """Return the places of the networks that are tried in a round, from 1 on."""
        return range(1, self.rerank.places(name) + 1)

    @cached_property
    def rerank(self) -> RerankOptions:
        """How many networks are tried; none where size or speed decides among equals."""
        if self.config["optimum"]["prefer"] != "none":
            return RerankOptions()
        return RerankOptions(**self.config["rerank"])

    def finals(self, name: str, seed: str) -> list[str]:
        """Return one file of every final network of a seed."""
        return [
            self.run(seed).final(budget["name"], policy, name)
            for budget in self.config["budgets"]
            for policy in self.policies
        ]

    def target(self, seed: str, budget: str, policy: str) -> str:
        """Return the file that says what a policy prunes to."""
        run = self.run(seed)
        if POLICIES[policy].is_at_optimum:
            return run.budget(budget, "optimum.json")
        return run.final(budget, policy, "target.json")

    def used_samples(self, seed: str, policy: str) -> OptionalFile:
        """Return the table of samples, for rivals that look at them."""
        return self.run(seed).samples if POLICIES[policy].uses in (AXIS_SAMPLES, SAMPLES) else []

    def used_optimum(self, seed: str, budget: str, policy: str) -> OptionalFile:
        """Return the method's optimum, for rivals that start from it."""
        uses = POLICIES[policy].uses >= OPTIMUM
        return self.run(seed).budget(budget, "optimum.json") if uses else []

    def used_predictor(self, seed: str, policy: str) -> OptionalFile:
        """Return the method's predictor, for rivals that use it."""
        uses = POLICIES[policy].uses == SAMPLES
        return f"{self.run(seed).folder}/predictor/predictor.json" if uses else []

    def model_code(self) -> list[str]:
        """Return the files of a network of one's own, with those it imports."""
        return own_files(self.config["model"]["name"])

    def block_code(self) -> list[str]:
        """Return the files of a criterion of one's own for blocks."""
        return own_files(self.config["pruning"]["block_criterion"])

    def sample_code(self, point: str) -> list[str]:
        """Return the files of criteria of one's own that prune a sample."""
        return [
            file
            for axis, key in (("depth", "block_criterion"), ("width", "channel_criterion"))
            if self.is_pruned_along(axis, point)
            for file in own_files(self.config["pruning"][key])
        ]

    def channel_code(self, policy: str) -> list[str]:
        """Return the files of a criterion of one's own for channels that a policy prunes by."""
        return own_files(self._channel_criterion(policy))

    # Settings of jobs.

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
        }

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

    def delivered(self) -> Settings:
        """Return what the folder of a final network is made with."""
        return {**self.network(), "licence": self.config["licence"]}

    def timing(self) -> Settings:
        """Return how the final networks are timed."""
        return {**self.network(), **self.config["latency"]}

    def quantized(self) -> Settings:
        """Return how the networks in 8-bit integers are timed, which ONNX Runtime runs."""
        config = self.config["latency"]
        return {key: config[key] for key in ("threads", "batch_size", "runs")}

    def budget(self, budget: str) -> Settings:
        """Return a budget: its name and its limits."""
        return next(b for b in self.config["budgets"] if b["name"] == budget)

    def limits(self, budget: str) -> Settings:
        """Return each limit of a budget, None where there is none."""
        given = self.budget(budget)
        return {name: given.get(name) for name in Budget.names()}

    def optimum(self, budget: str) -> Settings:
        """Return how the optimum within a budget is found."""
        config = self.config
        own = {**self.limits(budget), **config["optimum"], **config["lattice"]}
        tried = {"candidates": self.rerank.candidates}
        return {**own, **tried, "round_to": config["pruning"]["round_to"]}

    def trial(self) -> Settings:
        """Return how a network that may be the optimum is pruned and trained for a while."""
        part = self.config["rerank"]["part"]
        pruning = {**self.config["pruning"], "keep": self.keep, "allocation": None}
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
            "round_to": pruning["round_to"] if widths else 1,
            "lowest": self._lowest if policy in DRAWN else None,
        }

    @cached_property
    def _lowest(self) -> list[float]:
        """Least depth, width and resolution that the design samples."""
        points = fitted_points(self.design)
        return [min(getattr(point, axis) for point in points) for axis in AXES]

    @property
    def keep(self) -> list[str] | None:
        """Patterns of layers that are left alone, None where there are none."""
        return list(self.config["pruning"]["keep"]) or None

    def _keeps_in(self, point: str) -> bool:
        """Tell whether layers that are kept matter to the pruning of a sample."""
        prunes = any(self.is_pruned_along(axis, point) for axis in ("depth", "width"))
        return bool(self.keep) and prunes

    def _stretched(self, point: str) -> Settings | None:
        """Return the last levels where a sample was found before the network was known."""
        found = is_stretched(self.config, self.design, self.node(point).point)
        return last_levels(self.config) if found else None

    # Work and resources.

    def may_download(self) -> int:
        """Tell whether files that are missing may be fetched: 1 or 0."""
        return int(self.config["data"]["download"])

    def times_on_gpu(self) -> int:
        """Tell whether latencies are measured on a GPU where there is one: 1 or 0."""
        latency = self.config["latency"]
        return int(latency["device"] != "cpu" and latency["runtime"] == "torch")

    def timing_threads(self) -> int:
        """Return the threads with which latencies are measured."""
        return int(self.config["latency"]["threads"] or 1)

    def workload(self, section: str) -> Workload:
        """Return the images that a job passes: by the recipe of a section, or ``once``."""
        return self._workloads[section]

    def minutes(self, section: str, attempt: int) -> int:
        """Return the time limit to ask for at an attempt."""
        return self.workload(section).minutes(attempt)

    def final_minutes(self, policy: str, attempt: int) -> int:
        """Return the time limit of the training of a policy's final network."""
        return self.minutes("scratch" if POLICIES[policy].scratch else "final", attempt)

    def memory_mb(self, section: str, attempt: int, processes: int) -> int:
        """Return the memory to ask for at an attempt."""
        return self.workload(section).memory_mb(attempt, processes)

    @cached_property
    def _workloads(self) -> dict[str, Workload]:
        data = DataSettings.from_config(self.config["data"])
        known = data_facts(data)
        epochs = {s: self.config[s]["epochs"] for s in ("dense", "finetune", "final")}
        # More epochs of a smaller network take as long.
        longest = epochs["dense"] + epochs["final"]
        return {
            section: Workload.of(known, passes, data.resident_gb)
            for section, passes in {**epochs, "once": 1, "scratch": longest}.items()
        }

    @property
    def is_trained(self) -> bool:
        """Whether the dense network is trained, not taken from a file."""
        return not self.checkpoint()

    @cached_property
    def _data_set(self) -> Dataset:
        return DATASETS[self.config["data"]["name"]]

    def _of_data(self, key: str) -> Any:
        return self.config["data"][key] if key in self._data_set.uses else None

    def _channel_criterion(self, policy: str) -> str | None:
        known, named = POLICIES[policy], self.config["pruning"]["channel_criterion"]
        return (known.channel_criterion or named) if known.is_narrowing else None

    def _recipe(self, section: str, *, is_used: bool = True) -> Settings:
        """Return the keys of a recipe that have an effect, and what it rewinds."""
        recipe, dense = self.config[section], self.config["dense"]
        rewinds = recipe["schedule"] == "rewind"
        values = {k: v if is_used and matters(recipe, k) else None for k, v in recipe.items()}
        for key in () if section == "dense" else SCHEDULE_KEYS:
            values[f"original_{key}"] = dense[key] if rewinds and matters(dense, key) else None
        return {**values, **self.config["compute"]}


@cache
def own_files(name: str | None) -> list[str]:
    """Return the files that ``path/to/file.py:name`` is made of, the first as it is named.

    Of anything else there are none.
    """
    if name is None or not is_own(name):
        return []
    _, *others = read_sources(own_file(name)).paths
    return [str(own_file(name)), *map(_beside, others)]


def _beside(path: Path) -> str:
    """Return a path as people write it: from the working directory, where it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)

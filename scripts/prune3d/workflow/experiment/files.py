"""The files that the jobs of an experiment need."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from prune3d.models.registry import facts as model_facts
from prune3d.models.registry import is_own, own_file
from prune3d.models.sources import read_sources
from prune3d.optimize.registry import AXIS_SAMPLES, METHOD, OPTIMUM, POLICIES, SAMPLES
from prune3d.optimize.rounds import ROUNDS
from prune3d.sampling.tree import DENSE
from prune3d.workflow.experiment.base import ExperimentBase
from prune3d.workflow.paths import PICTURES, ROUNDING
from prune3d.workflow.sampling import AUTO

# An input that is not always there: Snakemake takes an empty list for none.
OptionalFile = str | list[str]


class ExperimentFiles(ExperimentBase):
    """Answers with paths, by the wildcards of a job."""

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

    def finetuned(self, seed: str, budget: str, policy: str) -> list[str]:
        """Return the method's final network for a policy that is trained at the same cost."""
        at_cost = POLICIES[policy].scratch == "budget"
        return [self.run(seed).final(budget, METHOD, "model.safetensors")] if at_cost else []

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
        if self._is_stretched(point):
            return [self.run(seed).dense("structure.json")]  # which no layer that is kept changes
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

    def target_structure(self, seed: str, budget: str, policy: str) -> str:
        """Return the structure of the networks that a rival chooses among.

        Latencies are of networks without the layers that are kept.
        """
        return self.structure(seed, "" if self.is_timed(budget) else policy)

    def target_blocks(self, seed: str, budget: str, policy: str) -> OptionalFile:
        """Return the order of blocks with which a rival chooses: latencies are of that order."""
        ranked = self.run(seed).dense("blocks.json")
        return ranked if self.is_timed(budget) else self.removal_order(seed, policy)

    def target_rounding(self, budget: str, policy: str) -> OptionalFile:
        """Return the multiple with which a rival chooses: latencies are of networks in it."""
        return self.rounding() if self.is_timed(budget) else self.rounding(policy)

    def train_images(self) -> str:
        """Return the training images of the first seed, for what is the same for all."""
        return self.runs[0].train

    def latencies(self, seed: str, budget: str, policy: str = "") -> OptionalFile:
        """Return the table of latencies if a budget or, without a policy, the choice needs it."""
        prefers = not policy and self.config["optimum"]["prefer"] == "latency"
        needs = prefers or self.is_timed(budget)
        return self.run(seed).dense("latency.csv") if needs else []

    def timed(self, seed: str) -> OptionalFile:
        """Return what the final networks of a seed take, where their cards tell it."""
        return f"{self.run(seed).folder}/latency.csv" if self.config["latency"]["finals"] else []

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

    def finals(self, name: str, seed: str) -> list[str]:
        """Return one file of every final network of a seed."""
        return [
            self.run(seed).final(budget["name"], policy, name)
            for budget in self.config["budgets"]
            for policy in self.policies
        ]

    def program(self, seed: str, budget: str, policy: str) -> OptionalFile:
        """Return the program of a final network, where one is asked for."""
        asked = self.config["export_program"]
        return self.run(seed).final(budget, policy, "model.pt2") if asked else []

    def target(self, seed: str, budget: str, policy: str) -> str:
        """Return the file that says what a policy prunes to."""
        run = self.run(seed)
        if POLICIES[policy].is_at_optimum:
            return run.budget(budget, "optimum.json")
        return run.final(budget, policy, "target.json")

    def origin(self, seed: str, budget: str, policy: str, step: str = "") -> str:
        """Return the network that a step prunes, without one the last: at first the dense one."""
        run, before = self.run(seed), self._steps_before(policy, step)
        name = "model.safetensors"
        return run.step(budget, policy, before, name) if before else run.dense(name)

    def origin_provenance(
        self, seed: str, budget: str, policy: str, step: str = ""
    ) -> OptionalFile:
        """Return what is known of the steps before a step, or before the last."""
        run, before = self.run(seed), self._steps_before(policy, step)
        return run.step(budget, policy, before, "provenance.json") if before else []

    def _steps_before(self, policy: str, step: str) -> int:
        return (int(step) if step else self.steps(policy)) - 1

    def used_samples(self, seed: str, policy: str) -> OptionalFile:
        """Return the table of samples, for rivals that look at them."""
        return self.run(seed).samples if POLICIES[policy].uses in (AXIS_SAMPLES, SAMPLES) else []

    def used_optimum(self, seed: str, budget: str, policy: str) -> OptionalFile:
        """Return the method's optimum, for rivals that start from it."""
        uses = POLICIES[policy].uses >= OPTIMUM
        return self.run(seed).budget(budget, "optimum.json") if uses else []

    def used_predictor(self, seed: str, policy: str) -> OptionalFile:
        """Return the method's predictor, for rivals that use it, or the samples it leaves out."""
        uses = POLICIES[policy].uses in (AXIS_SAMPLES, SAMPLES)
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

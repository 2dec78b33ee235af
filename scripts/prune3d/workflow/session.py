"""One training of the workflow from its inputs to its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from prune3d.costs.count import cost
from prune3d.data.images import load_images
from prune3d.models.checkpoint import load, save, save_unreachable
from prune3d.models.lineage import Step, add_step, bill, get_lineage, name_stage
from prune3d.models.meaning import get_meaning
from prune3d.pruning.realized import realized
from prune3d.sampling.metrics_file import METRICS
from prune3d.train.compute import Compute
from prune3d.train.evaluate import evaluate
from prune3d.train.history import HISTORY
from prune3d.train.loop import train
from prune3d.train.recipe import SCHEDULE_KEYS, Recipe
from prune3d.train.task import Penalty

if TYPE_CHECKING:
    from prune3d.workflow.job import Job


class Session:
    """Train a network in a job of the workflow and write the job's outputs.

    Parameters
    ----------
    job
        With input ``train`` and outputs ``model`` and ``history``.
    stage
        Name of the job in the network's lineage and in the derivation of seeds.
    purpose
        More of what seeds are derived from, where several jobs have one stage.

    Attributes
    ----------
    seconds
        Time spent in epochs, and in those of them that earlier attempts at the job made.
    """

    def __init__(self, job: Job, stage: str, *purpose: str) -> None:
        self._job, self._stage, self._purpose = job, stage, purpose
        self.seconds = {"training": 0.0}

    def seed_initialization(self) -> None:
        """Seed torch's global generator, which initializes weights."""
        torch.manual_seed(self._job.seed("initialization"))

    def train(
        self,
        model: nn.Module,
        section: str,
        part: float = 1.0,
        penalty: Penalty | None = None,
        *,
        is_judged: bool = False,
    ) -> None:
        """Train in place by a part or a multiple of a recipe; write model and history.

        Where it is judged after some epochs, the job has the input ``selection``.
        """
        job = self._job
        device = job.device()
        recipe = read_recipe(job, section).scaled(part)
        model.to(device)
        training = train(
            model,
            load_images(job.input.train),
            recipe,
            job.seed("batch order", self._stage, *self._purpose),
            job.resume_file(job.output.model),
            compute=self._compute(),
            penalty=penalty,
            teacher=self._teacher() if recipe.distillation else None,
            tensorboard=job.tensorboard_folder(job.output.model),
            judged=load_images(job.input.selection) if is_judged else None,
        )
        self.seconds = {"training": training.seconds}
        if training.earlier_seconds:
            self.seconds["earlier_attempts"] = training.earlier_seconds
        self.keep(model, training.history)

    def _teacher(self) -> nn.Module:
        job = self._job
        return load(job.input.teacher, job.device(), job.params["own_network"])

    def keep(self, model: nn.Module, history: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the model, and its history where it was trained here."""
        name_stage(model, self._stage)
        HISTORY.write(self._job.output.history, history)
        save(model, self._job.output.model)

    def _compute(self) -> Compute:
        job = self._job
        on_gpu = job.device().type == "cuda"
        return job.read(
            Compute,
            # Without a GPU one thread trains.
            workers=job.threads if on_gpu else job.threads - 1,
            processes=max(1, job.gpus) if on_gpu else 1,
        )

    def write_metrics(self, model: nn.Module, **more: Any) -> None:
        """Judge the network on the selection images and write its metrics, with more of them."""
        job = self._job
        images = load_images(job.input.selection).with_batches_on(job.device())
        selection = evaluate(model, images)
        add_step(model, Step("evaluate", len(images), cost(model).macs, self._stage))
        known = network_metrics(model, self._stage)
        METRICS.write(job.output.metrics, {**known, "selection": selection, **more})
        job.say(f"selection accuracy {100 * selection['top1']:.2f} %")

    def write_unreachable(self, reason: str) -> None:
        """Write outputs that say why there is no network."""
        HISTORY.write(self._job.output.history, [])
        save_unreachable(self._job.output.model, reason)


def read_recipe(job: Job, section: str) -> Recipe:
    """Return the recipe that a job's parameters hold, with the one that it rewinds, if any."""
    recipe = job.read(Recipe, name=section, original=None, rewound=None)
    if recipe.schedule != "rewind":
        return recipe
    given = {key: job.params[f"original_{key}"] for key in SCHEDULE_KEYS}
    original = Recipe(name="dense", **{k: v for k, v in given.items() if v is not None})
    return replace(recipe, original=original)


def network_metrics(model: nn.Module, stage: str) -> dict[str, Any]:
    """Return what a network is and what the stage that made it cost, the same from run to run.

    ``classes`` are in the order of the logits.
    """
    classes = get_meaning(model).classes
    known = {"classes": list(classes)} if classes else {}
    return {**realized(model), **bill(get_lineage(model), stage), **known}

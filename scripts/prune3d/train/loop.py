"""Training a network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from prune3d.costs.count import cost
from prune3d.data.images import Images
from prune3d.errors import UserError
from prune3d.models.assembly import get_spec
from prune3d.models.lineage import Step, add_step
from prune3d.tensors import digest
from prune3d.train.compute import Compute
from prune3d.train.parallel import train_in_processes
from prune3d.train.recipe import Recipe
from prune3d.train.resume import ResumeFile
from prune3d.train.task import DEFAULT, Penalty, Task, Training
from prune3d.train.trainer import Trainer


def train(
    model: nn.Module,
    images: Images,
    recipe: Recipe,
    seed: int,
    resume: ResumeFile | None = None,
    *,
    compute: Compute | None = None,
    teacher: nn.Module | None = None,
    penalty: Penalty | None = None,
    tensorboard: Path | None = None,
    judged: Images | None = None,
) -> Training:
    """Train a network in place and leave it as it is after the last epoch.

    Parameters
    ----------
    model
        Built by prune3d, on the device that trains.
    images
        Training images, on any device.
    recipe
        How to train.
    seed
        For the batch order, the augmentation, and random layers of the network.
    resume
        Where to keep the state of the training, and to look for the state of an interrupted one.
        On a CPU a resumed training ends bit-equal to an undisturbed one. A state of another
        network, recipe, seed or other images is not used.
    compute
        Number format, memory layout, processes; by default what is fastest for the device.
    teacher
        The network that the recipe's `distillation` follows.
    penalty
        Called with the network after each backward pass, without gradients being recorded; may
        change the gradients of its parameters in place.
    tensorboard
        Folder for event files; by default none are written.
    judged
        Images, on any device, on which the network is judged after some epochs, see
        `prune3d.train.judge`. What is trained is the same without.

    Raises
    ------
    TrainingError
        If the loss is no longer finite.
    UserError
        If the recipe needs a teacher and there is none, every parameter is frozen, the device
        cannot do what `compute` asks for, or the state cannot be written.
    """
    if recipe.distillation and teacher is None:
        raise UserError(f"distillation is {recipe.distillation}, but there is no teacher.")
    if not any(p.requires_grad for p in model.parameters()):
        raise UserError(
            f"every parameter of {get_spec(model).name} is frozen (requires_grad is False); leave "
            "some of them free, or there is nothing to train."
        )
    compute = compute or DEFAULT
    teacher = teacher if recipe.distillation else None
    task = Task(model, images, recipe, seed, resume, compute, teacher, penalty, tensorboard, judged)
    if resume is not None:
        task = replace(task, resume=replace(resume, digest=_digest(task, resume.digest)))
    if compute.processes > 1:
        training = train_in_processes(task)
    else:
        training = Trainer(task, next(model.parameters()).device).run()
    model.eval()
    passes = sum(int(row["images"]) for row in training.history)
    add_step(model, Step("train", passes, cost(model).macs))
    if teacher is not None:
        add_step(model, Step("teach", passes, cost(teacher).macs))
    return training


def _digest(task: Task, known: str) -> str:
    """Return what a state must have been made with to be continued."""
    networks = {"model": task.model, "teacher": task.teacher}
    content = {
        "known": known,
        "recipe": asdict(task.recipe),
        "images": task.images.digest(),
        "judged": None if task.judged is None else task.judged.digest(),
        "seed": task.seed,
        "compute": asdict(replace(task.compute, workers=0)),
        "specs": [asdict(get_spec(n)) for n in networks.values() if n is not None],
    }
    arrays = {
        f"{kind} {name}": tensor.detach().cpu().numpy()
        for kind, network in networks.items()
        if network is not None
        for name, tensor in network.state_dict().items()
    }
    text = json.dumps(content, sort_keys=True) + digest({}, arrays)
    return hashlib.sha256(text.encode()).hexdigest()

"""Training against steps by hand, an undisturbed training, and scikit-learn's metrics."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from torch import Tensor, nn

import prune3d
from prune3d.data.images import ImageSet, ImageSplits, split_batches
from prune3d.errors import TrainingError
from prune3d.models.lineage import Step, get_lineage
from prune3d.train import trainer
from prune3d.train.evaluate import evaluate
from prune3d.train.loop import train
from prune3d.train.recipe import Recipe, learning_rate
from prune3d.train.resume import ResumeFile
from prune3d.train.sgd import NesterovSGD
from prune3d.workflow.job import Job
from prune3d.workflow.session import Session, read_recipe

Network = Callable[..., nn.Module]
RECIPE = Recipe(
    epochs=4,
    batch_size=16,
    learning_rate=0.05,
    warmup_epochs=0.5,
    momentum=0.9,
    weight_decay=1e-3,
    shift=1,
    flip=True,
)


def random_images(count: int, side: int = 8) -> ImageSet:
    """Return random bytes with labels of ten classes."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (count, 3, side, side), generator=generator)
    return ImageSet(images.byte(), torch.arange(count) % 10, (0.5,) * 3, (0.25,) * 3)


def inputs_of(images: ImageSet) -> Tensor:
    """Return normalized inputs."""
    return (images.images.float() / 255 - 0.5) / 0.25


def assert_same_weights(model: nn.Module, other: nn.Module) -> None:
    """Assert bit-equal weights and statistics."""
    weights = other.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("progress", "rate"),
    [(0, 0), (1, 0.2), (2, 0.4), (4, 0.4 * (2 + math.sqrt(2)) / 4), (6, 0.2), (10, 0)],
)
def test_the_rate_rises_linearly_and_falls_along_half_a_cosine(
    progress: float, rate: float
) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=10, learning_rate=0.4, warmup_epochs=2)
    assert learning_rate(recipe, progress) == pytest.approx(rate, abs=1e-12)


def test_without_warmup_the_rate_starts_at_its_highest() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=10, learning_rate=0.4, warmup_epochs=0)
    assert learning_rate(recipe, 0) == 0.4
    assert learning_rate(recipe, 5) == pytest.approx(0.2)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_three_steps_are_nesterov_momentum_by_hand(make_network: Network, momentum: float) -> None:
    images = random_images(12)
    recipe = Recipe(3, 12, 0.1, 0, momentum, 0.01, 0, False)
    model = make_network("resnet8", size=8)
    reference = copy.deepcopy(model).train()
    velocity = {name: torch.zeros_like(p) for name, p in reference.named_parameters()}
    for step in (1, 2, 3):
        rate = 0.1 * 0.5 * (1 + math.cos(math.pi * (step - 0.5) / 3))
        loss = F.cross_entropy(reference(inputs_of(images)), images.labels)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            pairs = zip(reference.named_parameters(), gradients, strict=True)
            for (name, parameter), gradient in pairs:
                decays = name.endswith("conv1.weight") or name.endswith("conv2.weight")
                decays |= name.endswith("shortcut.0.weight") or name == "fc.weight"
                gradient = gradient + 0.01 * parameter if decays else gradient
                velocity[name] = momentum * velocity[name] + gradient
                parameter -= rate * (gradient + momentum * velocity[name])
    train(model, images, recipe, seed=0)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 0.01), (0.0, 0.01), (0.9, 0.0)])
def test_steps_are_those_of_torchs_optimizer(
    momentum: float, decay: float, layout: torch.memory_format
) -> None:
    model, reference = (prune3d.build("resnet8", 10, 8) for _ in range(2))
    reference.load_state_dict(model.state_dict())
    # Gradients stay contiguous, whatever the order of the weights.
    model.to(memory_format=layout)
    decayed = [m.weight for m in reference.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    others = [p for p in reference.parameters() if all(p is not w for w in decayed)]
    expected = torch.optim.SGD(
        [{"params": decayed, "weight_decay": decay}, {"params": others}],
        lr=0.1,
        momentum=momentum,
        nesterov=momentum > 0,
    )
    optimizer = NesterovSGD(model, momentum, decay)
    for step, rate in enumerate((0.1, 0.3, 0.2, 0.0)):
        pairs = zip(model.parameters(), reference.parameters(), strict=True)
        for i, (parameter, other) in enumerate(pairs):
            generator = torch.Generator().manual_seed(1000 * step + i)
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            other.grad = parameter.grad.clone()
        optimizer.step(rate)
        for group in expected.param_groups:
            group["lr"] = rate
        expected.step()
    for parameter, other in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-6, atol=1e-6)
        assert parameter.grad is None


def test_gradients_from_before_the_training_do_not_count(make_network: Network) -> None:
    model, fresh = (make_network("resnet8", size=8) for _ in range(2))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for network in (model, fresh):
        train(network, random_images(20), dataclasses.replace(RECIPE, epochs=1), seed=0)
    assert_same_weights(model, fresh)


@pytest.mark.parametrize(
    ("images", "size", "sizes"),
    [(7, 3, [3, 4]), (8, 3, [3, 3, 2]), (6, 3, [3, 3]), (2, 3, [2]), (1, 3, [1]), (4, 3, [4])],
)
def test_a_last_batch_of_one_image_joins_the_one_before(
    images: int, size: int, sizes: list[int]
) -> None:
    order = torch.randperm(images)
    batches = split_batches(order, size)
    assert [len(batch) for batch in batches] == sizes
    assert torch.equal(torch.cat(batches), order)


def test_a_network_whose_maps_shrink_to_a_pixel_trains_on_a_last_image(
    make_network: Network,
) -> None:
    model = prune3d.prune(make_network("resnet8", size=8), resolution=0.5)
    recipe = dataclasses.replace(RECIPE, epochs=1, batch_size=8)
    train(model, random_images(17), recipe, seed=0)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_training_on_the_digits_learns_them(trained: nn.Module, digits: ImageSplits) -> None:
    assert evaluate(trained, digits.selection)["top1"] > 0.9


def test_history_and_lineage_tell_what_was_done(make_network: Network) -> None:
    model = prune3d.prune(make_network("resnet8", size=8), resolution=0.75)
    training = train(model, random_images(50), RECIPE, seed=0)
    assert [row["epoch"] for row in training.history] == [1, 2, 3, 4]
    assert [row["images"] for row in training.history] == [50] * 4
    assert training.history[0]["learning_rate"] == pytest.approx(
        0.05 * 0.5 * (1 + math.cos(math.pi * 0.375 / 3.5))
    )
    assert get_lineage(model) == (Step("train", 200, prune3d.cost(model).macs),)
    assert not model.training


def test_the_loss_of_the_history_is_the_mean_over_the_images(make_network: Network) -> None:
    model = make_network("resnet8", size=8)
    images = random_images(30)
    with torch.no_grad():
        logits = copy.deepcopy(model).train()(inputs_of(images))
    recipe = Recipe(1, 30, 1e-9, 0, 0, 0, 0, False)
    (row,) = train(model, images, recipe, seed=0).history
    assert row["train_loss"] == pytest.approx(
        float(F.cross_entropy(logits, images.labels)), rel=1e-5
    )
    assert row["train_top1"] == pytest.approx(
        accuracy_score(images.labels.numpy(), logits.argmax(1).numpy())
    )


def test_a_training_follows_its_seed(make_network: Network) -> None:
    models = [make_network("resnet8", size=8) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        train(model, random_images(40), dataclasses.replace(RECIPE, epochs=2), seed)
    assert_same_weights(models[0], models[1])
    assert not torch.equal(models[0].fc.weight, models[2].fc.weight)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Make the training die right after it has saved a number of epochs."""
    save = trainer.save_state

    def save_then_die(file: ResumeFile, state: trainer.TrainingState) -> None:
        save(file, state)
        if len(state.history) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "save_state", save_then_die)


@pytest.fixture
def undisturbed(make_network: Network) -> nn.Module:
    """Return a network trained without interruption."""
    model = make_network("resnet8", size=8)
    train(model, random_images(40), RECIPE, seed=5)
    return model


@pytest.fixture
def interrupted(
    tmp_path: Path, make_network: Network, monkeypatch: pytest.MonkeyPatch
) -> ResumeFile:
    """Return the state of the same training, killed after its second epoch."""
    file = ResumeFile(tmp_path / "model.resume.safetensors", "digest")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 2)
        train(make_network("resnet8", size=8), random_images(40), RECIPE, seed=5, resume=file)
    return file


def continue_training(
    make_network: Network, file: ResumeFile
) -> tuple[nn.Module, trainer.Training]:
    """Start the training again, as a new job does, and return its network."""
    model = make_network("resnet8", size=8)
    return model, train(model, random_images(40), RECIPE, seed=5, resume=file)


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_a_continued_training_ends_bit_equal(
    tmp_path: Path,
    make_network: Network,
    monkeypatch: pytest.MonkeyPatch,
    undisturbed: nn.Module,
    epochs: int,
) -> None:
    file = ResumeFile(tmp_path / "a.resume.safetensors", "digest")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, epochs)
        continue_training(make_network, file)
    epochs_run: list[int] = []
    run = trainer.Trainer.epoch
    monkeypatch.setattr(
        trainer.Trainer, "epoch", lambda *a: (epochs_run.append(a[1]), run(*a))[1], raising=True
    )
    model, training = continue_training(make_network, file)
    assert epochs_run == list(range(epochs, 4))
    assert_same_weights(model, undisturbed)
    assert [row["epoch"] for row in training.history] == [1, 2, 3, 4]
    assert get_lineage(model) == get_lineage(undisturbed)


def test_a_state_of_other_parameters_is_not_used(
    make_network: Network, interrupted: ResumeFile, undisturbed: nn.Module
) -> None:
    other = dataclasses.replace(interrupted, digest="another")
    recipe = dataclasses.replace(RECIPE, learning_rate=0.01)
    model, fresh = make_network("resnet8", size=8), make_network("resnet8", size=8)
    train(model, random_images(40), recipe, seed=5, resume=other)
    train(fresh, random_images(40), recipe, seed=5)
    assert_same_weights(model, fresh)
    assert not torch.equal(model.fc.weight, undisturbed.fc.weight)


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.999])
def test_a_truncated_state_starts_anew(
    make_network: Network, interrupted: ResumeFile, undisturbed: nn.Module, part: float
) -> None:
    content = interrupted.path.read_bytes()
    interrupted.path.write_bytes(content[: int(part * len(content))])
    model, training = continue_training(make_network, interrupted)
    assert_same_weights(model, undisturbed)
    assert len(training.history) == 4


@pytest.mark.parametrize("place", [b"train_loss", b"generator", 0.4])
def test_a_changed_state_starts_anew(
    make_network: Network,
    interrupted: ResumeFile,
    undisturbed: nn.Module,
    place: bytes | float,
) -> None:
    content = bytearray(interrupted.path.read_bytes())
    position = content.index(place) if isinstance(place, bytes) else int(place * len(content))
    content[position] ^= 1
    interrupted.path.write_bytes(content)
    model, _ = continue_training(make_network, interrupted)
    assert_same_weights(model, undisturbed)


def test_the_state_lies_beside_the_output() -> None:
    file = ResumeFile.beside("results/a/model.safetensors", "x")
    assert file.path == Path("results/a/model.resume.safetensors")


def test_a_loss_that_is_not_finite_names_the_learning_rate(make_network: Network) -> None:
    recipe = dataclasses.replace(RECIPE, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(TrainingError, match=r"in epoch 1; lower learning_rate \(1e\+30\)"):
        train(make_network("resnet8", size=8), random_images(40), recipe, seed=0)


def test_a_state_whose_loss_is_not_finite_is_not_kept(
    tmp_path: Path, make_network: Network
) -> None:
    file = ResumeFile(tmp_path / "a.resume.safetensors", "digest")
    recipe = dataclasses.replace(RECIPE, learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(TrainingError):
        train(make_network("resnet8", size=8), random_images(40), recipe, seed=0, resume=file)
    assert not file.path.exists()


@pytest.mark.parametrize(("classes", "count"), [(10, 1100), (3, 40)])
def test_evaluation_agrees_with_scikit_learn(
    make_network: Network, classes: int, count: int
) -> None:
    model = make_network("resnet8", classes=classes, size=8)
    images = random_images(count)
    images = dataclasses.replace(images, labels=images.labels % classes)
    with torch.no_grad():
        logits = copy.deepcopy(model).double()(inputs_of(images).double())
    truth, scores = images.labels.numpy(), logits.numpy()
    found = evaluate(model, images)
    assert found["images"] == count
    assert found["top1"] == pytest.approx(accuracy_score(truth, scores.argmax(1)))
    top5 = top_k_accuracy_score(truth, scores, k=5) if classes > 5 else 1.0
    assert found["top5"] == pytest.approx(top5)
    probabilities = logits.softmax(1).numpy()
    expected = log_loss(truth, probabilities, labels=np.arange(classes))
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_evaluation_uses_the_side_of_the_pruned_network(make_network: Network) -> None:
    model = prune3d.prune(make_network("resnet8", size=8), resolution=0.5)
    seen: list[torch.Size] = []
    model.conv1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    evaluate(model, random_images(10))
    assert seen == [(10, 3, 4, 4)]


def fake_job(
    folder: Path, files: dict[str, Path], params: dict[str, Any], said: list[str]
) -> SimpleNamespace:
    """Return what a session needs of a job."""
    job = SimpleNamespace(
        input=SimpleNamespace(**files),
        output=SimpleNamespace(**{name: folder / name for name in ("model", "history", "metrics")}),
        params=params,
        rule="finetune_sample",
        threads=1,
        gpus=0,
        device=lambda: torch.device("cpu"),
        seed=lambda *purpose: 0,
        resume_file=lambda output: None,
        tensorboard_folder=lambda output: None,
        say=said.append,
    )
    job.setting = lambda name: Job.setting(job, name)
    job.read = lambda kind, **given: Job.read(job, kind, **given)
    return job


def params_of(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as a job's parameters."""
    values = dataclasses.asdict(recipe)
    recipes = {key: value for key, value in values.items() if key not in ("name", "original")}
    compute = {
        "precision": "auto",
        "channels_last": "auto",
        "cuda_graph": "auto",
        "compile": False,
    }
    return {**recipes, **compute, "own_network": None}


def test_a_session_bills_training_and_judging_on_the_selection_images(
    tmp_path: Path, make_network: Network, digits: ImageSplits, digits_files: dict[str, Path]
) -> None:
    said: list[str] = []
    params = params_of(dataclasses.replace(RECIPE, epochs=2, batch_size=256))
    job = fake_job(tmp_path, digits_files, params, said)
    model = make_network("resnet8", size=8, channels=1)
    session = Session(job, "d100_w100_r50")
    session.train(model, "finetune")
    session.write_metrics(model)
    macs = prune3d.cost(model).macs
    steps = {step.action: step for step in get_lineage(model)}
    assert list(steps) == ["train", "evaluate"]
    images, judged = len(digits.train), len(digits.selection)
    assert steps["train"] == Step("train", 2 * images, macs, "d100_w100_r50")
    assert steps["evaluate"] == Step("evaluate", judged, macs, "d100_w100_r50")
    metrics = json.loads((tmp_path / "metrics").read_text())
    assert metrics["image_passes"] == 2 * images + judged
    assert metrics["cost_macs"] == (2 * images + judged) * macs
    with torch.no_grad():
        logits = model(digits.selection.normalize(digits.selection.images, 8))
    top1 = accuracy_score(digits.selection.labels.numpy(), logits.argmax(1).numpy())
    assert metrics["selection"]["top1"] == pytest.approx(top1)
    assert said == [f"selection accuracy {100 * top1:.2f} %"]


def test_a_session_distils_and_bills_the_teacher(
    tmp_path: Path, make_network: Network, digits: ImageSplits, digits_files: dict[str, Path]
) -> None:
    teacher = make_network("resnet14", size=8, channels=1)
    prune3d.save(teacher, tmp_path / "dense.safetensors")
    recipe = dataclasses.replace(RECIPE, epochs=1, batch_size=256, distillation=0.5)
    files = {**digits_files, "teacher": tmp_path / "dense.safetensors"}
    job = fake_job(tmp_path, files, params_of(recipe), [])
    model = prune3d.prune(make_network("resnet8", size=8, channels=1), resolution=0.5)
    Session(job, "point").train(model, "finetune")
    images = len(digits.train)
    assert get_lineage(model)[-2:] == (
        Step("train", images, prune3d.cost(model).macs, "point"),
        Step("teach", images, prune3d.cost(teacher).macs, "point"),
    )


def test_a_rewound_recipe_is_read_with_the_original() -> None:
    params = params_of(dataclasses.replace(RECIPE, schedule="rewind"))
    params |= {"learning_rate": None, "warmup_epochs": None}
    original = {"epochs": 30, "learning_rate": 0.2, "warmup_epochs": 2, "schedule": "step"}
    original |= {"decay_at": [0.5], "decay_factor": 0.2}
    params |= {f"original_{key}": value for key, value in original.items()}
    job = fake_job(Path(), {}, params, [])
    recipe = read_recipe(job, "finetune")
    assert recipe.original == Recipe(
        30, 128, 0.2, 2, schedule="step", decay_at=[0.5], decay_factor=0.2, name="dense"
    )
    assert learning_rate(recipe, 0) == pytest.approx(0.2 * 0.2)


def test_a_divergence_names_the_recipe_and_what_to_change(make_network: Network) -> None:
    recipe = dataclasses.replace(RECIPE, learning_rate=1e30, warmup_epochs=0, name="finetune")
    told = (
        r"of the recipe 'finetune' is .* lower finetune\.learning_rate .* finetune\.warmup_epochs"
    )
    with pytest.raises(TrainingError, match=told):
        train(make_network("resnet8", size=8), random_images(40), recipe, seed=0)

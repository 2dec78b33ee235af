"""Schedules against torch's, losses and averages by hand, hooks of the loop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSet
from prune3d.errors import TrainingError, UserError
from prune3d.pruning import PruningOptions
from prune3d.train import Compute, Recipe, report, train
from prune3d.train.averaging import WeightAverage
from prune3d.train.compute import make_plan
from prune3d.train.losses import training_loss
from prune3d.train.recipe import learning_rate, matters

Network = Callable[..., nn.Module]
RECIPE = Recipe(epochs=2, batch_size=20, learning_rate=0.05, weight_decay=1e-3)


@pytest.fixture
def images() -> ImageSet:
    """Return forty random images."""
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (40, 3, 8, 8), generator=generator).byte()
    return ImageSet(pixels, torch.arange(40) % 10, (0.5,) * 3, (0.25,) * 3)


def rates(schedule: Callable[..., object], rate: float, steps: int, **options: object) -> list:
    """Return the rates of one of torch's schedulers, step by step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], rate)
    scheduler = schedule(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_step_is_torchs_multi_step() -> None:
    recipe = dataclasses.replace(
        RECIPE, epochs=20, schedule="step", decay_at=(0.5, 0.75), decay_factor=0.2
    )
    expected = rates(torch.optim.lr_scheduler.MultiStepLR, 0.05, 20, milestones=[10, 15], gamma=0.2)
    assert [learning_rate(recipe, epoch) for epoch in range(20)] == pytest.approx(expected)


def test_cosine_is_torchs_cosine() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=20)
    expected = rates(torch.optim.lr_scheduler.CosineAnnealingLR, 0.05, 20, T_max=20)
    assert [learning_rate(recipe, epoch) for epoch in range(20)] == pytest.approx(expected)


def test_one_cycle_is_torchs_with_linear_sides() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=40, schedule="one_cycle", warmup_epochs=10)
    # Torch reaches its highest rate one step before `pct_start` of its steps, and the end likewise.
    expected = rates(
        torch.optim.lr_scheduler.OneCycleLR,
        0.05,
        41,
        max_lr=0.05,
        total_steps=41,
        pct_start=11 / 41,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    assert [learning_rate(recipe, epoch) for epoch in range(41)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["cosine", "step", "one_cycle"])
def test_rewinding_repeats_the_last_epochs(schedule: str) -> None:
    original = dataclasses.replace(RECIPE, epochs=30, schedule=schedule, warmup_epochs=3)
    recipe = dataclasses.replace(RECIPE, epochs=10, schedule="rewind", original=original)
    for progress in (0, 0.5, 3, 9.9):
        assert learning_rate(recipe, progress) == learning_rate(original, 20 + progress)


def test_every_schedule_warms_up_linearly() -> None:
    for schedule in ("cosine", "step"):
        recipe = dataclasses.replace(RECIPE, epochs=10, schedule=schedule, warmup_epochs=4)
        found = [learning_rate(recipe, epoch) for epoch in (0, 1, 2)]
        assert found == pytest.approx([0, 0.0125, 0.025])


@pytest.mark.parametrize(
    ("changed", "key", "expected"),
    [
        ({"schedule": "rewind"}, "learning_rate", False),
        ({"schedule": "rewind"}, "warmup_epochs", False),
        ({"schedule": "rewind"}, "weight_decay", True),
        ({}, "learning_rate", True),
        ({}, "decay_at", False),
        ({"schedule": "step"}, "decay_factor", True),
        ({}, "temperature", False),
        ({"distillation": 0.1}, "temperature", True),
    ],
)
def test_a_key_matters_where_it_has_an_effect(
    changed: dict[str, object], key: str, expected: bool
) -> None:
    assert matters(dataclasses.asdict(dataclasses.replace(RECIPE, **changed)), key) is expected


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def test_the_loss_is_smoothed_cross_entropy_and_distillation_by_hand() -> None:
    rng = np.random.default_rng(0)
    logits, teacher = rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    labels = rng.integers(0, 5, 7)
    recipe = dataclasses.replace(RECIPE, label_smoothing=0.2, distillation=0.3, temperature=2.5)
    soft_labels = 0.2 / 5 + 0.8 * np.eye(5)[labels]
    hard = -(soft_labels * np.log(softmax(logits))).sum(1).mean()
    p, q = softmax(teacher / 2.5), softmax(logits / 2.5)
    soft = (p * np.log(p / q)).sum(1).mean()
    inputs = torch.tensor(logits), torch.tensor(labels)
    found = training_loss(*inputs, recipe, torch.tensor(teacher))
    assert float(found) == pytest.approx(0.7 * hard + 0.3 * 2.5**2 * soft)
    assert float(training_loss(*inputs, recipe)) == pytest.approx(hard)


def test_the_average_is_the_recursion_by_hand() -> None:
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, 0.5)
    by_hand = np.zeros(2)
    for step in range(1, 20):
        values = np.array([step, -(step**2)], dtype=np.float32)
        with torch.no_grad():
            model.bias.copy_(torch.tensor(values))
        model.num_batches_tracked += 1
        average.update(model, torch.tensor(average.parts(1)[0]))
        decay = min(0.5, (1 + step) / (10 + step))
        by_hand = decay * by_hand + (1 - decay) * values
    average.write_to(model)
    np.testing.assert_allclose(model.bias.detach().numpy(), by_hand, rtol=1e-5)
    assert int(model.num_batches_tracked) == 19


def test_a_training_ends_with_the_average(make_network: Network, images: ImageSet) -> None:
    plain, averaged, kept = (make_network("resnet8", size=8) for _ in range(3))
    seen: list[dict[str, torch.Tensor]] = [plain.state_dict()]
    seen = [{k: v.clone() for k, v in seen[0].items()}]

    # A penalty of nothing sees the network after the step before.
    def watch(model: nn.Module) -> None:
        seen.append({k: v.detach().clone() for k, v in model.state_dict().items()})

    train(plain, images, RECIPE, seed=0)
    train(kept, images, RECIPE, seed=0, penalty=watch)
    train(averaged, images, dataclasses.replace(RECIPE, ema=0.9), seed=0)
    weights = [state["fc.weight"] for state in seen[2:]] + [plain.state_dict()["fc.weight"]]
    expected = seen[0]["fc.weight"].clone()
    for step, value in enumerate(weights, start=1):
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert len(weights) == 4
    torch.testing.assert_close(averaged.state_dict()["fc.weight"], expected)


def test_a_penalty_changes_the_step(make_network: Network, images: ImageSet) -> None:
    plain, pulled = (make_network("resnet8", size=8) for _ in range(2))
    recipe = dataclasses.replace(RECIPE, epochs=1, batch_size=40, momentum=0.0)

    def pull(model: nn.Module) -> None:
        model.bn1.weight.grad.add_(1.0)

    train(plain, images, recipe, seed=0)
    train(pulled, images, recipe, seed=0, penalty=pull)
    moved = plain.bn1.weight - pulled.bn1.weight
    torch.testing.assert_close(moved, torch.full_like(moved, learning_rate(recipe, 0.5)))
    assert torch.equal(plain.fc.weight, pulled.fc.weight)


def test_distilling_from_a_teacher_alone_makes_the_student_agree(
    make_network: Network, images: ImageSet
) -> None:
    teacher = make_network("resnet8", size=8)
    scale = PruningOptions(channel_criterion="batchnorm_scale")
    student = prune3d.prune(make_network("resnet8", size=8), width=0.5, options=scale)
    recipe = dataclasses.replace(RECIPE, epochs=20, distillation=1.0, temperature=1.0)
    # Labels without meaning: only the teacher tells what to say.
    first, *_, last = train(student, images, recipe, seed=0, teacher=teacher).history
    assert last["train_loss"] < first["train_loss"] / 2
    with torch.no_grad():
        inputs = images.normalize(images.images, 8)
        agree = teacher(inputs).argmax(1) == student(inputs).argmax(1)
    assert agree.float().mean() > 0.6


def test_distillation_without_a_teacher_is_refused(make_network: Network, images: ImageSet) -> None:
    recipe = dataclasses.replace(RECIPE, distillation=0.5)
    with pytest.raises(UserError, match=r"distillation is 0\.5, but there is no teacher"):
        train(make_network("resnet8", size=8), images, recipe, seed=0)


@pytest.mark.parametrize("compute", [Compute("float32", "never"), Compute("float32", "always")])
def test_the_memory_format_changes_no_more_than_rounding(
    make_network: Network, images: ImageSet, compute: Compute
) -> None:
    model, other = (make_network("resnet8", size=8) for _ in range(2))
    train(model, images, RECIPE, seed=0, compute=compute)
    train(other, images, RECIPE, seed=0)
    assert all(p.is_contiguous() for p in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_mixed_precision_learns_with_weights_in_float32(
    make_network: Network, images: ImageSet
) -> None:
    model, other = (make_network("resnet8", size=8) for _ in range(2))
    mixed = train(model, images, RECIPE, seed=0, compute=Compute(precision="bfloat16"))
    exact = train(other, images, RECIPE, seed=0)
    assert all(v.dtype != torch.bfloat16 for v in model.state_dict().values())
    losses = [[row["train_loss"] for row in t.history] for t in (mixed, exact)]
    # bfloat16 has 8 bits: about 0.4 %.
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
    assert losses[0] != losses[1]


def test_on_a_cpu_auto_is_float32() -> None:
    plan = make_plan(Compute(), torch.device("cpu"))
    assert not plan.bfloat16 and not plan.compile


def test_progress_tells_epoch_speed_accuracy_and_time_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(report.time, "monotonic", lambda: now)
    # The third of ten epochs of 500 images; two were done by an interrupted run.
    progress = report.Progress(10, 2, 500)
    now = 109.0
    assert not progress.due()
    now = 112.0
    assert progress.due()
    with caplog.at_level("INFO"):
        progress.tell(2.4, 1.23456, 0.678)
        now = 130.0
        progress.tell(3, 1.0, 0.7)
    assert caplog.messages == [
        "epoch 2.40/10, 17 images/s, loss 1.235, training accuracy 67.8 %, about 4 min left",
        "epoch 3/10, 17 images/s, loss 1.000, training accuracy 70.0 %, about 4 min left",
    ]


def test_a_long_epoch_tells_its_progress_and_stops_early_when_it_diverges(
    make_network: Network, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    monkeypatch.setattr(report, "SECONDS_BETWEEN_MESSAGES", -1.0)
    monkeypatch.setattr(report.Progress, "tell", lambda self, done, *rest: told.append(done))
    recipe = dataclasses.replace(RECIPE, epochs=1, batch_size=10)
    train(make_network("resnet8", size=8), images, recipe, seed=0)
    assert told == [0.25, 0.5, 0.75, 1]
    told.clear()
    recipe = dataclasses.replace(recipe, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"in epoch 1; lower learning_rate"):
        train(make_network("resnet8", size=8), images, recipe, seed=0)
    assert 0.75 not in told


def test_tensorboard_files_hold_the_history(
    tmp_path: Path, make_network: Network, images: ImageSet
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = train(
        make_network("resnet8", size=8), images, RECIPE, seed=0, tensorboard=tmp_path
    ).history
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("train_loss")]
    assert found == [(row["epoch"], pytest.approx(row["train_loss"])) for row in history]
    assert math.isfinite(found[0][1])

"""Mixed images and labels: against torchvision's transforms and scipy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from prune3d.data.augment import Augmentation
from prune3d.data.images import ImageSet
from prune3d.data.loader import Layout, TrainingLoader
from prune3d.data.mix import MixDraw, Mixed, Mixing, draw_mix, mix
from prune3d.train.losses import training_loss
from prune3d.train.recipe import Recipe

SIDE = 12


def drawn(how: Mixing, steps: int = 4000) -> MixDraw:
    """Return the numbers of an epoch."""
    numbers = draw_mix(how, steps, SIDE, torch.Generator().manual_seed(0))
    assert numbers is not None
    return numbers


def images(count: int = 7) -> torch.Tensor:
    """Return random bytes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=generator).byte()


def test_nothing_is_drawn_where_nothing_is_mixed() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert draw_mix(Mixing(), 5, SIDE, generator) is None
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_blends_are_drawn_from_beta_and_made_as_torchvision_makes_them(alpha: float) -> None:
    from torchvision.transforms import v2

    numbers = drawn(Mixing(mixup=alpha))
    assert stats.kstest(numbers.blends.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert torch.equal(numbers.shares, numbers.blends) and not numbers.boxes.any()
    theirs = v2.MixUp(alpha=alpha, num_classes=10)
    for step in range(3):
        lam = float(numbers.blends[step])
        expected = theirs.transform(images().float(), {"labels": None, "batch_size": 7, "lam": lam})
        found = mix(images(), numbers, torch.tensor(step))
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_rectangles_are_torchvisions() -> None:
    from torchvision.transforms import v2

    numbers = drawn(Mixing(cutmix=1.0))
    theirs = v2.CutMix(alpha=1.0, num_classes=10)
    for step in range(20):
        top, left, below, right = numbers.boxes[:, step].tolist()
        box = {"labels": None, "batch_size": 7, "box": (left, top, right, below)}
        expected = theirs.transform(images(), box).float()
        found = mix(images(), numbers, torch.tensor(step))
        assert torch.equal(found, expected)
        changed = (found != images()).any(1).any(0).float().mean()
        assert numbers.shares[step] == pytest.approx(1 - float(changed), abs=1e-6)


def test_rectangles_have_the_distribution_of_torchvisions() -> None:
    from torchvision.transforms import v2

    numbers = drawn(Mixing(cutmix=1.0), steps=2000)
    torch.manual_seed(0)
    theirs = v2.CutMix(alpha=1.0, num_classes=10)
    made = [theirs.make_params([images(2)]) for _ in range(2000)]
    boxes = np.array([params["box"] for params in made])[:, [1, 0, 3, 2]].T
    shares = np.array([params["lam_adjusted"] for params in made], np.float32)
    assert stats.ks_2samp(numbers.shares.numpy(), shares).pvalue > 1e-3
    for mine, their in zip(numbers.boxes.numpy(), boxes, strict=True):
        assert stats.ks_2samp(mine, their).pvalue > 1e-3


def test_with_both_a_batch_has_one_of_them() -> None:
    numbers = drawn(Mixing(mixup=0.4, cutmix=1.0))
    blended = numbers.blends < 1
    assert 0.45 < blended.float().mean() < 0.55
    assert not numbers.boxes[:, blended].any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_labels_mixed_alike(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 5, generator=generator)
    labels, others = torch.randint(5, (2, 6), generator=generator)
    soft = 0.3 * F.one_hot(labels, 5) + 0.7 * F.one_hot(others, 5)
    expected = F.cross_entropy(logits, soft, label_smoothing=smoothing)
    recipe = Recipe(epochs=1, label_smoothing=smoothing)
    found = training_loss(logits, labels, recipe, mixed=Mixed(others, torch.tensor(0.3)))
    torch.testing.assert_close(found, expected)


def test_a_loader_mixes_images_and_labels_alike() -> None:
    # Each image is its label in every pixel, so that a blend tells its parts.
    labels = torch.arange(23)
    pixels = labels.byte().view(-1, 1, 1, 1).expand(23, 3, SIDE, SIDE).contiguous()
    split = ImageSet(pixels, labels, (0.0,) * 3, (1.0,) * 3)
    layout = Layout(8, 6, Augmentation(0, False), teacher_side=SIDE, mixing=Mixing(1.0, 1.0))
    loader = TrainingLoader(split, layout, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(4):
        for batch in loader.epoch(generator):
            assert batch.mixed is not None and batch.teacher_inputs is not None
            share = batch.mixed.share
            means = share * batch.labels + (1 - share) * batch.mixed.labels
            found = 255 * batch.teacher_inputs.mean((1, 2, 3))
            torch.testing.assert_close(found, means, atol=1e-3, rtol=0)
            torch.testing.assert_close(
                F.interpolate(batch.teacher_inputs, (6, 6), mode="bilinear", antialias=True),
                batch.inputs,
            )
            shares.append(float(share))
    assert len(set(shares)) == len(shares) == 12

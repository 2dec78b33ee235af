"""Mixing training images with others of their batch, and their labels alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixing:
    """How the images of a batch are mixed, each with the one before it.

    Attributes
    ----------
    mixup
        Images are blended; the part that is kept is drawn from Beta(mixup, mixup) once for a batch
        (arXiv 1710.09412). 0 for none.
    cutmix
        A rectangle of the other image is pasted in; the part that is kept is drawn likewise (arXiv
        1905.04899). 0 for none. With both, each batch has one of them with equal chances.
    """

    mixup: float = 0.0
    cutmix: float = 0.0


@dataclass(frozen=True)
class MixDraw:
    """The random numbers of the steps of an epoch.

    Attributes
    ----------
    blends
        Part of the own image in a blend, 1 where a rectangle is pasted, float32, shape (steps,).
    boxes
        First row and column of the rectangle, and those behind it, in pixels; empty where images
        are blended. int64, shape (4, steps).
    shares
        Part of the own label, float32, shape (steps,).
    """

    blends: Tensor
    boxes: Tensor
    shares: Tensor

    def to(self, device: torch.device) -> MixDraw:
        """Return the same numbers on a device."""
        return MixDraw(self.blends.to(device), self.boxes.to(device), self.shares.to(device))

    def copy_(self, other: MixDraw) -> None:
        """Take over the numbers of another draw of as many steps, where these ones lie."""
        self.blends.copy_(other.blends)
        self.boxes.copy_(other.boxes)
        self.shares.copy_(other.shares)


@dataclass(frozen=True)
class Mixed:
    """The second label of mixed images.

    Attributes
    ----------
    labels
        Of the other image, int64, shape (n,).
    share
        Part of the own label, float32, shape ().
    """

    labels: Tensor
    share: Tensor


def draw_mix(how: Mixing, steps: int, side: int, generator: torch.Generator) -> MixDraw | None:
    """Draw the numbers of an epoch, as torchvision's ``v2.MixUp`` and ``v2.CutMix`` do.

    Parameters
    ----------
    how
        What to do.
    steps
        Batches of the epoch.
    side
        Of the images in pixels.
    generator
        A CPU generator; nothing is drawn from it where nothing is mixed.

    Returns
    -------
    MixDraw or None
        On the CPU; None where nothing is mixed.
    """
    if not how.mixup and not how.cutmix:
        return None
    # Torch's own draws from a Beta distribution take no generator.
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    pasted = rng.random(steps) < 0.5 if how.mixup and how.cutmix else [how.cutmix > 0] * steps
    numbers = [
        (1.0, *_draw_box(rng, how.cutmix, side)) if cuts else _draw_blend(rng, how.mixup)
        for cuts in pasted
    ]
    blends, *boxes, shares = zip(*numbers, strict=True)
    return MixDraw(torch.tensor(blends), torch.tensor(boxes), torch.tensor(shares))


def _draw_blend(rng: np.random.Generator, alpha: float) -> tuple[float, int, int, int, int, float]:
    kept = float(rng.beta(alpha, alpha))
    return kept, 0, 0, 0, 0, kept


def _draw_box(
    rng: np.random.Generator, alpha: float, side: int
) -> tuple[int, int, int, int, float]:
    """Draw a square around a random pixel, cut at the edges of the image."""
    half = int(0.5 * math.sqrt(1 - rng.beta(alpha, alpha)) * side)
    row, column = (int(centre) for centre in rng.integers(side, size=2))
    top, left = max(row - half, 0), max(column - half, 0)
    below, right = min(row + half, side), min(column + half, side)
    return top, left, below, right, 1 - (below - top) * (right - left) / side**2


def mix(images: Tensor, drawn: MixDraw, step: Tensor) -> Tensor:
    """Return the images of a batch, each mixed with the one before it, the first with the last.

    Parameters
    ----------
    images
        Any dtype, shape (n, channels, side, side).
    drawn
        The numbers of the epoch, on the images' device.
    step
        Number of the batch, int64, shape (), on the images' device.

    Returns
    -------
    Tensor
        float32, same shape.
    """
    own = images.float()
    other = own.roll(1, 0)
    blend = _of_step(drawn.blends, step)
    top, left, below, right = _of_step(drawn.boxes, step)
    place = torch.arange(images.shape[-1], device=images.device)
    rows, columns = (place >= top) & (place < below), (place >= left) & (place < right)
    return torch.where(rows[:, None] & columns, other, blend * own + (1 - blend) * other)


def mix_labels(labels: Tensor, drawn: MixDraw, step: Tensor) -> Mixed:
    """Return the second label of the images that `mix` makes; see there."""
    return Mixed(labels.roll(1, 0), _of_step(drawn.shares, step))


def _of_step(numbers: Tensor, step: Tensor) -> Tensor:
    """Return the numbers of a step from those of all, which lie along the last axis.

    An index that is a tensor without axes would be read by the processor.
    """
    return numbers.index_select(-1, step.view(1)).squeeze(-1)

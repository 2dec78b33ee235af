"""Random changes to training images, in batches on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What training images go through.

    Attributes
    ----------
    shift
        Largest shift in pixels, up to the images' side less one: reflection padding and a random
        crop back to the same side.
    flip
        Whether half of the images are mirrored left to right.
    """

    shift: int
    flip: bool


def augment(images: Tensor, how: Augmentation, generator: torch.Generator) -> Tensor:
    """Return changed images.

    Parameters
    ----------
    images
        Any dtype, shape (n, channels, side, side).
    how
        What to do.
    generator
        A CPU generator; the same state gives the same result on any device.

    Returns
    -------
    Tensor
        Same shape and dtype.
    """
    if how.shift:
        images = _shift(images, how.shift, generator)
    if how.flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        chosen = mirrored.to(images.device).view(-1, 1, 1, 1)
        images = torch.where(chosen, images.flip(3), images)
    return images


def _shift(images: Tensor, largest: int, generator: torch.Generator) -> Tensor:
    n, side = len(images), images.shape[-1]
    # Reflection is not implemented for bytes; bytes are exact in float32.
    padded = F.pad(images.float(), (largest,) * 4, mode="reflect").to(images.dtype)
    offsets = torch.randint(0, 2 * largest + 1, (2, n, 1), generator=generator)
    rows, columns = (offsets + torch.arange(side)).to(images.device)
    batch = torch.arange(n, device=images.device)[:, None, None]
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

"""Published policies of random changes to single images, as torchvision has them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prune3d.errors import UserError


class AutoAugment:
    """Changes one image at a time, on the CPU.

    Parameters
    ----------
    kind
        ``randaugment`` (arXiv 1909.13719: two operations of magnitude 9) or ``trivialaugment``
        (arXiv 2103.10158, the wide space).
    fill
        Colour of what is moved into the image, a value in [0, 255] for each channel.

    Raises
    ------
    UserError
        If images have neither one nor three channels, for which no colours are defined.
    """

    def __init__(self, kind: str, fill: Sequence[int]) -> None:
        # Torchvision is loaded only where it is used.
        from torchvision.transforms import InterpolationMode, v2

        if len(fill) not in (1, 3):
            raise UserError(
                f"auto_augment is {kind}, which changes colours, but the images have {len(fill)} "
                "channels; allowed are 1 and 3, or auto_augment: none."
            )
        policies = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}
        interpolation = InterpolationMode.BILINEAR
        self._policy = policies[kind](interpolation=interpolation, fill=list(fill))

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Return a changed image, uint8, shape (channels, side, side), for a seed.

        The state of torch's own generator stays as it is.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            changed: Tensor = self._policy(image)
        return changed

"""Random changes to training images, in batches on the device, as bytes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

TRIES = 10
WIDEST = 4 / 3
# Of a rectangle that is erased: part of the image's area, and height by width.
ERASED_AREA = (0.02, 0.33)
ERASED_RATIO = (0.3, 3.3)


@dataclass(frozen=True)
class Augmentation:
    """What training images go through, lengths in pixels of the images before resizing.

    Attributes
    ----------
    shift
        Largest shift, up to the images' side less one: reflection padding and a random crop back
        to the same side.
    flip
        Whether half of the images are mirrored left to right.
    cutout
        Side of a square, anywhere inside the image, that is filled with the mean colour, up to the
        images' side; 0 for none (arXiv 1708.04552, without squares that reach over the edge).
    crop_area
        Smallest part, in (0, 1], of a picture's area that a random crop keeps, whose aspect ratio
        is between 3/4 and 4/3, before it is resized (arXiv 1409.4842); 1 for none.
    erasing
        Chance in [0, 1] that a rectangle of 2 to 33 % of an image is filled with the mean colour
        (arXiv 1708.04896).
    """

    shift: int
    flip: bool
    cutout: int = 0
    crop_area: float = 1.0
    erasing: float = 0.0

    def behind_decoder(self, factor: float) -> Augmentation:
        """Return what is left for pictures that were cropped and resized while they were decoded.

        Lengths are `factor` times as long; what is on stays on.
        """

        def scale(length: int) -> int:
            return max(1, round(length * factor)) if length else 0

        return Augmentation(scale(self.shift), self.flip, scale(self.cutout), erasing=self.erasing)


@dataclass(frozen=True)
class Draw:
    """The random numbers of n images, on the CPU as they are drawn; None for what is off.

    Attributes
    ----------
    offsets
        Row and column in the padded image at which the crop begins, int64, shape (2, n).
    mirrored
        Which images are mirrored, bool, shape (n,).
    holes
        First row and column of the square that is cut out, int64, shape (2, n).
    boxes
        Top, left, height and width of the crop as parts of the side, float32, shape (4, n).
    erased
        First row and column of the rectangle that is erased, its height and its width, which are 0
        where there is none, int64, shape (4, n).
    """

    offsets: Tensor | None
    mirrored: Tensor | None
    holes: Tensor | None
    boxes: Tensor | None = None
    erased: Tensor | None = None

    def at(self, chosen: Tensor | slice) -> Draw:
        """Return the numbers of some of the images; indices are on the numbers' device."""
        return self._each(lambda numbers: numbers[..., chosen])

    def to(self, device: torch.device) -> Draw:
        """Return the same numbers on a device."""
        return self._each(lambda numbers: numbers.to(device))

    def copy_(self, other: Draw) -> None:
        """Take over the numbers of another draw of as many images, where these ones lie."""
        for mine, theirs in zip(self._all(), other._all(), strict=True):
            if mine is not None and theirs is not None:
                mine.copy_(theirs)

    @staticmethod
    def concatenate(draws: Sequence[Draw]) -> Draw:
        """Return the numbers of several batches, one after another."""
        columns = zip(*(each._all() for each in draws), strict=True)
        return Draw(*(None if c[0] is None else torch.cat(c, -1) for c in columns))  # type: ignore[arg-type]

    def _all(self) -> tuple[Tensor | None, ...]:
        return self.offsets, self.mirrored, self.holes, self.boxes, self.erased

    def _each(self, change: Callable[[Tensor], Tensor]) -> Draw:
        return Draw(*(None if numbers is None else change(numbers) for numbers in self._all()))


def draw(how: Augmentation, count: int, side: int, generator: torch.Generator) -> Draw:
    """Draw the random numbers for a batch.

    Parameters
    ----------
    how
        What to do.
    count
        Number of images.
    side
        Their side in pixels.
    generator
        A CPU generator; the same state gives the same numbers for any device.
    """
    offsets = mirrored = holes = boxes = erased = None
    if how.shift:
        offsets = torch.randint(0, 2 * how.shift + 1, (2, count), generator=generator)
    if how.flip:
        mirrored = torch.rand(count, generator=generator) < 0.5
    if how.cutout:
        holes = torch.randint(0, side - how.cutout + 1, (2, count), generator=generator)
    if how.crop_area < 1:
        boxes = _draw_boxes(how.crop_area, count, generator)
    if how.erasing:
        erased = _draw_erased(how.erasing, count, side, generator)
    return Draw(offsets, mirrored, holes, boxes, erased)


def apply(images: Tensor, how: Augmentation, drawn: Draw, fill: Tensor | None = None) -> Tensor:
    """Return changed images.

    Parameters
    ----------
    images
        Any dtype, shape (n, channels, side, side).
    how
        What to do.
    drawn
        The random numbers for these images, on any device; on the images' own nothing is moved.
    fill
        Value of each channel in what is cut out or erased, of the images' dtype, shape
        (channels,), on their device; by default 0.

    Returns
    -------
    Tensor
        Same shape and dtype.
    """
    if drawn.boxes is not None:
        images = _resize_boxes(images, drawn.boxes.to(images.device))
    if drawn.offsets is not None or drawn.mirrored is not None:
        images = _crop_and_mirror(images, how, drawn)
    if drawn.holes is not None:
        images = _fill(images, drawn.holes, torch.full_like(drawn.holes, how.cutout), fill)
    if drawn.erased is not None:
        images = _fill(images, drawn.erased[:2], drawn.erased[2:], fill)
    return images


def augment(
    images: Tensor,
    how: Augmentation,
    generator: torch.Generator,
    fill: Tensor | None = None,
) -> Tensor:
    """Draw and apply; see there."""
    return apply(images, how, draw(how, len(images), images.shape[-1], generator), fill)


def _draw_boxes(area: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw as torchvision's `RandomResizedCrop` does: the first of ten boxes that fits, or all."""
    areas, ratios, down, across = torch.rand(4, TRIES, count, generator=generator)
    areas = area + (1 - area) * areas
    halves = (math.log(WIDEST) * (ratios - 0.5)).exp()
    heights, widths = areas.sqrt() / halves, areas.sqrt() * halves
    fits = (heights <= 1) & (widths <= 1)
    first = fits & (fits.cumsum(0) == 1)
    sides = (torch.where(first, side, 0).sum(0) for side in (heights, widths))
    height, width = (torch.where(fits.any(0), side, 1) for side in sides)
    return torch.stack((down[0] * (1 - height), across[0] * (1 - width), height, width))


def _draw_erased(chance: float, count: int, side: int, generator: torch.Generator) -> Tensor:
    """Draw as torchvision's `RandomErasing` does: the first of ten that fits, or none."""
    areas, ratios, down, across = torch.rand(4, TRIES, count, generator=generator)
    low, high = ERASED_AREA
    roots = (side**2 * (low + (high - low) * areas)).sqrt()
    low, high = (math.log(ratio) for ratio in ERASED_RATIO)
    bend = ((low + (high - low) * ratios) / 2).exp()
    heights, widths = (roots * bend).round().long(), (roots / bend).round().long()
    fits = (heights < side) & (widths < side)
    first = fits & (fits.cumsum(0) == 1)
    chosen = torch.rand(count, generator=generator) < chance
    height, width = (torch.where(first, x, 0).sum(0) * chosen for x in (heights, widths))
    top, left = (
        (x[0] * (side - length + 1)).floor().long()
        for x, length in ((down, height), (across, width))
    )
    return torch.stack((top, left, height, width))


def _resize_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    """Enlarge the box of each image to the image's side, bilinear."""
    n, side = len(images), images.shape[-1]
    top, left, height, width = boxes[:, :, None]
    # The centres of the pixels, where -1 and 1 are the edges of the image.
    centres = (torch.arange(side, device=images.device) + 0.5) / side
    rows, columns = (2 * (top + height * centres) - 1, 2 * (left + width * centres) - 1)
    grid = torch.stack(
        (columns[:, None, :].expand(n, side, side), rows[:, :, None].expand(n, side, side)), -1
    )
    found = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return found.to(images.dtype) if images.is_floating_point() else found.round_().to(images.dtype)


def _crop_and_mirror(images: Tensor, how: Augmentation, drawn: Draw) -> Tensor:
    """Take every output pixel from its place in the unpadded image: one pass, one copy."""
    n, channels, side, _ = images.shape
    drawn = drawn.to(images.device)
    places = torch.arange(side, device=images.device).expand(2, n, side)
    if drawn.mirrored is not None:
        backwards = torch.where(drawn.mirrored[:, None], side - 1 - places[1], places[1])
        places = torch.stack((places[0], backwards))
    if drawn.offsets is not None:
        # Reflection: -1 is 1, and side is side - 2.
        places = (places + drawn.offsets[:, :, None] - how.shift).abs()
        places = side - 1 - (side - 1 - places).abs()
    rows, columns = places
    source = (rows[:, :, None] * side + columns[:, None, :]).view(n, 1, side * side)
    flat = images.reshape(n, channels, side * side)
    return flat.gather(2, source.expand(n, channels, side * side)).view(n, channels, side, side)


def _fill(images: Tensor, first: Tensor, lengths: Tensor, fill: Tensor | None) -> Tensor:
    """Fill a rectangle of each image; rows and columns, and how many, have shape (2, n)."""
    place = torch.arange(images.shape[-1], device=images.device)
    first, lengths = (x.to(images.device)[:, :, None] for x in (first, lengths))
    inside = (place >= first) & (place < first + lengths)
    hole = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    values = images.new_zeros(images.shape[1]) if fill is None else fill
    return torch.where(hole, values.view(1, -1, 1, 1), images)

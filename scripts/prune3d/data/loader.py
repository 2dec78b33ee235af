"""Training images in shuffled, augmented batches, from memory or from picture files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from prune3d.data.augment import Augmentation, Draw, apply, draw
from prune3d.data.auto_augment import AutoAugment
from prune3d.data.images import (
    ImageFiles,
    Images,
    ImageSet,
    scales,
    split_batches,
    standardize,
)
from prune3d.data.mix import MixDraw, Mixed, Mixing, draw_mix, mix, mix_labels
from prune3d.errors import UserError

# Part of the free memory of a GPU that images may take.
RESIDENT_PART = 0.5
PREFETCHED_BATCHES = 4
NOTHING_MIXED = Mixing()


@dataclass(frozen=True)
class Shard:
    """The part of every batch that one of several processes computes.

    Attributes
    ----------
    rank
        Number of this process, from 0.
    processes
        How many there are.
    """

    rank: int = 0
    processes: int = 1

    def of(self, count: int) -> slice:
        """Return this process's part of `count` images; the parts differ by at most one image."""
        first = count * self.rank // self.processes
        return slice(first, count * (self.rank + 1) // self.processes)


@dataclass(frozen=True)
class Batch:
    """What one process computes in one step.

    Attributes
    ----------
    inputs
        float32, shape (n, channels, side, side), normalized.
    labels
        int64, shape (n,).
    size
        Images of the whole batch, over all processes.
    teacher_inputs
        The same images at a teacher's side, where there is one.
    mixed
        The second labels, where images are mixed.
    """

    inputs: Tensor
    labels: Tensor
    size: int
    teacher_inputs: Tensor | None = None
    mixed: Mixed | None = None


@dataclass(frozen=True)
class Layout:
    """How images become batches.

    Attributes
    ----------
    batch_size
        Images of a step, over all processes.
    side
        Side in pixels that the network takes.
    augmentation
        Random changes, in pixels of the images before resizing.
    shard
        The part of each batch that is wanted.
    workers
        Processes that decode picture files and apply `auto_augment`; 0 does so in this one.
    memory_format
        Of the inputs.
    teacher_side
        Side in pixels that a teacher takes, where there is one.
    mixing
        Of the images of a batch, after the random changes; each process mixes its part.
    auto_augment
        A policy of changes to single images on the CPU, before all others, or ``none``.
    """

    batch_size: int
    side: int
    augmentation: Augmentation
    shard: Shard = Shard()
    workers: int = 0
    memory_format: torch.memory_format = torch.contiguous_format
    teacher_side: int | None = None
    mixing: Mixing = NOTHING_MIXED
    auto_augment: str = "none"

    @property
    def largest_side(self) -> int:
        """The largest side that is needed."""
        return max(self.side, self.teacher_side or 0)


class TrainingLoader:
    """Batches of an epoch, again and again.

    Images in memory are moved to the device where they fit beside the network, and are augmented
    there at full size, then resized. Worker processes apply `auto_augment` and decode and resize
    picture files ahead of their use; these are augmented at the smaller side with lengths scaled
    alike.

    The order of an epoch and its random numbers are moved to the device once, into tensors that
    stay where they are, and a batch is made from them by operations on the device alone: what makes
    a batch can be captured in a CUDA graph.

    Parameters
    ----------
    images
        Training images.
    layout
        How they become batches.
    device
        Where batches are wanted.
    """

    def __init__(self, images: Images, layout: Layout, device: torch.device) -> None:
        self._layout, self._device = layout, device
        self._labels = images.labels.to(device)
        how = layout.augmentation
        self._source: _Source
        self._side = images.side
        policy = _policy(layout, images.mean)
        if isinstance(images, ImageFiles):
            area = layout.augmentation.crop_area
            decoder = _Decoder(images, layout.largest_side, area, policy)
            self._source = _Ahead(decoder, layout, device, area < 1 or policy is not None)
            self._side = layout.largest_side
            how = how.behind_decoder(self._side / images.side)
        elif policy is not None:
            self._source = _Ahead(_Changer(images.images.cpu(), policy), layout, device, True)
        elif fits(images, device):
            self._source = _Resident(images.images.to(device))
        else:
            self._source = _Host(images.images, device)
        self._how, self._channels = how, images.channels
        self._scales = scales(images.mean, images.spread, device)
        self._fill = _mean_colour(images.mean).to(device)
        self._batches = [len(b) for b in split_batches(torch.arange(len(self)), layout.batch_size)]
        self._order = torch.arange(len(self), device=device)
        self._drawn = self._draw(torch.Generator()).to(device)
        mixed = self._draw_mix(torch.Generator())
        self._mixed = None if mixed is None else mixed.to(device)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def sizes(self) -> Sequence[int]:
        """Images of each batch of an epoch, over all processes."""
        return self._batches

    def begin(self, generator: torch.Generator) -> Iterator[Tensor | None]:
        """Begin an epoch in the order and with the changes that the generator gives.

        Every process draws the numbers of the whole batch, so that the images do not depend on how
        many processes share them.

        Returns
        -------
        Iterator
            For each step what `batch` needs: bytes on the device, None where they are there.
        """
        order = torch.randperm(len(self), generator=generator)
        self._order.copy_(order)
        self._drawn.copy_(self._draw(generator))
        mixed = self._draw_mix(generator)
        if self._mixed is not None and mixed is not None:
            self._mixed.copy_(mixed)
        batches = split_batches(order, self._layout.batch_size)
        parts = [batch[self._layout.shard.of(len(batch))] for batch in batches]
        return self._source.read(parts, self._draw_seeds(batches, generator))

    def batch(self, first: Tensor, size: int, pixels: Tensor | None = None) -> Batch:
        """Return this process's part of a batch of the epoch that was begun.

        Parameters
        ----------
        first
            Images of the epoch before this batch, int64, shape (), on the device.
        size
            Images of the whole batch.
        pixels
            What `begin` yielded for it.
        """
        part = self._layout.shard.of(size)
        places = first + torch.arange(part.start, part.stop, device=self._device)
        indices = self._order[places]
        if pixels is None:
            assert self._source.pixels is not None
            pixels = self._source.pixels.index_select(0, indices)
        changed = apply(pixels, self._how, self._drawn.at(places), self._fill)
        labels, mixed = self._labels[indices], None
        if self._mixed is not None:
            step = first // self._batches[0]
            changed = mix(changed, self._mixed, step)
            mixed = mix_labels(labels, self._mixed, step)
        taught = self._layout.teacher_side
        return Batch(
            self._inputs(changed, self._layout.side),
            labels,
            size,
            self._inputs(changed, taught) if taught else None,
            mixed,
        )

    def epoch(self, generator: torch.Generator) -> Iterator[Batch]:
        """Yield every image once; see `begin`."""
        first = torch.zeros((), dtype=torch.int64, device=self._device)
        for size, pixels in zip(self.sizes, self.begin(generator), strict=True):
            yield self.batch(first, size, pixels)
            first += size

    def stand_in(self, size: int) -> Tensor | None:
        """Return noise in the place of the bytes that `begin` yields for a batch."""
        if self._source.pixels is not None:
            return None
        part = self._layout.shard.of(size)
        shape = (part.stop - part.start, self._channels, self._side, self._side)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return noise.to(self._device)

    def _draw_seeds(
        self, batches: Sequence[Tensor], generator: torch.Generator
    ) -> list[Tensor] | None:
        """Draw a seed for each image of this process's parts, where decoders need them."""
        if not self._source.seeded:
            return None
        drawn = [torch.randint(2**62, (len(batch),), generator=generator) for batch in batches]
        return [seeds[self._layout.shard.of(len(seeds))] for seeds in drawn]

    def _draw(self, generator: torch.Generator) -> Draw:
        return Draw.concatenate(
            [draw(self._how, size, self._side, generator) for size in self.sizes]
        )

    def _draw_mix(self, generator: torch.Generator) -> MixDraw | None:
        return draw_mix(self._layout.mixing, len(self.sizes), self._side, generator)

    def _inputs(self, pixels: Tensor, side: int) -> Tensor:
        inputs = standardize(pixels, side, *self._scales)
        return inputs.contiguous(memory_format=self._layout.memory_format)


def fits(images: ImageSet, device: torch.device) -> bool:
    """Tell whether images may be held on a device: always on the CPU, where they are already."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return images.images.nbytes <= RESIDENT_PART * free


def _mean_colour(mean: tuple[float, ...]) -> Tensor:
    return (255 * torch.tensor(mean)).round().to(torch.uint8)


def _policy(layout: Layout, mean: tuple[float, ...]) -> AutoAugment | None:
    kind = layout.auto_augment
    return None if kind == "none" else AutoAugment(kind, _mean_colour(mean).tolist())


class _Source(Protocol):
    pixels: Tensor | None
    seeded: bool

    def read(
        self, parts: Sequence[Tensor], seeds: Sequence[Tensor] | None
    ) -> Iterator[Tensor | None]:
        """Yield the bytes of each part, which is indices on the CPU, on the device.

        A source that draws random numbers itself takes a seed for each image.
        """


class _Resident:
    seeded = False

    def __init__(self, pixels: Tensor) -> None:
        self.pixels: Tensor | None = pixels

    def read(self, parts: Sequence[Tensor], seeds: Sequence[Tensor] | None) -> Iterator[None]:
        yield from (None for _ in parts)


class _Host:
    pixels: Tensor | None = None
    seeded = False

    def __init__(self, pixels: Tensor, device: torch.device) -> None:
        self._pixels, self._device = pixels.cpu(), device

    def read(self, parts: Sequence[Tensor], seeds: Sequence[Tensor] | None) -> Iterator[Tensor]:
        for part in parts:
            found = self._pixels.index_select(0, part)
            if self._device.type == "cuda":
                found = found.pin_memory()
            yield found.to(self._device, non_blocking=True)


class _Ahead:
    """What worker processes make of single images ahead of its use."""

    pixels: Tensor | None = None

    def __init__(self, reader: Any, layout: Layout, device: torch.device, seeded: bool) -> None:
        from torch.utils.data import DataLoader

        self._device, self.seeded = device, seeded
        self._parts = _Parts()
        self._loader: Any = DataLoader(
            reader,
            batch_sampler=self._parts,
            num_workers=layout.workers,
            collate_fn=_unchanged,  # type: ignore[arg-type]
            pin_memory=device.type == "cuda",
            persistent_workers=layout.workers > 0,
            prefetch_factor=PREFETCHED_BATCHES if layout.workers else None,
        )

    def read(self, parts: Sequence[Tensor], seeds: Sequence[Tensor] | None) -> Iterator[Tensor]:
        numbers = seeds or [torch.zeros_like(part) for part in parts]
        pairs = zip(parts, numbers, strict=True)
        self._parts.parts = [torch.stack(pair, 1).tolist() for pair in pairs]
        for pixels in self._loader:
            if isinstance(pixels, str):
                raise UserError(pixels)
            yield pixels.to(self._device, non_blocking=True)


class _Parts:
    """The batches of the coming epoch, as DataLoader's batch sampler: pairs of index and seed."""

    def __init__(self) -> None:
        self.parts: list[list[list[int]]] = []

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[list[list[int]]]:
        return iter(self.parts)


class _Decoder:
    """Picture files as DataLoader's data set, a batch at a time."""

    def __init__(
        self, files: ImageFiles, side: int, area: float, policy: AutoAugment | None
    ) -> None:
        self._files = files.with_batches_on(torch.device("cpu"))
        self._side, self._area, self._policy = side, area, policy

    def __getitems__(self, pairs: list[list[int]]) -> Tensor | str:
        try:
            squares = [self._decode(index, seed) for index, seed in pairs]
        except UserError as error:
            # DataLoader would wrap its sentence in a traceback.
            return str(error)
        if not squares:
            return torch.empty(0, self._files.channels, self._side, self._side, dtype=torch.uint8)
        return torch.stack(squares)

    def _decode(self, index: int, seed: int) -> Tensor:
        if self._area < 1:
            image = self._files.decode_crop(index, self._side, self._area, seed)
        else:
            image = self._files.decode(index, self._side)
        # Other numbers than those of the crop.
        return image if self._policy is None else self._policy(image, seed ^ 1)


class _Changer:
    """Images in memory as DataLoader's data set, each changed by a policy."""

    def __init__(self, pixels: Tensor, policy: AutoAugment) -> None:
        self._pixels, self._policy = pixels, policy

    def __getitems__(self, pairs: list[list[int]]) -> Tensor:
        found = self._pixels[[index for index, _ in pairs]]
        for image, (_, seed) in zip(found, pairs, strict=True):
            image.copy_(self._policy(image, seed))
        return found


def _unchanged(batch: Tensor | str) -> Tensor | str:
    return batch

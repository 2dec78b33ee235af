"""Importance of blocks: a criterion takes a network and images and scores each removable block.

The block with the lowest score is removed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prune3d.data.images import Images, ImageSplits
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.models.stand_ins import NOTHING, has_tensor, tensors
from prune3d.pruning.blocks import Block
from prune3d.pruning.linear_probe import NormalEquations
from prune3d.pruning.options import PruningOptions

Scores = dict[str, tuple[float, float]]
BlockCriterion = Callable[[nn.Module, Sequence[Block], ImageSplits | None, PruningOptions], Scores]


def discrimination(
    model: nn.Module, blocks: Sequence[Block], images: ImageSplits | None, options: PruningOptions
) -> Scores:
    """Score blocks by what they add to linear separability (DBP, arXiv 1912.10178).

    A linear classifier is fitted to the average-pooled output of every block on training images
    and judged on the selection images. A block's score is the accuracy at its output less the
    accuracy at its input. Ours: the classifier is ridge regression on one-hot labels, in closed
    form, and ties, common with few images, are broken by the fall of its squared error.

    Features are not kept: beside one batch of them there are, for each place between blocks,
    (channels + classes) x channels numbers in double, at most a few hundred MB for ResNet-50.

    Returns
    -------
    dict
        For each removable block (gain in accuracy in [-1, 1], fall of the mean squared error).

    Raises
    ------
    PruningError
        If there are no images.
    """
    images = _needed(images, "dbp")
    classes, side = get_spec(model).num_classes, get_spec(model).side
    train, selection = images.train.subset(options.probe_images, options.seed), images.selection
    equations: dict[str, NormalEquations] = {}
    for batch in pooled_features(model, blocks, train, side):
        for place, features in batch.features.items():
            if place not in equations:
                equations[place] = NormalEquations(classes, features)
            equations[place].add(features, batch.labels)
    probes = {place: equations.pop(place).fit() for place in list(equations)}
    sums: dict[str, Tensor] = {}
    places: dict[str, str] = {}
    for batch in pooled_features(model, blocks, selection, side):
        places = batch.before
        for place, features in batch.features.items():
            judged = probes[place].judge(features, batch.labels)
            sums[place] = sums[place] + judged if place in sums else judged
    results = {place: (total / len(selection)).tolist() for place, total in sums.items()}
    scores = {}
    for block in blocks:
        if block.removable:
            before, after = results[places[block.name]], results[block.name]
            scores[block.name] = (after[0] - before[0], before[1] - after[1])
    return scores


def loss_increase(
    model: nn.Module, blocks: Sequence[Block], images: ImageSplits | None, options: PruningOptions
) -> Scores:
    """Score blocks by how much the loss on the selection images rises when they are skipped.

    Returns
    -------
    dict
        For each removable block (rise of the mean cross-entropy, fall of the accuracy).

    Raises
    ------
    PruningError
        If there are no images.
    """
    images = _needed(images, "skip")
    from prune3d.pruning.depth import remove_blocks
    from prune3d.train.evaluate import evaluate

    whole = evaluate(model, images.selection)
    scores = {}
    for block in blocks:
        if block.removable:
            without = copy_network(model, get_spec(model).name)
            remove_blocks(without, [block])
            result = evaluate(without, images.selection)
            rise, fall = result["loss"] - whole["loss"], whole["top1"] - result["top1"]
            scores[block.name] = (rise, fall)
    return scores


def _one_pass_a_block(blocks: Sequence[Block], images: ImageSplits, options: PruningOptions) -> int:
    return (1 + sum(block.removable for block in blocks)) * len(images.selection)


# The rest of a network without a block costs a little less than billed, a pass of the whole.
loss_increase.image_passes = _one_pass_a_block  # type: ignore[attr-defined]


def random(
    model: nn.Module, blocks: Sequence[Block], images: ImageSplits | None, options: PruningOptions
) -> Scores:
    """Uniform random scores: the baseline."""
    generator = torch.Generator().manual_seed(options.seed)
    return {
        block.name: (float(torch.rand(1, generator=generator)), 0.0)
        for block in blocks
        if block.removable
    }


@dataclass(frozen=True)
class Pooled:
    """Average-pooled features of a batch around blocks.

    Attributes
    ----------
    labels
        int64, shape (n,).
    features
        For each place, shape (n, channels there): what goes into a block, and under the block's
        name what comes out; where the output is appended to the input, both.
    before
        For each block the place of its input, which is another block's where one follows the other.
    """

    labels: Tensor
    features: dict[str, Tensor]
    before: dict[str, str]


def pooled_features(
    model: nn.Module, blocks: Sequence[Block], images: Images, side: int
) -> Iterator[Pooled]:
    """Yield average-pooled features at the input and the output of every block, by batches.

    Parameters
    ----------
    model
        The network, on the images' device.
    blocks
        Blocks that the network has, in the order in which they run.
    images
        Images to pass through the network.
    side
        Image side in pixels.
    """
    record = _Record()
    handles = [
        handle
        for block in blocks
        for handle in (
            model.get_submodule(block.modules[0]).register_forward_pre_hook(
                record.entering(block), with_kwargs=True
            ),
            model.get_submodule(block.modules[-1]).register_forward_hook(record.leaving(block)),
        )
    ]
    training = model.training
    model.eval()
    first = 0
    try:
        for batch in images.batches(side):
            with torch.no_grad():
                model(batch)
            yield record.end_batch(images.labels[first : first + len(batch)])
            first += len(batch)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()


@dataclass
class _Record:
    """What goes into blocks and comes out of them in a batch, gathered by hooks.

    Of a block that is called several times in a pass the first input and the last output count.
    """

    features: dict[str, Tensor] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, tuple[Any, Tensor]] = field(default_factory=dict)

    def entering(self, block: Block) -> Any:
        """Return a hook that keeps a block's first input, or of which block it is the output."""

        def hook(module: nn.Module, given: Any, named: Any) -> None:
            if block.name in self.inputs:
                return
            parts = list(tensors(next(a for a in (*given, *named.values()) if has_tensor(a))))
            self.inputs[block.name] = torch.cat([_pool(part) for part in parts], 1)
            followed = [n for n, (out, _) in self.outputs.items() if _are(parts, out)]
            place = followed[-1] if followed else f"before {block.name}"
            self.before[block.name] = place
            if not followed:
                self.features[place] = self.inputs[block.name]

        return hook

    def leaving(self, block: Block) -> Any:
        """Return a hook that keeps a block's output."""

        def hook(module: nn.Module, given: Any, output: Any) -> None:
            pooled = torch.cat([_pool(part) for part in tensors(output)], 1)
            if block.stand_in == NOTHING:
                pooled = torch.cat([self.inputs[block.name], pooled], 1)
            self.outputs.pop(block.name, None)
            self.outputs[block.name] = output, pooled

        return hook

    def end_batch(self, labels: Tensor) -> Pooled:
        """Return the batch's features and forget them."""
        pooled = {name: features for name, (_, features) in self.outputs.items()}
        batch = Pooled(labels, {**self.features, **pooled}, self.before)
        self.features, self.before = {}, {}
        self.inputs.clear()
        self.outputs.clear()
        return batch


def _are(parts: list[Tensor], output: Any) -> bool:
    return len(parts) == 1 and parts[0] is output


def _pool(x: Tensor) -> Tensor:
    """Return the mean over everything but images and channels, which come second."""
    return x.flatten(2).mean(2) if x.dim() > 2 else x.view(len(x), -1)


def _needed(images: ImageSplits | None, criterion: str) -> ImageSplits:
    if images is None:
        raise PruningError(
            f"criterion '{criterion}' scores blocks on images and there are none; give images or "
            "an order of removal, or use 'random'."
        )
    return images

"""Importance of blocks: a criterion takes a network and images and scores each removable block.

The block with the lowest score is removed first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prune3d.data.images import Images, ImageSplits
from prune3d.errors import PruningError
from prune3d.models.assembly import NOTHING, get_spec
from prune3d.pruning.blocks import Block
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
    fit = pooled_features(model, blocks, train, side)
    judge = pooled_features(model, blocks, selection, side)
    results = {
        place: probe_accuracy(
            torch.cat(fit.features[place]),
            train.labels,
            torch.cat(judge.features[place]),
            selection.labels,
            classes,
        )
        for place in fit.features
    }
    scores = {}
    for block in blocks:
        if block.removable:
            before, after = results[fit.before[block.name]], results[block.name]
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
            without = copy.deepcopy(model)
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
    """Average-pooled features around blocks.

    Attributes
    ----------
    features
        For each place batches of shape (n, channels there): what goes into a block, and under the
        block's name what comes out; where the output is appended to the input, both.
    before
        For each block the place of its input, which is another block's where one follows the other.
    """

    features: dict[str, list[Tensor]]
    before: dict[str, str]


def pooled_features(model: nn.Module, blocks: Sequence[Block], images: Images, side: int) -> Pooled:
    """Return average-pooled features at the input and the output of every block.

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
    features: dict[str, list[Tensor]] = {}
    before: dict[str, str] = {}
    inputs: dict[str, Tensor] = {}
    outputs: list[tuple[Tensor, str]] = []

    def enter(block: Block) -> Any:
        def hook(module: nn.Module, given: Any) -> None:
            parts = [given[0]] if isinstance(given[0], Tensor) else list(given[0])
            inputs[block.name] = torch.cat([_pool(part) for part in parts], 1)
            followed = [name for tensor, name in outputs if len(parts) == 1 and tensor is parts[0]]
            place = followed[0] if followed else f"before {block.name}"
            before[block.name] = place
            if not followed:
                features.setdefault(place, []).append(inputs[block.name])

        return hook

    def leave(block: Block) -> Any:
        def hook(module: nn.Module, given: Any, output: Tensor) -> None:
            pooled = _pool(output)
            if block.stand_in == NOTHING:
                pooled = torch.cat([inputs[block.name], pooled], 1)
            outputs.append((output, block.name))
            features.setdefault(block.name, []).append(pooled)

        return hook

    handles = [
        handle
        for block in blocks
        for handle in (
            model.get_submodule(block.modules[0]).register_forward_pre_hook(enter(block)),
            model.get_submodule(block.modules[-1]).register_forward_hook(leave(block)),
        )
    ]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in images.batches(side):
                model(batch)
                outputs.clear()
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return Pooled(features, before)


def _pool(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def probe_accuracy(
    features: Tensor, labels: Tensor, held_features: Tensor, held_labels: Tensor, num_classes: int
) -> tuple[float, float]:
    """Fit a linear classifier in closed form and judge it on held-out features.

    Ridge regression on one-hot labels over standardized features, penalty 1e-3 a sample (ours).

    Returns
    -------
    tuple
        Accuracy in [0, 1] and mean squared error on the held-out features.
    """
    x, held = features.double(), held_features.double()
    mean, spread = x.mean(0), x.std(0).clamp_min(1e-6)
    x, held = (x - mean) / spread, (held - mean) / spread
    targets = nn.functional.one_hot(labels, num_classes).double()
    centre = targets.mean(0)
    gram = x.T @ x + 1e-3 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(gram, x.T @ (targets - centre))
    scores = held @ weights + centre
    error = (scores - nn.functional.one_hot(held_labels, num_classes)).square().sum(1).mean()
    correct = (scores.argmax(1) == held_labels).double().mean()
    return float(correct), float(error)


def _needed(images: ImageSplits | None, criterion: str) -> ImageSplits:
    if images is None:
        raise PruningError(
            f"criterion '{criterion}' scores blocks on images and there are none; give images or "
            "an order of removal, or use 'random'."
        )
    return images

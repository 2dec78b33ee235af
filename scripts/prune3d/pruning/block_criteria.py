"""Importance of blocks: a criterion takes a network and images and scores each removable block.

The block with the lowest score is removed first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prune3d.data.images import Images, ImageSplits
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
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
    if images is None:
        raise PruningError(
            "criterion 'dbp' scores blocks on images and there are none; give images or an order "
            "of removal, or use 'random'."
        )
    spec = get_spec(model)
    train = images.train.subset(options.probe_images, options.seed)
    names = [block.name for block in blocks]
    fit = pooled_features(model, names, train, spec.side)
    judge = pooled_features(model, names, images.selection, spec.side)
    results = [
        probe_accuracy(fit[i], train.labels, judge[i], images.selection.labels, spec.num_classes)
        for i in range(len(names) + 1)
    ]
    return {
        block.name: (after[0] - before[0], before[1] - after[1])
        for block, before, after in zip(blocks, results[:-1], results[1:], strict=True)
        if block.removable
    }


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


def pooled_features(
    model: nn.Module, names: Sequence[str], images: Images, side: int
) -> list[Tensor]:
    """Return average-pooled features at the first block's input and at every block's output.

    Parameters
    ----------
    model
        The network, on the images' device.
    names
        Blocks in the order in which they run.
    images
        Images to pass through the network, N of them.
    side
        Image side in pixels.

    Returns
    -------
    list of Tensor
        ``len(names) + 1`` tensors of shape (N, channels at that place).
    """
    parts: list[list[Tensor]] = [[] for _ in range(len(names) + 1)]

    def record(place: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if place == 1:
                parts[0].append(inputs[0].mean((2, 3)))
            parts[place].append(output.mean((2, 3)))

        return hook

    handles = [
        model.get_submodule(name).register_forward_hook(record(i + 1))
        for i, name in enumerate(names)
    ]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in images.batches(side):
                model(batch)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return [torch.cat(part) for part in parts]


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

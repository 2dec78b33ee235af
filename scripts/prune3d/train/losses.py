"""What a training minimizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from prune3d.data.mix import Mixed
from prune3d.train.recipe import Recipe


def training_loss(
    logits: Tensor,
    labels: Tensor,
    recipe: Recipe,
    teacher: Tensor | None = None,
    mixed: Mixed | None = None,
) -> Tensor:
    """Return the mean loss of a batch.

    With a teacher, w the recipe's `distillation` and T its `temperature`:
    (1 - w) x cross entropy + w T^2 x KL(softmax(teacher / T) || softmax(logits / T)), as in
    arXiv 1503.02531, section 2.

    Parameters
    ----------
    logits
        float32, shape (n, classes).
    labels
        int64, shape (n,).
    recipe
        With `label_smoothing`, `distillation` and `temperature`.
    teacher
        The teacher's logits, shape (n, classes).
    mixed
        The second labels of mixed images; the cross entropies with both are averaged by its share.

    Returns
    -------
    Tensor
        Scalar.
    """
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    if mixed is not None:
        other = F.cross_entropy(logits, mixed.labels, label_smoothing=recipe.label_smoothing)
        loss = mixed.share * loss + (1 - mixed.share) * other
    if teacher is None:
        return loss
    heat = recipe.temperature
    soft = F.kl_div(
        torch.log_softmax(logits / heat, 1),
        torch.log_softmax(teacher / heat, 1),
        reduction="batchmean",
        log_target=True,
    )
    return (1 - recipe.distillation) * loss + recipe.distillation * heat**2 * soft

"""Accuracy and loss of a network on a set of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from prune3d.data.images import Images
from prune3d.models.assembly import get_spec


def evaluate(model: nn.Module, images: Images) -> dict[str, float | int]:
    """Pass every image once, at the side that the network is meant for.

    Returns
    -------
    dict
        ``top1`` and ``top5`` in [0, 1] (top5 among at most 5 classes), ``loss`` the mean cross
        entropy in nats, ``images`` their number.
    """
    spec = get_spec(model)
    model.eval()
    top1 = top5 = 0
    loss = 0.0
    start = 0
    with torch.no_grad():
        for batch in images.batches(spec.side):
            labels = images.labels[start : start + len(batch)]
            start += len(batch)
            logits = model(batch)
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            best = logits.topk(min(5, spec.num_classes), dim=1).indices == labels[:, None]
            top1 += int(best[:, 0].sum())
            top5 += int(best.sum())
    n = len(images)
    return {"top1": top1 / n, "top5": top5 / n, "loss": loss / n, "images": n}

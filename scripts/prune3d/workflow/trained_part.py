"""How long final networks are trained: after a step of their pruning, or from random weights.

Apart from their pruning (`prune3d.workflow.finals`): the search's code must not train them anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from prune3d.models.lineage import Step
from prune3d.pruning.realized import realized

TRAINING = ("train", "teach")


def trained_part(settings: Mapping[str, Any], model: nn.Module, paid: Sequence[Step] = ()) -> float:
    """Return for which part of its epochs a final network is trained: for all, or from scratch.

    From scratch it is trained as long as the pruned network and its dense one together were: for as
    many epochs, or for as many multiply-accumulates, which are more epochs of a smaller network.

    Parameters
    ----------
    settings
        ``scratch``, which is ``epochs``, ``budget`` or None; ``epochs`` of the dense network's
        training, and ``more_epochs`` of the fine-tuning; ``steps`` in which it is pruned.
    model
        The network, pruned.
    paid
        With ``budget``: the lineage of the pruned network, its fine-tuning of ``more_epochs`` being
        the last stage: networks on the way and a teacher cost more than it does.
    """
    kind = settings["scratch"]
    if kind is None:
        return part_of_step(settings, settings["steps"])
    dense, more = float(settings["epochs"]), float(settings["more_epochs"])
    if kind == "epochs":
        return (dense + more) / dense
    known = realized(model)
    steps = [s for s in paid if s.stage == paid[-1].stage and s.action in TRAINING]
    images = sum(step.image_passes for step in steps if step.action == "train") / more
    cost = sum(step.image_passes * step.macs for step in steps)
    return (dense / float(known["macs_ratio"]) + cost / (images * known["macs"])) / dense


def part_of_step(settings: Mapping[str, Any], step: int) -> float:
    """Return the part of the epochs after a step, counted from 1: whole epochs, in all all of them.

    Parameters
    ----------
    settings
        ``epochs`` of the fine-tuning and ``steps``, no more of them than epochs.
    step
        Which.
    """
    epochs, steps = settings["epochs"], settings["steps"]
    return float((step * epochs) // steps - ((step - 1) * epochs) // steps) / epochs

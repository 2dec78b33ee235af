"""How good pruned networks are before they are fine-tuned: with the dense network's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from prune3d.costs.count import cost
from prune3d.data.images import ImageSplits
from prune3d.models.lineage import Step, add_step, bill, get_lineage, name_stage
from prune3d.pruning.joint import PruningTarget, prune_to
from prune3d.pruning.options import PruningOptions
from prune3d.train.evaluate import evaluate

STAGE = "one shot"


class OneShot:
    """Prune a network to one target after another, and judge each without fine-tuning.

    Batch-norm statistics are estimated anew each time; all other tensors are the network's own.

    Parameters
    ----------
    model
        The dense network, which stays as it is.
    options
        How to prune.
    images
        Training images for criteria and statistics, and selection images to judge by.
    removal_order
        Blocks in the order in which they go, None where none are removed.

    Attributes
    ----------
    image_passes, cost_macs
        What all of it has cost so far: images passed, and the sum of passes x MACs.
    networks
        How many networks were judged.
    """

    def __init__(
        self,
        model: nn.Module,
        options: PruningOptions,
        images: ImageSplits,
        removal_order: Sequence[str] | None,
    ) -> None:
        self._model, self._options = model, options
        self._images, self._removal_order = images, removal_order
        self.image_passes = self.cost_macs = self.networks = 0

    def loss(self, network: Mapping[str, Any]) -> float:
        """Return the mean cross entropy on the selection images, in nats.

        Parameters
        ----------
        network
            Ratios ``depth``, ``width_asked`` and ``resolution``.
        """
        target = PruningTarget(network["depth"], network["width_asked"], network["resolution"])
        pruned = prune_to(self._model, target, self._options, self._images, self._removal_order)
        judged = self._images.selection
        found = evaluate(pruned, judged)
        add_step(pruned, Step("evaluate", len(judged), cost(pruned).macs))
        # What the dense network has cost has the names of other stages.
        name_stage(pruned, STAGE)
        spent = bill(get_lineage(pruned), STAGE)
        self.image_passes += spent["image_passes"]
        self.cost_macs += spent["cost_macs"]
        self.networks += 1
        return float(found["loss"])

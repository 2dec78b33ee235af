"""Channel groups: layers that must keep the same channels. The one place that uses torch-pruning.

Its dependency graph (Fang et al., DepGraph, arXiv 2301.12900) is traced from a forward and a
backward pass.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from prune3d.models.assembly import get_spec


@dataclass
class ChannelGroup:
    """Layers that read or write one set of channels.

    Attributes
    ----------
    name
        The first layer, in the network's order, that writes the channels.
    channels
        Number of channels.
    writers, norms
        Convolution and linear layers, and batch norms, that have these channels as outputs.
    readers
        Layers that have them as inputs, with the number of their inputs for each channel.
    """

    name: str
    channels: int
    writers: dict[str, nn.Module] = field(default_factory=dict)
    norms: dict[str, nn.BatchNorm2d] = field(default_factory=dict)
    readers: dict[str, int] = field(default_factory=dict)


class ChannelGraph:
    """The channel groups of a network as it is now.

    Parameters
    ----------
    model
        A network built by prune3d, on any device.
    """

    def __init__(self, model: nn.Module) -> None:
        import torch_pruning

        spec = get_spec(model)
        self._names = {module: name for name, module in model.named_modules()}
        self._order = {name: i for i, name in enumerate(self._names.values())}
        device = next(model.parameters()).device
        image = torch.zeros(1, spec.in_channels, spec.side, spec.side, device=device)
        training = model.training
        # In training mode a batch norm refuses a single value per channel.
        model.eval()
        with torch.enable_grad():
            self._graph = torch_pruning.DependencyGraph()
            self._graph.build_dependency(model, image, verbose=False)
        model.train(training)
        roots = self._graph.get_all_groups(
            ignored_layers=_classifiers(model, spec.num_classes),
            root_module_types=[nn.Conv2d, nn.Linear],
        )
        groups = [self._describe(root) for root in roots]
        self.groups = sorted(groups, key=lambda group: self._order[group.name])

    def remove(self, group: ChannelGroup, channels: Sequence[int]) -> None:
        """Remove channels of a group from every layer that has them, in place."""
        import torch_pruning

        root = group.writers[group.name]
        prune = (
            torch_pruning.prune_linear_out_channels
            if isinstance(root, nn.Linear)
            else torch_pruning.prune_conv_out_channels
        )
        if self._graph.get_pruner_of_module(root) is not None and _is_depthwise(root):
            prune = torch_pruning.prune_depthwise_conv_out_channels
        self._graph.get_pruning_group(root, prune, list(channels)).prune()
        logging.getLogger(__name__).debug("removed %d channels of %s", len(channels), group.name)

    def _describe(self, root: Any) -> ChannelGroup:
        writers: dict[str, nn.Module] = {}
        norms: dict[str, nn.BatchNorm2d] = {}
        readers: dict[str, int] = {}
        channels = len(root[0][1])
        for dependency, indices in root:
            module = dependency.target.module
            name = self._names.get(module)
            if name is None:
                continue
            if isinstance(module, nn.BatchNorm2d):
                norms[name] = module
            elif self._graph.is_out_channel_pruning_fn(dependency.handler):
                writers[name] = module
            else:
                readers[name] = len(indices) // channels
        first = min(writers, key=self._order.__getitem__)
        return ChannelGroup(first, channels, writers, norms, readers)


def _classifiers(model: nn.Module, num_classes: int) -> list[nn.Module]:
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    last = layers[-1]
    is_head = isinstance(last, nn.Linear) and last.out_features == num_classes
    return [last] if is_head else []


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1

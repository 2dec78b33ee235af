"""Channel groups: layers that must keep the same channels. The one place that uses torch-pruning.

Its dependency graph (Fang et al., DepGraph, arXiv 2301.12900) is traced from a forward and a
backward pass.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec

WITH_WIDTH = (nn.Conv2d, nn.Linear, _BatchNorm, nn.PReLU)


@dataclass(frozen=True)
class Member:
    """A layer's part in a channel group.

    Attributes
    ----------
    name, layer
        The layer.
    positions
        int64, shape (channels, m): for each channel of the group its places among the layer's
        channels; m is 1, but more behind a flattened feature map.
    """

    name: str
    layer: nn.Module
    positions: Tensor


@dataclass
class ChannelGroup:
    """Layers that read or write one set of channels.

    Attributes
    ----------
    name
        The first layer, in the network's order, that writes the channels.
    channels
        Number of channels.
    multiple
        Channels can only be removed in runs of this many, those of one group of a grouped
        convolution.
    writers
        Convolution and linear layers that have these channels as outputs.
    norms
        Batch norms and PReLUs that have them.
    readers
        Convolution and linear layers that have them as inputs.
    """

    name: str
    channels: int
    multiple: int = 1
    writers: list[Member] = field(default_factory=list)
    norms: list[Member] = field(default_factory=list)
    readers: list[Member] = field(default_factory=list)

    @property
    def members(self) -> list[Member]:
        """All layers."""
        return [*self.writers, *self.norms, *self.readers]


def channel_groups(model: nn.Module) -> list[ChannelGroup]:
    """Return the channel groups of a network as it is now, in the network's order.

    The channels of the input images and of the network's outputs are in none.

    Parameters
    ----------
    model
        A network built by prune3d, on any device.

    Raises
    ------
    PruningError
        If the channels of some layer cannot be followed through the network.
    """
    names = {module: name for name, module in model.named_modules()}
    order = {name: i for i, name in enumerate(names.values())}
    found: list[ChannelGroup] = []
    seen: set[str] = set()
    for root in _traced_groups(model):
        group, is_output = _describe(root, names, order)
        seen.update(member.name for member in group.writers)
        if not is_output:
            found.append(group)
    _refuse_unreached(model, seen)
    return sorted(found, key=lambda group: order[group.name])


def _import_torch_pruning() -> Any:
    """Import torch-pruning without timm, which it tries only to count operations of transformers.

    Where timm is installed, importing it and torchvision would take most of a short job's time.
    """
    if "torch_pruning" in sys.modules or "timm" in sys.modules:
        return importlib.import_module("torch_pruning")
    sys.modules["timm"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("torch_pruning")
    finally:
        del sys.modules["timm"]


def _traced_groups(model: nn.Module) -> list[Any]:
    torch_pruning = _import_torch_pruning()
    spec = get_spec(model)
    device = next(model.parameters()).device
    image = torch.zeros(1, spec.in_channels, spec.side, spec.side, device=device)
    training = model.training
    learned = {p: p.requires_grad for p in model.parameters()}
    # In training mode a batch norm refuses a single value per channel.
    model.eval().requires_grad_(True)
    try:
        with torch.enable_grad(), _as_torch_pruning_needs_it(model) as pruners:
            graph = torch_pruning.DependencyGraph()
            graph.build_dependency(
                model,
                image,
                # With an operation after the last layer the graph has a node for the outputs.
                output_transform=lambda logits: logits * 1,
                customized_pruners=pruners,
                verbose=False,
            )
            return list(graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]))
    except PruningError:
        raise
    except Exception as error:
        raise PruningError(
            f"{spec.name} cannot be pruned along width: the dependency graph of torch-pruning "
            f"cannot follow its channels ({type(error).__name__}: {error})."
        ) from error
    finally:
        for parameter, learns in learned.items():
            parameter.requires_grad_(learns)
        model.train(training)


class _GroupedConv2d(nn.Conv2d):
    """A convolution of several groups that are each wider than one channel."""


class _SharedPReLU(nn.Module):
    """A PReLU with one parameter for all channels."""

    forward = nn.PReLU.forward


@contextmanager
def _as_torch_pruning_needs_it(model: nn.Module) -> Iterator[dict[type, Any]]:
    """Disguise the layers that torch-pruning misunderstands, and give the pruners for them.

    Grouped convolutions are treated like depthwise ones: inputs go with outputs. A PReLU without
    channels is treated like any other function.
    """
    from torch_pruning.pruner.function import ConvPruner

    class GroupedPruner(ConvPruner):
        prune_in_channels = ConvPruner.prune_out_channels

    grouped = [
        (name, m)
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d) and m.groups > 1 and m.groups != m.out_channels
    ]
    for name, conv in grouped:
        if conv.in_channels != conv.out_channels:
            raise PruningError(
                f"{get_spec(model).name} cannot be pruned along width: the grouped convolution "
                f"'{name}' has {conv.in_channels} input and {conv.out_channels} output channels in "
                f"{conv.groups} groups; they must be equal to be pruned together."
            )
    shared = [m for m in model.modules() if isinstance(m, nn.PReLU) and m.num_parameters == 1]
    layers: list[nn.Module] = [*(conv for _, conv in grouped), *shared]
    disguised = [(layer, layer.__class__) for layer in layers]
    try:
        for _, conv in grouped:
            conv.__class__ = _GroupedConv2d
        for prelu in shared:
            prelu.__class__ = _SharedPReLU  # type: ignore[assignment]
            # The graph would follow the parameter instead of the channels.
            prelu.weight.requires_grad_(False)
        yield {_GroupedConv2d: GroupedPruner()} if grouped else {}
    finally:
        for layer, original in disguised:
            layer.__class__ = original


def _describe(
    root: Any, names: dict[nn.Module, str], order: dict[str, int]
) -> tuple[ChannelGroup, bool]:
    """Return a group and whether its channels are the network's outputs."""
    from torch_pruning.ops import _OutputOp

    channels = len(root[0].idxs)
    group = ChannelGroup(names[root[0].dep.target.module], channels)
    is_output = False
    for item in root:
        layer = item.dep.target.module
        is_output |= isinstance(layer, _OutputOp)
        if layer not in names:
            if isinstance(layer, nn.Parameter):
                raise PruningError(
                    f"layer '{group.name}' cannot be pruned along width: a parameter outside any "
                    f"layer, of shape {tuple(layer.shape)}, has its channels."
                )
            continue
        name = names[layer]
        if not isinstance(layer, WITH_WIDTH):
            if next(layer.parameters(recurse=False), None) is not None:
                raise PruningError(
                    f"layer '{group.name}' cannot be pruned along width: its channels reach "
                    f"'{name}', a {type(layer).__name__}, which is none of Conv2d, Linear, "
                    "BatchNorm and PReLU."
                )
            continue
        if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
            continue
        member = Member(name, layer, _positions(item, channels, group.name, name))
        _roles(group, item.dep.handler, layer).append(member)
    group.name = min((member.name for member in group.writers), key=order.__getitem__)
    group.multiple = _multiple(group)
    return group, is_output


def _roles(group: ChannelGroup, handler: Any, layer: nn.Module) -> list[Member]:
    if isinstance(layer, _BatchNorm | nn.PReLU):
        return group.norms
    inputs_only = handler.__name__ == "prune_in_channels"
    return group.readers if inputs_only else group.writers


def _positions(item: Any, channels: int, group: str, layer: str) -> Tensor:
    places: list[list[int]] = [[] for _ in range(channels)]
    for place, channel in zip(item.idxs, item.root_idxs, strict=True):
        places[channel].append(place)
    if len({len(p) for p in places}) != 1:
        raise PruningError(
            f"layer '{group}' cannot be pruned along width: the dependency graph finds its "
            f"channels in layer '{layer}' unequally often."
        )
    return torch.tensor(places)


def _multiple(group: ChannelGroup) -> int:
    """Return the least common multiple of the group widths of grouped convolutions."""
    multiple = 1
    for member in group.writers:
        conv = member.layer
        if not isinstance(conv, nn.Conv2d) or conv.groups == 1:
            continue
        in_order = torch.equal(member.positions[:, 0], torch.arange(conv.out_channels))
        if not in_order:
            raise PruningError(
                f"layer '{group.name}' cannot be pruned along width: its channels are not in the "
                f"order of the grouped convolution '{member.name}'."
            )
        multiple = math.lcm(multiple, conv.out_channels // conv.groups)
    return multiple


def _refuse_unreached(model: nn.Module, seen: set[str]) -> None:
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and name not in seen:
            raise PruningError(
                f"{get_spec(model).name} cannot be pruned along width: layer '{name}' takes no "
                "part in the forward pass, or the dependency graph does not reach it; remove it."
            )


def keep_channels(groups: Sequence[ChannelGroup], kept: dict[str, Tensor]) -> None:
    """Keep some channels of groups and remove the others from every layer, in place.

    Parameters
    ----------
    groups
        All groups of one network.
    kept
        For the groups to prune the channels that stay, int64, ascending.
    """
    outputs: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}
    layers: dict[str, nn.Module] = {}
    for group in groups:
        if group.name not in kept:
            continue
        gone = torch.ones(group.channels, dtype=torch.bool)
        gone[kept[group.name].cpu()] = False
        for side, members in ((outputs, group.writers + group.norms), (inputs, group.readers)):
            for member in members:
                layers[member.name] = member.layer
                stay = side.setdefault(member.name, _all_channels(member.layer, side is inputs))
                stay[member.positions[gone].flatten()] = False
    for name, layer in layers.items():
        _slice(layer, outputs.get(name), inputs.get(name))


def _all_channels(layer: nn.Module, inputs: bool) -> Tensor:
    if isinstance(layer, _BatchNorm):
        count = layer.num_features
    elif isinstance(layer, nn.PReLU):
        count = layer.num_parameters
    elif isinstance(layer, nn.Linear):
        count = layer.in_features if inputs else layer.out_features
    else:
        assert isinstance(layer, nn.Conv2d)
        count = layer.in_channels if inputs else layer.out_channels
    return torch.ones(count, dtype=torch.bool)


def _slice(layer: nn.Module, outputs: Tensor | None, inputs: Tensor | None) -> None:
    if outputs is not None:
        for key in ("weight", "bias", "running_mean", "running_var"):
            _slice_tensor(layer, key, outputs, 0)
        kept = int(outputs.sum())
        if isinstance(layer, nn.Conv2d):
            if layer.groups > 1:
                layer.groups = kept // (layer.out_channels // layer.groups)
                layer.in_channels = kept
            layer.out_channels = kept
        elif isinstance(layer, nn.Linear):
            layer.out_features = kept
        elif isinstance(layer, nn.PReLU):
            layer.num_parameters = kept
        elif isinstance(layer, _BatchNorm):
            layer.num_features = kept
    if inputs is not None:
        _slice_tensor(layer, "weight", inputs, 1)
        if isinstance(layer, nn.Linear):
            layer.in_features = int(inputs.sum())
        elif isinstance(layer, nn.Conv2d):
            layer.in_channels = int(inputs.sum())


def _slice_tensor(layer: nn.Module, key: str, stay: Tensor, axis: int) -> None:
    value = getattr(layer, key, None)
    if value is None:
        return
    index = stay.nonzero().flatten().to(value.device)
    taken = value.detach().index_select(axis, index)
    if isinstance(value, nn.Parameter):
        taken = nn.Parameter(taken, requires_grad=value.requires_grad)
    setattr(layer, key, taken)

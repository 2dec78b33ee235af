"""``prune3d inspect`` and ``prune3d cost``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prune3d.cli.networks import (
    AsJson,
    Channels,
    Classes,
    Code,
    Given,
    Keep,
    Network,
    Side,
    open_network,
    title,
)
from prune3d.cli.output import Shown, show

if TYPE_CHECKING:
    from torch import nn

    from prune3d.costs.structure import Structure


def inspect(
    network: Network,
    classes: Classes = None,
    side: Side = None,
    channels: Channels = None,
    code: Code = None,
    keep: Keep = None,
    as_json: AsJson = False,
) -> None:
    """Say what can be pruned, what not and why, and what layers cost.

    Costs are MACs (multiply-accumulates for an image) and parameters.

    \b
    Examples:
      prune3d inspect resnet20
      prune3d inspect resnet20 --keep conv1 --keep "layer3.*"
      prune3d inspect cifar_vgg16_bn --classes 100 --json
    """  # noqa: D301
    from prune3d.costs.count import cost as cost_of
    from prune3d.models.assembly import get_spec
    from prune3d.pruning.analyze import analyze
    from prune3d.pruning.dense import keep_layers

    model = open_network(network, Given(classes, side, channels, None, code))
    if keep:
        keep_layers(model, keep)
    spec, measured, structure = get_spec(model), cost_of(model), analyze(model)
    layers, blocks = _layers(model), _blocks(model, structure)
    groups = [
        {"name": name, "channels": count, "multiple": structure.multiples.get(name, 1)}
        for name, count in structure.groups.items()
    ]
    stays = [
        {"name": entry.name, "channels": entry.channels, "reason": entry.reason}
        for entry in structure.frozen
    ]
    value = {
        "network": spec.name,
        "classes": spec.num_classes,
        "channels": spec.in_channels,
        "side": spec.side,
        "macs": measured.macs,
        "params": measured.params,
        "summary": structure.summary(),
        "blocks": blocks,
        "groups": groups,
        "frozen": stays,
        "keep": list(spec.keep),
        "layers": layers,
        "sides": list(structure.sides),
        "no_depth": structure.no_depth,
        "no_width": structure.no_width,
        "no_onnx": structure.no_onnx,
    }
    show(
        value,
        as_json,
        title(spec),
        f"{measured.macs:,} MACs for an image, {measured.params:,} parameters",
        f"{structure.summary()}.",
        _table("Blocks", ("name", "state", "reason"), blocks),
        _table("Channel groups of the dense network", ("name", "channels>", "multiple>"), groups),
        _table("Channels that stay", ("name", "channels>", "reason"), stays),
        _table("Layers", ("name", "macs>", "params>"), layers),
    )


def cost(
    networks: Annotated[
        list[str], typer.Argument(metavar="NETWORK...", help="Names or model files.")
    ],
    classes: Classes = None,
    side: Side = None,
    channels: Channels = None,
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Count the MACs for an image and the parameters of networks.

    MACs are multiply-accumulates; of a pruned network their ratio to the dense one is told, too.

    \b
    Examples:
      prune3d cost resnet20 resnet56
      prune3d cost resnet50 --side 160
      prune3d cost small.safetensors --json
    """  # noqa: D301
    from prune3d.pruning.realized import realized

    given = Given(classes, side, channels, None, code)
    rows = [{"name": name, **realized(open_network(name, given))} for name in networks]
    show({"networks": rows}, as_json, costs(rows))


def costs(rows: Sequence[dict[str, Any]]) -> Shown:
    """Return a table of what `prune3d.pruning.realized.realized` gave."""
    columns = ("macs>", "macs_ratio>", "params>", "depth>", "width>", "resolution>")
    return _table("", ("name", *columns), rows)


def _table(name: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> Shown:
    keys = [column.rstrip(">") for column in columns]
    return Shown(name, columns, [[row[key] for key in keys] for row in rows])


def _layers(model: nn.Module) -> list[dict[str, Any]]:
    """Return what each module itself makes and holds; a shared parameter counts once."""
    from prune3d.costs.count import module_macs
    from prune3d.models.assembly import get_spec

    macs = module_macs(model, get_spec(model).side)
    params: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        module = name.rpartition(".")[0]
        params[module] = params.get(module, 0) + parameter.numel()
    names = [name for name, _ in model.named_modules()]
    order = [*names, *(name for name in macs if name not in names)]
    return [
        {"name": name, "macs": macs.get(name, 0), "params": params.get(name, 0)}
        for name in order
        if macs.get(name) or params.get(name)
    ]


def _blocks(model: nn.Module, structure: Structure) -> list[dict[str, Any]]:
    from prune3d.models.assembly import get_spec
    from prune3d.pruning.dense import look_at_dense

    removed = get_spec(model).removed_blocks
    rows = []
    for block in look_at_dense(model).blocks:
        state, reason = "stays", block.reason or structure.no_depth
        if block.name in structure.removable:
            state, reason = "can go", None
        if block.name in removed:
            state = "is gone"
        rows.append({"name": block.name, "state": state, "reason": reason})
    return rows

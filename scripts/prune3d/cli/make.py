"""``prune3d prune`` and ``prune3d export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from prune3d.cli.look import costs
from prune3d.cli.networks import (
    AsJson,
    Channels,
    Classes,
    Code,
    Given,
    Keep,
    Network,
    Side,
    Weights,
    check_not_itself,
    check_not_onnx,
    naming,
    open_network,
)
from prune3d.cli.output import show
from prune3d.errors import UserError
from prune3d.pruning.options import (
    BLOCK_CRITERIA,
    CHANNEL_CRITERIA,
    PruningOptions,
    resolve_criterion,
)

DEFAULTS = PruningOptions()
Ratio = float | None


def prune(
    network: Network,
    output: Annotated[Path, typer.Option("--output", "-o", help="Model file to write.")],
    macs: Annotated[
        Ratio, typer.Option(help="Ratio of the dense MACs, to which width is fitted.")
    ] = None,
    depth: Annotated[Ratio, typer.Option(help="Ratio of the blocks.")] = None,
    width: Annotated[Ratio, typer.Option(help="Ratio of the channels.")] = None,
    resolution: Annotated[Ratio, typer.Option(help="Ratio of the image side.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Class folders, to score blocks and set batch norms by.")
    ] = None,
    normalization: Annotated[
        Literal["own", "imagenet"],
        typer.Option(help="Of the pictures, where the network's file does not tell."),
    ] = "own",
    remove: Annotated[
        list[str] | None, typer.Option(help="Block that goes first; may be given several times.")
    ] = None,
    block_criterion: Annotated[
        str, typer.Option(help=f"How blocks are scored: {', '.join(BLOCK_CRITERIA)}.")
    ] = DEFAULTS.block_criterion,
    channel_criterion: Annotated[
        str, typer.Option(help=f"How channels are scored: {', '.join(CHANNEL_CRITERIA)}.")
    ] = DEFAULTS.channel_criterion,
    keep: Keep = None,
    round_to: Annotated[
        int, typer.Option(min=1, help="Channels in multiples of it; 8 is faster.")
    ] = 1,
    classes: Classes = None,
    side: Side = None,
    channels: Channels = None,
    weights: Weights = None,
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Prune a network and write it; it is not fine-tuned.

    Ratios are to the dense network, above 0 and at most 1. What goes first in depth is scored on
    pictures, or named.

    \b
    Examples:
      prune3d prune resnet20 --macs 0.25 -o small.safetensors
      prune3d prune resnet20 --keep conv1 --resolution 0.75 --macs 0.25 -o small.safetensors
      prune3d prune resnet20 --depth 0.7 --remove layer1.1 --remove layer2.2 \\
        --remove layer3.1 -o shallow.safetensors
      prune3d prune dense.safetensors --depth 0.7 --macs 0.3 --pictures pictures -o small.safetensors
    """  # noqa: D301, E501
    from prune3d.cli.pictures import splits_for
    from prune3d.models.checkpoint import save
    from prune3d.pruning import prune as prune_network
    from prune3d.pruning.realized import realized

    if macs is depth is width is resolution is None:
        raise UserError("nothing is to be pruned; give --macs, --depth, --width or --resolution.")
    if depth is not None and pictures is None and not remove and block_criterion != "random":
        raise UserError(
            "--depth needs --pictures to score the blocks on, or --remove with the names of those "
            "that go (prune3d inspect lists them)."
        )
    scores = resolve_criterion(CHANNEL_CRITERIA, channel_criterion)
    if pictures is None and getattr(scores, "needs_gradients", False):
        raise UserError(
            f"--channel-criterion {channel_criterion} needs --pictures to score the channels on."
        )
    check_not_itself(network, output)
    model = open_network(network, Given(classes, side, channels, weights, code))
    images = None if pictures is None else splits_for(model, pictures, normalization)
    options = PruningOptions(block_criterion, channel_criterion, round_to, keep=tuple(keep or ()))
    pruned = prune_network(
        model,
        depth,
        width,
        resolution,
        macs=macs,
        options=options,
        images=images.probe(options.probe_images, options.seed) if images else None,
        removal_order=remove or None,
    )
    row, before = {"name": str(output), **realized(pruned)}, realized(model)
    if all(row[key] == value for key, value in before.items()):
        raise UserError(
            "nothing was pruned: of all networks that can be made the one given is the nearest to "
            "what is asked for; ask for less, or for a smaller --round-to."
        )
    save(pruned, output)
    show({**row, "file": str(output)}, as_json, costs([row]))


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Model file of prune3d.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write [FILE as .onnx].")
    ] = None,
    bytes_in: Annotated[
        bool, typer.Option("--bytes", help="Take uint8 RGB pictures of any size.")
    ] = False,
    int8: Annotated[
        Path | None,
        typer.Option(help="Compute in 8-bit integers; class folders of training pictures."),
    ] = None,
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Write a network as ONNX and compare it with the original.

    Where the file to write ends in .pt2 it is a program of torch.export instead.

    With --bytes resizing and normalization are inside the file: its input ``pictures`` has shape
    (N, height, width, 3).

    \b
    Examples:
      prune3d export small.safetensors
      prune3d export small.safetensors --bytes -o pictures.onnx
      prune3d export small.safetensors -o small.pt2
      prune3d export small.safetensors --int8 pictures -o int8.onnx --json
    """  # noqa: D301
    from tempfile import TemporaryDirectory

    from prune3d.cli.pictures import some_inputs
    from prune3d.export import export as export_network
    from prune3d.export.int8 import quantize
    from prune3d.export.pictures_inside import take_pictures
    from prune3d.export.program import SUFFIX, export_program
    from prune3d.models.checkpoint import load

    check_not_onnx(file)
    target = output or file.with_suffix(".onnx")
    check_not_itself(file, target)
    model = load(file, code=code)
    if target.suffix == SUFFIX:
        if bytes_in or int8 is not None:
            raise typer.BadParameter("--bytes and --int8 are for ONNX files, not for .pt2")
        difference = export_program(model, target)
        _tell(target, difference, as_json)
        return
    with TemporaryDirectory() as folder:
        # A file at a time, so that the target is only written whole.
        plain, small = Path(folder) / file.with_suffix(".onnx").name, Path(folder) / "int8.onnx"
        inside = bytes_in or int8 is not None
        with naming(file, plain, small):
            difference = export_network(model, plain if inside else target)
            if int8 is not None:
                quantize(plain, small if bytes_in else target, some_inputs(plain, int8))
            if bytes_in:
                take_pictures(plain if int8 is None else small, target)
    _tell(target, difference, as_json, "before quantization " if int8 else "")


def _tell(target: Path, difference: float, as_json: bool, when: str = "") -> None:
    """Tell what was written, and how far its outputs are from the original's."""
    size = target.stat().st_size
    show(
        {"file": str(target), "bytes": size, "difference": difference},
        as_json,
        f"{target}: {size:,} bytes; outputs {when}differ from the original's by at most "
        f"{difference:.1e}",
    )

"""``prune3d evaluate``, ``predict`` and ``latency``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from prune3d.cli.networks import (
    AsJson,
    Channels,
    Classes,
    Code,
    Given,
    Runs,
    Side,
    Threads,
    open_network,
)
from prune3d.cli.output import Shown, show
from prune3d.errors import UserError

File = Annotated[Path, typer.Argument(metavar="FILE", help="Model file or ONNX file.")]


def evaluate(
    file: File,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Class folders of pictures.")],
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Judge a network on pictures in class folders.

    Where the folder holds ``train`` and ``test`` (or ``val``), those in the latter are taken.

    \b
    Examples:
      prune3d evaluate small.safetensors pictures
      prune3d evaluate small.onnx pictures --json
    """  # noqa: D301
    from prune3d.cli.pictures import labelled
    from prune3d.export.classifier import open_classifier, score

    classifier = open_classifier(file, code)
    paths, labels = labelled(folder, classifier.classes, classifier.num_classes)
    found = score(classifier, paths, labels)
    show(
        asdict(found),
        as_json,
        f"{100 * found.top1:.2f} % of {found.images:,} pictures right (95 % interval "
        f"{100 * found.low:.2f} to {100 * found.high:.2f} %), {100 * found.top5:.2f} % among the "
        f"first five; loss {found.loss:.4f}",
    )


def predict(
    file: File,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Picture files.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to name for each picture.")] = 1,
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Name the most probable classes of picture files.

    \b
    Examples:
      prune3d predict small.safetensors one.png two.jpg
      prune3d predict small.onnx one.png --top 3 --json
    """  # noqa: D301
    import numpy as np

    from prune3d.export.classifier import open_classifier

    missing = next((path for path in pictures if not path.is_file()), None)
    if missing is not None:
        raise UserError(f"{missing} does not exist or is no file.")
    classifier = open_classifier(file, code)
    logits = np.concatenate(list(classifier.logits(pictures))).astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    odds /= odds.sum(1, keepdims=True)
    found: list[dict[str, Any]] = []
    for path, shares in zip(pictures, odds, strict=True):
        best = np.argsort(-shares, kind="stable")[:top]
        named = [
            {"class": classifier.name_of(int(i)), "probability": float(shares[i])} for i in best
        ]
        found.append({"picture": str(path), "classes": named})
    rows = [
        [entry["picture"], one["class"], one["probability"]]
        for entry in found
        for one in entry["classes"]
    ]
    show({"predictions": found}, as_json, Shown("", ("picture", "class", "probability>"), rows))


def latency(
    network: Annotated[str, typer.Argument(metavar="FILE", help="Model file, ONNX file or name.")],
    runtime: Annotated[
        Literal["torch", "onnxruntime", "tensorrt"] | None,
        typer.Option(help="What runs it [onnxruntime for ONNX files, else torch]."),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1, max=2**20, help="Images a pass; may be given several times [1 and 32]."
        ),
    ] = None,
    threads: Threads = 1,
    runs: Runs = 30,
    classes: Classes = None,
    side: Side = None,
    channels: Channels = None,
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Time a network on this machine.

    On its CPU, or with the runtime tensorrt on its GPU.

    \b
    Examples:
      prune3d latency small.safetensors --runtime onnxruntime --runs 5
      prune3d latency small.onnx --batch 1 --batch 8 --runs 5 --json
    """  # noqa: D301
    from prune3d.pruning.timing import LatencyOptions, latency_of, latency_of_file

    rows: list[dict[str, Any]] = []
    is_onnx = network.endswith(".onnx")
    chosen = runtime or ("onnxruntime" if is_onnx else "torch")
    if is_onnx and chosen == "torch":
        raise typer.BadParameter("an ONNX file runs in onnxruntime, not in torch")
    model = None if is_onnx else open_network(network, Given(classes, side, channels, None, code))
    for size in batch or [1, 32]:
        options = LatencyOptions(size, runs, chosen, threads)
        if model is None:
            took = latency_of_file(Path(network), options)
        else:
            took = latency_of(model, options)
        rows.append(
            {"batch_size": size, "latency_ms": took, "images_per_second": 1000 * size / took}
        )
    value = {"network": network, "runtime": chosen, "threads": threads, "runs": runs, "rows": rows}
    table = [[row["batch_size"], row["latency_ms"], row["images_per_second"]] for row in rows]
    show(
        value,
        as_json,
        Shown(
            f"{network} in {chosen}, threads: {threads}, median of {runs}",
            ("images>", "ms>", "images/s>"),
            table,
        ),
    )

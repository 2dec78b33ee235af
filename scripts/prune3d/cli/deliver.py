"""``prune3d deliver``."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from prune3d.cli.networks import AsJson, Code, check_not_onnx, naming
from prune3d.cli.output import show
from prune3d.errors import UserError

BATCHES = (1, 32)


def deliver(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Model file of prune3d.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    pictures: Annotated[
        Path | None, typer.Option(help="Class folders to judge model.onnx on.")
    ] = None,
    program: Annotated[
        bool, typer.Option("--program", help="Write model.pt2 as well, for torch alone.")
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Licence of the network, for the card.")
    ] = "not stated",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the CPU, for the times.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Passes of which the median is taken.")] = 30,
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder that stands alone, with ONNX files and a card.

    The card, README.md, says what the network is and how it is used. model.onnx takes normalized
    images, pictures.onnx uint8 RGB pictures of any size.

    \b
    Examples:
      prune3d deliver small.safetensors -o delivered --runs 3
      prune3d deliver small.safetensors -o delivered --pictures pictures --licence MIT --runs 3
    """  # noqa: D301
    from prune3d.cli.pictures import labelled
    from prune3d.export import export
    from prune3d.export.classifier import open_classifier, score
    from prune3d.export.pictures_inside import take_pictures
    from prune3d.export.program import export_program
    from prune3d.files import atomic_path
    from prune3d.models.assembly import get_spec
    from prune3d.models.checkpoint import load
    from prune3d.models.lineage import get_lineage
    from prune3d.models.meaning import get_meaning
    from prune3d.pruning.realized import realized
    from prune3d.pruning.timing import LatencyOptions, device_name, latency_of, latency_of_file
    from prune3d.report.card import Card
    from prune3d.report.latencies import Timed, Timing

    check_not_onnx(file)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is no folder; name another.")
    model = load(file, code=code)
    # Nothing is written before all is made.
    with TemporaryDirectory() as folder:
        made = Path(folder)
        onnx = made / "model.onnx"
        with naming(file, onnx):
            export(model, onnx)
            take_pictures(onnx, made / "pictures.onnx")
            if program:
                export_program(model, made / "model.pt2")
        classifier, judged = open_classifier(onnx), None
        if pictures is not None:
            known = (classifier.classes, classifier.num_classes)
            judged = score(classifier, *labelled(pictures, *known))
        timed = []
        for size in BATCHES:
            options = LatencyOptions(size, runs, "torch", threads)
            timed.append(Timed("torch", size, latency_of(model, options)))
            timed.append(Timed("ONNX Runtime", size, latency_of_file(onnx, options)))
        card = Card(
            get_spec(model),
            get_lineage(model),
            realized(model),
            get_meaning(model).classes,
            judged,
            f"{pictures.name}, by model.onnx" if pictures else "",
            Timing(timed, device_name(next(model.parameters()).device), threads),
            licence,
            has_program=program,
        )
        (made / "README.md").write_text(card.text(), encoding="utf-8")
        shutil.copyfile(file, made / "model.safetensors")
        for path in sorted(made.iterdir()):
            with atomic_path(output / path.name) as temporary:
                shutil.copyfile(path, temporary)
    files = sorted(path.name for path in output.iterdir())
    show({"folder": str(output), "files": files}, as_json, f"{output}: {', '.join(files)}")

"""``prune3d deliver``."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from prune3d.cli.networks import AsJson, Code, Runs, Threads, check_not_onnx, naming
from prune3d.cli.output import show
from prune3d.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from prune3d.export.classifier import Score
    from prune3d.report.latencies import Timing

BATCHES = (1, 32)
SAVED = "model.safetensors"


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
    threads: Threads = 1,
    runs: Runs = 30,
    code: Code = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder that stands alone, with ONNX files and a card.

    The card, README.md, says what the network is and how it is used. model.onnx takes normalized
    images, pictures.onnx uint8 RGB pictures of any size. What cannot be written the card tells.

    \b
    Examples:
      prune3d deliver small.safetensors -o delivered --runs 3
      prune3d deliver small.safetensors -o delivered --pictures pictures --licence MIT --runs 3
    """  # noqa: D301
    from prune3d.files import atomic_path
    from prune3d.models.assembly import get_spec
    from prune3d.models.checkpoint import load
    from prune3d.models.lineage import get_lineage
    from prune3d.models.meaning import get_meaning
    from prune3d.pruning.realized import realized
    from prune3d.report.card import Card
    from prune3d.report.delivery import MODEL, PROGRAM

    check_not_onnx(file)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is no folder; name another.")
    model = load(file, code=code)
    # Nothing is written before all is made.
    with TemporaryDirectory() as folder:
        made = Path(folder)
        lacks = _write_files(model, made, program)
        onnx = None if MODEL in lacks else made / MODEL
        judged = None
        if pictures is not None:
            with naming(file, made / MODEL):
                judged = _judged(onnx or file, pictures, code)
        card = Card(
            get_spec(model),
            get_lineage(model),
            realized(model),
            get_meaning(model),
            judged,
            f"{pictures.resolve().name}, by {onnx.name if onnx else SAVED}" if pictures else "",
            _timing(model, onnx, runs, threads),
            licence,
            lacks=lacks,
            has_program=program and PROGRAM not in lacks,
        )
        (made / "README.md").write_text(card.text(), encoding="utf-8")
        shutil.copyfile(file, made / SAVED)
        files = sorted(path.name for path in made.iterdir())
        for name in files:
            with atomic_path(output / name) as temporary:
                shutil.copyfile(made / name, temporary)
    show(
        {"folder": str(output), "files": files, "lacks": lacks},
        as_json,
        f"{output}: {', '.join(files)}",
        *(f"without {name}: {why}" for name, why in lacks.items()),
    )


def _write_files(model: nn.Module, folder: Path, program: bool) -> dict[str, str]:
    """Write what can be written; return for each other file why not."""
    from prune3d.export import ExportError
    from prune3d.export.program import export_program
    from prune3d.report.delivery import MODEL, PICTURES, PROGRAM, Files, write_onnx

    files = Files(folder / MODEL, folder / PICTURES)
    lacks = write_onnx(model, files)
    if program:
        try:
            export_program(model, folder / PROGRAM)
        except ExportError as error:
            lacks[PROGRAM] = str(error)
    for name in lacks:
        (folder / name).unlink(missing_ok=True)  # it holds the reason, which the card tells
    return {name: why.replace(str(folder / MODEL), MODEL) for name, why in lacks.items()}


def _judged(file: Path, pictures: Path, code: str | None) -> Score:
    from prune3d.cli.pictures import labelled
    from prune3d.export.classifier import open_classifier, score

    classifier = open_classifier(file, code)
    return score(classifier, *labelled(pictures, classifier.classes, classifier.num_classes))


def _timing(model: nn.Module, onnx: Path | None, runs: int, threads: int) -> Timing:
    from prune3d.pruning.timing import LatencyOptions, device_name, latency_of, latency_of_file
    from prune3d.report.latencies import Timed, Timing

    timed = []
    for size in BATCHES:
        options = LatencyOptions(size, runs, "torch", threads)
        timed.append(Timed("torch", size, latency_of(model, options)))
        if onnx is not None:
            timed.append(Timed("ONNX Runtime", size, latency_of_file(onnx, options)))
    return Timing(timed, device_name(next(model.parameters()).device), threads)

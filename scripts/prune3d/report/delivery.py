"""The folder of a final network: ONNX files and the card, whatever of them can be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from prune3d.errors import UserError
from prune3d.export import ExportError, export, export_unreachable
from prune3d.export.pictures_inside import take_pictures
from prune3d.export.program import why_no_program
from prune3d.files import write_text
from prune3d.models.assembly import get_spec
from prune3d.models.lineage import get_lineage
from prune3d.models.meaning import get_meaning
from prune3d.pruning.realized import realized
from prune3d.report.card import Card, score_of

MODEL, PICTURES, PROGRAM = "model.onnx", "pictures.onnx", "model.pt2"


@dataclass(frozen=True)
class Files:
    """Where a final network's files are written.

    Attributes
    ----------
    onnx
        Takes normalized images.
    pictures
        Takes bytes of any size.
    card
        Says what the network is.
    program
        Of torch.export, where one is asked for; it is there already.
    """

    onnx: str | Path
    pictures: str | Path
    card: str | Path
    program: str | Path | None = None


def deliver(
    model: nn.Module, judged: Mapping[str, Any], made_by: str, licence: str, files: Files
) -> dict[str, str]:
    """Write the files; an ONNX file that cannot be written says why, and so does the card.

    Parameters
    ----------
    model
        The final network, on the CPU.
    judged
        Its ``test`` in metrics.json.
    made_by
        A sentence on the run that made it.
    licence
        Of the network.
    files
        Where to.

    Returns
    -------
    dict
        For each file that could not be written, why.
    """
    lacks = _write_onnx(model, files)
    no_program = why_no_program(files.program) if files.program else None
    if no_program is not None:
        lacks[PROGRAM] = no_program
    card = Card(
        get_spec(model),
        get_lineage(model),
        realized(model),
        get_meaning(model).classes,
        score_of(judged),
        "the test images",
        licence=licence,
        made_by=made_by,
        lacks=lacks,
        has_program=files.program is not None and no_program is None,
    )
    write_text(files.card, card.text())
    return lacks


def deliver_nothing(reason: str, files: Files) -> None:
    """Write files that say why there is no network."""
    export_unreachable(files.onnx, reason)
    export_unreachable(files.pictures, reason)
    write_text(files.card, f"# No network\n\n{reason.rstrip('.')}.\n")


def _write_onnx(model: nn.Module, files: Files) -> dict[str, str]:
    try:
        export(model, files.onnx)
    except ExportError as error:
        export_unreachable(files.onnx, str(error))
        export_unreachable(files.pictures, str(error))
        return {MODEL: str(error), PICTURES: str(error)}
    try:
        take_pictures(files.onnx, files.pictures)
    except UserError as error:
        export_unreachable(files.pictures, str(error))
        return {PICTURES: str(error)}
    return {}

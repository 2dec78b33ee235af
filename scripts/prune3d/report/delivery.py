"""The folder of a final network: ONNX files, whatever of them can be written, and the card.

The card needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune3d.errors import UserError
from prune3d.export.stored import why_no_network, why_no_program
from prune3d.models.description import describe
from prune3d.report.card import Card, score_of
from prune3d.report.latencies import Timing

if TYPE_CHECKING:
    from torch import nn

MODEL, PICTURES, PROGRAM = "model.onnx", "pictures.onnx", "model.pt2"


@dataclass(frozen=True)
class Files:
    """Where a final network's ONNX files and program lie.

    Attributes
    ----------
    onnx
        Takes normalized images.
    pictures
        Takes bytes of any size.
    program
        Of torch.export, where one is asked for.
    """

    onnx: str | Path
    pictures: str | Path
    program: str | Path | None = None


def write_onnx(model: nn.Module, files: Files) -> dict[str, str]:
    """Write the ONNX files; one that cannot be written says why.

    Parameters
    ----------
    model
        The final network, on the CPU.
    files
        Where to.

    Returns
    -------
    dict
        For each file that could not be written, why.
    """
    from prune3d.export import ExportError, export, export_unreachable
    from prune3d.export.pictures_inside import take_pictures

    try:
        export(model, files.onnx)
    except ExportError as error:
        write_nothing(str(error), files)
        return {MODEL: str(error), PICTURES: str(error)}
    try:
        take_pictures(files.onnx, files.pictures)
    except UserError as error:
        export_unreachable(files.pictures, str(error))
        return {PICTURES: str(error)}
    return {}


def write_nothing(reason: str, files: Files) -> None:
    """Write ONNX files that say why there is no network."""
    from prune3d.export import export_unreachable

    export_unreachable(files.onnx, reason)
    export_unreachable(files.pictures, reason)


def lacks_of(files: Files) -> dict[str, str]:
    """Return for each of the files that holds no network why."""
    found = {MODEL: why_no_network(files.onnx), PICTURES: why_no_network(files.pictures)}
    if files.program is not None:
        found[PROGRAM] = why_no_program(files.program)
    return {name: why for name, why in found.items() if why is not None}


def card_of(
    model: str | Path,
    metrics: Mapping[str, Any],
    files: Files,
    *,
    licence: str,
    made_by: str,
    timing: Timing | None = None,
) -> str:
    """Return the card of a final network from its files, or of the policy that has none.

    Parameters
    ----------
    model
        Its model file.
    metrics
        Its ``metrics.json``.
    files
        All there.
    licence
        Of the network.
    made_by
        A sentence on the run that made it.
    timing
        How long it takes, where it was timed.
    """
    if metrics.get("unreachable") is not None:
        return f"# No network\n\n{metrics['unreachable'].rstrip('.')}.\n"
    described, lacks = describe(model), lacks_of(files)
    return Card(
        described.spec,
        described.lineage,
        metrics,
        described.meaning,
        score_of(metrics["test"]),
        "the test images",
        timing,
        licence,
        made_by,
        lacks,
        has_program=files.program is not None and PROGRAM not in lacks,
    ).text()

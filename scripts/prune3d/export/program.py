"""A network as a program of ``torch.export``: a ``.pt2`` file that needs torch alone."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from prune3d.errors import what_failed
from prune3d.export.onnx_file import ExportError, known_of
from prune3d.files import atomic_path, write_text
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network

SUFFIX = ".pt2"
# Its file in the program with what is known of inputs and outputs.
MEANING = "meaning.json"
TOLERANCE = 1e-4


def export_program(model: nn.Module, path: str | Path) -> float:
    """Write a network as a program of `torch.export` and compare its outputs with the original's.

    Parameters
    ----------
    model
        On the CPU.
    path
        Name of the file, which ends in ``.pt2``. Its one input is a batch of normalized images,
        shape (N, channels, side, side), N free; its output logits (N, classes). With it is a file
        ``meaning.json`` (the ``extra_files`` of `torch.export.load`) with what the metadata of an
        ONNX file tell, see `prune3d.export.export`.

    Returns
    -------
    float
        The largest absolute difference of logits on random images, more than were traced.

    Raises
    ------
    ExportError
        If torch cannot write it, or if the difference is above 1e-4 of the largest logit.
    """
    spec = get_spec(model)
    plain = copy_network(model, spec.name).eval()
    told = json.dumps(known_of(model), sort_keys=True)
    generator = torch.Generator().manual_seed(0)
    traced, others = (
        torch.randn(count, spec.in_channels, spec.side, spec.side, generator=generator)
        for count in (4, 7)
    )
    with atomic_path(path) as temporary:
        try:
            batch = {0: torch.export.Dim("batch")}
            program = torch.export.export(plain, (traced,), dynamic_shapes=(batch,))
            with temporary.open("wb") as stream:
                torch.export.save(program, stream, extra_files={MEANING: told})
            with temporary.open("rb") as stream:
                again = torch.export.load(stream).module()
            with torch.no_grad():
                expected, found = plain(others), again(others)
        except Exception as error:
            raise ExportError(
                f"{spec.name} cannot be written by torch.export ({what_failed(error)})."
            ) from error
        difference = float((found - expected).abs().max())
        if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise ExportError(
                f"the program that torch.export makes of {spec.name} gives other logits, off by "
                f"{difference:.1e}."
            )
        return difference


def write_reason(path: str | Path, reason: str) -> None:
    """Write a file that says why there is no program."""
    write_text(path, f"{reason.rstrip('.')}.\n")

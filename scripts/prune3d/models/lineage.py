"""What a network has cost so far: every pass of images through it or its ancestors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from prune3d.models.attached import attach, attached

if TYPE_CHECKING:
    from torch import nn

Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class Step:
    """Something done with images.

    Attributes
    ----------
    action
        What was done.
    image_passes
        Number of images passed through the network, each time counted.
    macs
        Multiply-accumulates of one forward pass over one image.
    stage
        The job's name: ``dense``, a sampling point, or ``budget/policy``.
    """

    action: str
    image_passes: Count
    macs: Count
    stage: str = ""


def get_lineage(model: nn.Module) -> tuple[Step, ...]:
    """Return a network's steps, the first one first."""
    lineage: tuple[Step, ...] = attached(model, "lineage", ())
    return lineage


def set_lineage(model: nn.Module, steps: Iterable[Step]) -> None:
    """Attach steps to a network."""
    attach(model, "lineage", tuple(steps))


def add_step(model: nn.Module, step: Step) -> None:
    """Add the latest step."""
    set_lineage(model, (*get_lineage(model), step))


def name_stage(model: nn.Module, stage: str) -> None:
    """Give the steps that have no stage yet the name of the job that did them."""
    steps = get_lineage(model)
    set_lineage(model, (s if s.stage else replace(s, stage=stage) for s in steps))


def bill(steps: Sequence[Step], stage: str) -> dict[str, int]:
    """Return the cost of one stage.

    Returns
    -------
    dict
        ``image_passes`` and ``cost_macs``, the sum over its steps of passes x MACs.
    """
    own = [step for step in steps if step.stage == stage]
    return {
        "image_passes": sum(step.image_passes for step in own),
        "cost_macs": sum(step.image_passes * step.macs for step in own),
    }

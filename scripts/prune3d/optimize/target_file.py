"""What is pruned to: ``optimum.json``, ``target.json``, and what the optimum was chosen among."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from prune3d.files import damaged, shown
from prune3d.records import (
    Count,
    Excerpt,
    Fraction,
    JsonKind,
    Name,
    NonNegative,
    Positive,
    Ratio,
    Record,
    TableKind,
)
from prune3d.sampling.metrics_file import Cost

NETWORK = ("depth", "width", "resolution", "width_asked", "macs", "macs_ratio", "params")


class _Continuous(Excerpt):
    feasible: bool
    depth: Ratio | None = None
    width: Ratio | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> _Continuous:
        if self.feasible and (self.depth is None or self.width is None):
            raise ValueError("it is feasible but has no place")
        return self


class TargetRecord(Excerpt):
    """A network to prune to, or why there is none."""

    policy: Name
    limits: dict[Literal["macs", "params", "latency_ms"], Positive]
    budget_macs: Positive | None
    unreachable: Name | None = None
    depth: Ratio | None = None
    width: Ratio | None = None
    resolution: Ratio | None = None
    width_asked: Ratio | None = None
    macs: Count | None = None
    macs_ratio: Positive | None = None
    params: Count | None = None
    latency_ms: Positive | None = None
    predicted_accuracy: float | None = None
    tried_accuracy: Fraction | None = None
    removal_order: list[Name] | None = None
    search_cost_macs: Cost | None = None
    networks_judged: Count | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> TargetRecord:
        missing = [name for name in (*NETWORK, *self.limits) if getattr(self, name) is None]
        if self.unreachable is None and missing:
            raise ValueError(f"the key {missing[0]!r} is missing")
        return self


class OptimumRecord(TargetRecord):
    """The method's target, with what its figure shows."""

    kkt: _Continuous

    @model_validator(mode="after")
    def _is_predicted(self) -> OptimumRecord:
        if self.unreachable is None and self.predicted_accuracy is None:
            raise ValueError("the key 'predicted_accuracy' is missing")
        return self


class TiedRow(Record):
    """A network that is tied with the best one."""

    depth: Ratio
    width: Ratio
    resolution: Ratio
    macs: Count
    params: Count
    latency_ms: Positive | None = None
    predicted_accuracy: float
    share_of_refits: Fraction


class Network(Excerpt):
    """A network that is tried."""

    depth: Ratio
    width: Ratio
    resolution: Ratio
    width_asked: Ratio
    macs: Count
    macs_ratio: Positive
    params: Count
    latency_ms: Positive | None
    predicted_accuracy: float


class CandidatesRecord(Record):
    """The networks that are tried before one is chosen, and the limits that they keep."""

    limits: dict[Literal["macs", "params", "latency_ms"], Positive]
    networks: list[Network]


class TrialRow(Record):
    """A network that was tried."""

    round: Literal["first", "second"]
    place: Count
    candidate: Count
    depth: Ratio
    width: Ratio
    resolution: Ratio
    macs: Count
    params: Count
    predicted_accuracy: float
    selection_top1: Fraction
    selection_loss: NonNegative
    cost_macs: Cost
    chosen: Annotated[int, Field(ge=0, le=1)]


TARGET = JsonKind("target", 1, TargetRecord)
OPTIMUM = JsonKind("optimum", 1, OptimumRecord)
TIED = TableKind("tied", 1, TiedRow, may_be_empty=True)
CANDIDATES = JsonKind("candidates", 1, CandidatesRecord)
TRIALS = TableKind("trials", 1, TrialRow, may_be_empty=True)


def write_tied(path: str | Path, members: Sequence[Mapping[str, Any]]) -> None:
    """Write the networks of `prune3d.optimize.choice.Ties`, without their places in the lattice."""
    rows = [{k: v for k, v in member.items() if k != "index"} for member in members]
    TIED.write(path, rows)


def read_target(path: str | Path, policy: str) -> dict[str, Any]:
    """Read what a policy prunes to: the ``optimum.json`` of `dwr`, the ``target.json`` of others.

    Raises
    ------
    UserError
        If it is missing, damaged, of another format or another policy's.
    """
    target = (OPTIMUM if policy == "dwr" else TARGET).read(path)
    if target["policy"] != policy:
        raise damaged(path, f"is the target of the policy {shown(target['policy'])}")
    return target

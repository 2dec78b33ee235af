"""The file ``rounding.json``: how much time each multiple of channels saves, and which is taken."""

from __future__ import annotations

from prune3d.records import AtLeastOne, JsonKind, Name, Positive, Ratio, Record


class _Multiple(Record):
    round_to: AtLeastOne
    budget: Ratio
    macs_ratio: Ratio
    latency_ratio: Positive


class RoundingRecord(Record):
    """What was measured, where, and the multiple that is taken."""

    round_to: AtLeastOne
    measured: list[_Multiple]
    runtime: Name
    device: Name
    threads: AtLeastOne
    runs: AtLeastOne


ROUNDING = JsonKind("rounding", 1, RoundingRecord)

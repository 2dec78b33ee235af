"""The file ``history.csv``: a row for each epoch of a training. Needs no torch."""

from __future__ import annotations

from prune3d.records import AtLeastOne, Fraction, NonNegative, Record, TableKind


class HistoryRow(Record):
    """An epoch; the accuracy on the selection images is that of some, where they are judged."""

    epoch: AtLeastOne
    learning_rate: NonNegative
    train_loss: float
    train_top1: Fraction
    images: AtLeastOne
    selection_top1: Fraction | None = None


HISTORY = TableKind("history", 1, HistoryRow, may_be_empty=True)

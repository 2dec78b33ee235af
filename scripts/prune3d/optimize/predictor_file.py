"""The files ``predictor.json`` and ``validation.json``: the fitted polynomials and their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from prune3d.files import damaged
from prune3d.predictor import from_dict
from prune3d.records import AtLeastOne, Excerpt, JsonKind, NonNegative, Record

KINDS = ("low_rank", "full")
Kind = Literal["low_rank", "full"]
Shape = Literal["none", "increasing", "diminishing"]
Loss = Literal["squared", "robust"]
Degree = Annotated[int, Field(ge=0, le=6)]
Rank = Annotated[int, Field(ge=1, le=8)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
# Products of three stay finite, and so do sums of them.
Coefficient = Annotated[float, Field(ge=-1e60, le=1e60)]
Three = Field(min_length=3, max_length=3)


class _Settings(Record):
    kind: Kind
    degree: Degree
    rank: Rank
    alpha: NonNegative | Literal["loo"]
    shape: Shape
    loss: Loss


class _Polynomial(Record):
    kind: Kind
    degree: Degree
    rank: Rank | None
    alpha: NonNegative
    shape: Shape
    loss: Loss
    domain: Annotated[list[Pair], Three]
    basis_coefficients: list[list[list[Coefficient]]]
    coefficients: list[list[list[float]]]


class _Order(Record):
    degree: Degree
    rank: Rank
    coefficients: int
    rmse: NonNegative


class PredictorRecord(Record):
    """What `prune3d.optimize.surrogate.fit_both` gives."""

    chosen: Kind
    settings: _Settings
    left_out: list[str]
    predictors: dict[Kind, _Polynomial]
    orders: list[_Order] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits_together(self) -> PredictorRecord:
        own = self.settings
        if self.chosen != own.kind:
            raise ValueError("what is chosen is another kind than that of settings")
        if set(self.predictors) != set(KINDS):
            raise ValueError(f"predictors are not {' and '.join(KINDS)}")
        for kind, polynomial in self.predictors.items():
            rank = own.rank if kind == "low_rank" else None
            form = (polynomial.shape, polynomial.loss)
            known = (polynomial.kind, polynomial.degree, polynomial.rank, *form)
            if known != (kind, own.degree, rank, own.shape, own.loss):
                raise ValueError(f"predictors.{kind} is another polynomial than settings ask for")
        return self


class _Errors(Excerpt):
    n: Annotated[int, Field(ge=0)]
    mae: NonNegative | None
    rmse: NonNegative | None
    spearman: Annotated[float, Field(ge=-1, le=1)] | None
    kendall: Annotated[float, Field(ge=-1, le=1)] | None
    intervals: dict[Literal["mae", "rmse", "spearman", "kendall"], Pair | None]

    @model_validator(mode="after")
    def _has_all_intervals(self) -> _Errors:
        if len(self.intervals) != 4:
            raise ValueError("an interval is missing")
        return self


class _Judged(Excerpt):
    coefficients: AtLeastOne | None
    determined: bool | None
    holdout: _Errors | None
    leave_one_out: _Errors | None


class ValidationRecord(Excerpt):
    """What `prune3d.optimize.surrogate.validate` gives."""

    predictors: dict[str, _Judged]
    left_out: list[str]


PREDICTOR = JsonKind("predictor", 2, PredictorRecord)
VALIDATION = JsonKind("validation", 2, ValidationRecord)


def read_predictor(path: str | Path) -> dict[str, Any]:
    """Read a ``predictor.json``, see `prune3d.optimize.surrogate.fit_both`.

    Raises
    ------
    UserError
        If it is missing, damaged, of another format, or its polynomials cannot be evaluated.
    """
    fitted = PREDICTOR.read(path)
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    for kind in KINDS:
        try:
            predicted = from_dict(fitted["predictors"][kind]).predict(corners)
        except ValueError as error:
            raise damaged(path, f"is wrong in predictors.{kind} ({str(error)[:200]})") from None
        if not np.isfinite(predicted).all():
            raise damaged(path, f"is wrong in predictors.{kind}: predictions are not finite")
    return fitted

"""Fit and judge the predictors on a run's samples. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from prune3d.predictor import (
    from_dict,
    leave_one_out,
    make_predictor,
    prediction_errors,
    to_dict,
)
from prune3d.predictor.design import check_design, unknowns
from prune3d.samples import Samples

KINDS = ("low_rank", "full")


@dataclass(frozen=True)
class Settings:
    """Settings of the predictor, as in the config.

    Attributes
    ----------
    kind
        The one whose maximum is sought, ``low_rank`` or ``full``.
    degree, rank, alpha
        Degree and ridge penalty of both (or ``loo``), rank of the low-rank one.
    """

    kind: str
    degree: int
    rank: int
    alpha: float | str


def fit_both(samples: Samples, settings: Settings) -> dict[str, Any]:
    """Fit the low-rank and the full polynomial.

    Returns
    -------
    dict
        For JSON: ``chosen``, ``settings``, and under ``predictors`` each with its coefficients.
    """
    fitted = {}
    for kind in KINDS:
        predictor = make_predictor(kind, settings.degree, settings.rank, settings.alpha)
        fitted[kind] = to_dict(predictor.fit(samples.ratios, samples.accuracy))
    return {"chosen": settings.kind, "settings": asdict(settings), "predictors": fitted}


def chosen(fitted: Mapping[str, Any]) -> Any:
    """Return the predictor whose maximum is sought."""
    return from_dict(fitted["predictors"][fitted["chosen"]])


def validate(fit: Samples, held: Samples, fitted: Mapping[str, Any]) -> dict[str, Any]:
    """Judge both predictors on samples that they were not fitted to.

    Returns
    -------
    dict
        For JSON: for each predictor the errors on the held-out samples and by leaving out one
        fitted sample at a time, how many free coefficients it has, and whether the samples
        determine them or the ridge alone does.
    """
    settings = Settings(**fitted["settings"])
    results = {}
    for kind in KINDS:
        fresh = make_predictor(kind, settings.degree, settings.rank, settings.alpha)
        left_out = leave_one_out(fresh, fit.ratios, fit.accuracy)
        errors: dict[str, Any] = {
            "coefficients": unknowns(kind, settings.degree, settings.rank),
            "determined": is_determined(fit, kind, settings),
            "leave_one_out": prediction_errors(fit.accuracy, left_out),
            "holdout": None,
        }
        if held.names:
            predicted = from_dict(fitted["predictors"][kind]).predict(held.ratios)
            errors["holdout"] = prediction_errors(held.accuracy, predicted)
        results[kind] = errors
    return {"samples": len(fit.names), "held_out": len(held.names), "predictors": results}


def is_determined(samples: Samples, kind: str, settings: Settings) -> bool:
    """Tell whether the samples determine the coefficients of a polynomial."""
    try:
        check_design(samples.ratios, kind, settings.degree, settings.rank)
    except ValueError:
        return False
    return True

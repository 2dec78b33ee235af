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
from prune3d.predictor.design import unknowns
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
        Degree and ridge penalty of both, rank of the low-rank one.
    """

    kind: str
    degree: int
    rank: int
    alpha: float


def fit_both(samples: Mapping[str, Samples], settings: Settings) -> dict[str, Any]:
    """Fit the low-rank and the full polynomial to the samples of role ``fit``.

    Returns
    -------
    dict
        For JSON: ``chosen``, ``settings``, and under ``predictors`` each with its coefficients.
    """
    fit = samples["fit"]
    fitted = {}
    for kind in KINDS:
        predictor = make_predictor(kind, settings.degree, settings.rank, settings.alpha)
        fitted[kind] = to_dict(predictor.fit(fit.ratios, fit.accuracy))
    return {"chosen": settings.kind, "settings": asdict(settings), "predictors": fitted}


def chosen(fitted: Mapping[str, Any]) -> Any:
    """Return the predictor whose maximum is sought."""
    return from_dict(fitted["predictors"][fitted["chosen"]])


def validate(samples: Mapping[str, Samples], fitted: Mapping[str, Any]) -> dict[str, Any]:
    """Judge both predictors on samples that they were not fitted to.

    Returns
    -------
    dict
        For JSON: for each predictor the errors on the held-out samples and by leaving out one
        fitted sample at a time, and how many free coefficients it has.
    """
    fit, held = samples["fit"], samples["holdout"]
    settings = Settings(**fitted["settings"])
    results = {}
    for kind in KINDS:
        fresh = make_predictor(kind, settings.degree, settings.rank, settings.alpha)
        left_out = leave_one_out(fresh, fit.ratios, fit.accuracy)
        errors: dict[str, Any] = {
            "coefficients": unknowns(kind, settings.degree, settings.rank),
            "leave_one_out": prediction_errors(fit.accuracy, left_out),
            "holdout": None,
        }
        if held.names:
            predicted = from_dict(fitted["predictors"][kind]).predict(held.ratios)
            errors["holdout"] = prediction_errors(held.accuracy, predicted)
        results[kind] = errors
    return {"samples": len(fit.names), "held_out": len(held.names), "predictors": results}

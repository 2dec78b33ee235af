"""Fit and judge the predictors on a run's samples. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from prune3d.errors import ConfigError
from prune3d.optimize.predictor_file import KINDS
from prune3d.predictor import (
    Ensemble,
    bend_test,
    bootstrap,
    choose_order,
    error_intervals,
    from_dict,
    leave_one_out,
    make_predictor,
    make_rival,
    prediction_errors,
    to_dict,
)
from prune3d.predictor.design import AXES, RIVALS, check_design, unknowns
from prune3d.sampling.table import Samples

FEWEST_FOR_RIVALS = 4
CV = "cv"
# What the network has too few levels of was found out before the first sample.
FEW = AXES


@dataclass(frozen=True)
class Settings:
    """Settings of the predictor, as in the config.

    Attributes
    ----------
    kind
        The one whose maximum is sought, ``low_rank`` or ``full``.
    degree, rank
        Degree of both and rank of the low-rank one; either can be ``cv``.
    alpha
        Ridge penalty of both, or ``loo``.
    shape
        ``none``, ``increasing`` or ``diminishing``.
    loss
        ``squared`` or ``robust``.
    """

    kind: str
    degree: int | str
    rank: int | str
    alpha: float | str
    shape: str = "none"
    loss: str = "squared"

    def estimator(self, kind: str) -> Any:
        """Return an unfitted polynomial; degree and rank must be numbers."""
        degree, rank = self.numbers()
        return make_predictor(kind, degree, rank, self.alpha, self.shape, self.loss)

    def numbers(self) -> tuple[int, int]:
        """Return degree and rank."""
        return int(self.degree), int(self.rank)

    def resolved(self, samples: Samples, kind: str) -> tuple[Settings, list[dict[str, Any]]]:
        """Put numbers in the place of ``cv``.

        Returns
        -------
        Settings, list of dict
            And what was tried, the best first; empty where nothing had to be chosen.
        """
        if CV not in (self.degree, self.rank):
            return self, []
        choices: dict[str, Any] = {"alpha": self.alpha, "shape": self.shape, "loss": self.loss}
        choices["few"] = FEW
        for name, value in (("degrees", self.degree), ("ranks", self.rank)):
            if value != CV:
                choices[name] = (value,)
        orders = choose_order(kind, samples.ratios, samples.accuracy, **choices)
        best = replace(self, degree=orders[0].degree, rank=orders[0].rank)
        return best, [asdict(order) for order in orders]


def fit_both(samples: Samples, settings: Settings) -> dict[str, Any]:
    """Fit the low-rank and the full polynomial.

    Returns
    -------
    dict
        For JSON: ``chosen``, ``settings``, under ``left_out`` the names of the samples that a
        robust fit of the chosen one left out, and under ``predictors`` each with its coefficients;
        under ``orders`` the degrees and ranks that were tried where they were to be chosen.

    Raises
    ------
    ConfigError
        If the samples do not determine the polynomial whose maximum is sought.
    """
    try:
        own, orders = settings.resolved(samples, settings.kind)
        check_design(samples.ratios, settings.kind, *own.numbers(), FEW)
    except ValueError as error:
        raise ConfigError(f"sampling: {str(error).rstrip('.')}.") from None
    fitted, left_out = {}, []
    for kind in KINDS:
        predictor = own.estimator(kind).fit(samples.ratios, samples.accuracy)
        fitted[kind] = to_dict(predictor)
        if kind == settings.kind:
            pairs = zip(samples.names, predictor.inliers_, strict=True)
            left_out = [name for name, used in pairs if not used]
    return {
        "chosen": settings.kind,
        "settings": asdict(own),
        "left_out": left_out,
        "predictors": fitted,
        **({"orders": orders} if orders else {}),
    }


def chosen(fitted: Mapping[str, Any]) -> Any:
    """Return the predictor whose maximum is sought."""
    return from_dict(fitted["predictors"][fitted["chosen"]])


def refit(predictor: Any, samples: Samples, n: int, seed: int) -> Ensemble:
    """Return a predictor refitted to redrawn labels, see `prune3d.predictor.bootstrap`."""
    return bootstrap(predictor, samples.ratios, samples.accuracy, n=n, random_state=seed)


def validate(fit: Samples, held: Samples, fitted: Mapping[str, Any]) -> dict[str, Any]:
    """Judge the polynomials and their rivals on samples that they were not fitted to.

    Samples that the robust fit left out judge nobody.

    Returns
    -------
    dict
        For JSON: for each predictor the errors on the held-out samples and by leaving out one
        fitted sample at a time, with 95 % intervals; for a polynomial also how many coefficients
        it has, and whether the samples determine them or the ridge alone does. Under ``bend``
        whether joint pruning can win, see `prune3d.predictor.bend_test`, by all samples.
    """
    settings = Settings(**fitted["settings"])
    fit = fit.without(fitted["left_out"])
    degree, rank = settings.numbers()
    results = {}
    for kind in KINDS:
        errors = {
            "coefficients": unknowns(kind, degree, rank),
            "determined": is_determined(fit, kind, settings),
        }
        predictor = from_dict(fitted["predictors"][kind])
        results[kind] = {**errors, **judge(settings.estimator(kind), fit, held, predictor)}
    if len(fit.names) >= FEWEST_FOR_RIVALS:
        for kind in RIVALS:
            rival = make_rival(kind, degree, settings.alpha, len(fit.names) - 1)
            unknown = {"coefficients": None, "determined": None}
            results[kind] = {**unknown, **judge(rival, fit, held)}
    everywhere = np.vstack([fit.ratios, held.ratios])
    bend = bend_test(everywhere, np.concatenate([fit.accuracy, held.accuracy]))
    return {
        "samples": len(fit.names),
        "left_out": fitted["left_out"],
        "held_out": len(held.names),
        "bend": bend,
        "predictors": results,
    }


def judge(estimator: Any, fit: Samples, held: Samples, fitted: Any = None) -> dict[str, Any]:
    """Return the errors of an estimator by leaving one out, and on held-out samples.

    Parameters
    ----------
    estimator
        Unfitted.
    fit, held
        Samples to fit and to leave one out of, and those only predicted.
    fitted
        The same estimator fitted to `fit`, where it is known already.
    """
    with warnings.catch_warnings():
        # A Gaussian process on a few samples often ends at the bounds of its length scales.
        warnings.simplefilter("ignore")
        left_out = leave_one_out(estimator, fit.ratios, fit.accuracy)
        errors: dict[str, Any] = {"leave_one_out": _errors(fit.accuracy, left_out), "holdout": None}
        if held.names:
            known = fitted or estimator.fit(fit.ratios, fit.accuracy)
            errors["holdout"] = _errors(held.accuracy, known.predict(held.ratios))
    return errors


def is_determined(samples: Samples, kind: str, settings: Settings) -> bool:
    """Tell whether the samples determine the coefficients of a polynomial."""
    degree, rank = settings.numbers()
    try:
        check_design(samples.ratios, kind, degree, rank, FEW)
    except ValueError:
        return False
    return True


def _errors(true: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    return {
        **prediction_errors(true, predicted),
        "intervals": error_intervals(true, predicted),
    }

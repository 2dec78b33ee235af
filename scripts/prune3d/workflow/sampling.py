"""The sampling design of an experiment, with the levels that nobody chose. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prune3d.costs.levels import auto_holdout, auto_levels, last_level, stretched
from prune3d.costs.prunable import Prunable
from prune3d.data.registry import facts as data_facts
from prune3d.data.settings import DataSettings
from prune3d.models.registry import facts as model_facts
from prune3d.sampling.optimal_design import Polynomial, TreeCost, optimal_points
from prune3d.sampling.tree import AXES, Design, Point, designed_points, to_points

AUTO = "auto"


def round_to_of(settings: Mapping[str, Any]) -> int:
    """Return the multiple that samples keep channels in: any number where it is measured later."""
    given = settings["pruning"]["round_to"]
    return 1 if given == AUTO else int(given)


def known_prunable(settings: Mapping[str, Any]) -> Prunable | None:
    """Return what can be pruned of a registered model none of whose layers are kept, else None.

    Raises
    ------
    PruningError
        If the images are smaller than the model takes.
    """
    known = model_facts(settings["model"]["name"])
    if known is None or settings["pruning"]["keep"]:
        return None
    return Prunable.of_facts(known, data_facts(DataSettings.from_config(settings["data"])).side)


def last_levels(settings: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the smallest level of each dimension that is `auto`, None where levels are given."""
    sampling = settings["sampling"]
    smallest = min(budgets_of(settings), default=1.0)
    return {axis: last_level(axis, smallest) if sampling[axis] == AUTO else None for axis in AXES}


def stretched_points(settings: Mapping[str, Any], design: Design) -> frozenset[Point]:
    """Return the samples that were found without knowing what can be pruned; see `stretched`."""
    sampling, found = settings["sampling"], set[Point]()
    if sampling["holdout"] == AUTO:
        found |= set(design.holdout)
    if design.kind != "list" and AUTO in map(sampling.get, AXES):
        found |= set(designed_points(design))
    return frozenset(found) if found and known_prunable(settings) is None else frozenset()


def budgets_of(settings: Mapping[str, Any]) -> list[float]:
    """Return the budgets that are parts of the dense network's MACs."""
    return [b["macs"] for b in settings["budgets"] if b.get("macs", 2) <= 1]


def design_of(settings: Mapping[str, Any]) -> Design:
    """Return an experiment's sampling design.

    Raises
    ------
    UserError
        If there is none, or if the images are smaller than the model takes.
    """
    sampling, prunable = settings["sampling"], known_prunable(settings)
    levels = levels_of(settings, prunable)
    design = Design(
        kind=sampling["design"],
        depth=levels["depth"],
        width=levels["width"],
        resolution=levels["resolution"],
        points=to_points(sampling["points"]),
    )
    if design.kind == "optimal":
        design = replace(design, chosen=_optimal_points(settings, design))
    if sampling["holdout"] == AUTO:
        held_out = auto_holdout(design, prunable, round_to_of(settings))
        return replace(design, holdout=held_out)
    return replace(design, holdout=to_points(sampling["holdout"]))


def levels_of(
    settings: Mapping[str, Any], prunable: Prunable | None
) -> dict[str, tuple[float, ...]]:
    """Return the levels of each dimension: as given, or found for what can be pruned."""
    sampling, round_to = settings["sampling"], round_to_of(settings)
    smallest = min(budgets_of(settings), default=1.0)
    return {
        axis: auto_levels(axis, sampling["levels"], smallest, prunable, round_to)
        if sampling[axis] == AUTO
        else tuple(sampling[axis])
        for axis in AXES
    }


def axes_with_few_levels(settings: Mapping[str, Any], prunable: Prunable) -> list[str]:
    """Return the `auto` dimensions of which the network has fewer levels than were asked for."""
    sampling, found = settings["sampling"], levels_of(settings, prunable)
    return [a for a in AXES if sampling[a] == AUTO and len(found[a]) < sampling["levels"]]


def ratios_in(
    prunable: Prunable, asked: Sequence[float | None], last: Mapping[str, float | None]
) -> list[float | None]:
    """Return the ratios to prune to where they were found before the network was known.

    None, a dimension that is not pruned, stays None. See `prune3d.costs.levels.stretched`.
    """
    made = stretched(Point(*(ratio or 1.0 for ratio in asked)), last, prunable)
    return [
        # The mean over all channels is not the ratio to ask for.
        ratio if ratio is None or axis == "width" else realized
        for axis, ratio, realized in zip(AXES, asked, made, strict=True)
    ]


def _optimal_points(settings: Mapping[str, Any], design: Design) -> tuple[Point, ...]:
    """Return the samples of an optimal design for an experiment's predictor and budgets."""
    sampling, predictor = settings["sampling"], settings["predictor"]
    # What is to be chosen later is taken at its default.
    degree, rank = (
        default if predictor[key] == "cv" else predictor[key]
        for key, default in (("degree", 3), ("rank", 1))
    )
    part = settings["data"]["selection_fraction"]
    label = part / (1 - part)
    points = optimal_points(
        [getattr(design, axis) for axis in AXES],
        sampling["count"],
        Polynomial(predictor["kind"], degree, rank),
        budgets_of(settings),
        # Batch norms and blocks see at most all training images.
        TreeCost(train=settings["finetune"]["epochs"] + 1 + label, score=1 + label),
        sampling["criterion"],
    )
    return to_points(points)

"""The figure that tells which policy is ahead at each budget, however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune3d.optimize.registry import METHOD
from prune3d.report.figures import Style
from prune3d.report.policy_figures import look

LINE_INCHES = 0.2  # of height, for each policy
AROUND_INCHES = 1.0  # for title and axis
SEED_COLOR = "0.6"


def draw_ranking(runs: Sequence[Mapping[str, Any]], style: Style) -> Figure:
    """Draw the policies of each budget from the best to the worst: a panel for each budget.

    Parameters
    ----------
    runs
        Rows of `prune3d.report.policies.RUNS`; those without a budget are left out.
    style
        Size of a panel; it gets higher where there are many policies.
    """
    runs = [row for row in runs if row["budget"]]
    experiments = list(dict.fromkeys(row["experiment"] for row in runs)) or [""]
    budgets = list(dict.fromkeys(row["budget"] for row in runs)) or [""]
    ranked = {(e, b): _ranked(runs, e, b) for e in experiments for b in budgets}
    width, height = style.size
    high = max(0.5 * height, AROUND_INCHES + LINE_INCHES * max(map(len, ranked.values())))
    size = (0.8 * width * len(budgets), high * len(experiments))
    figure = Style(size, style.dpi).figure()
    panels = figure.subplots(len(experiments), len(budgets), squeeze=False)
    for (case, policies), panel in zip(ranked.items(), panels.flat, strict=True):
        if not policies and runs:
            panel.remove()  # the experiment has no such budget
            continue
        _plot(panel, policies)
        panel.set_title(", ".join(case))
        panel.set_xlabel("test accuracy (%)")
    return figure


def _ranked(
    runs: Sequence[Mapping[str, Any]], experiment: str, budget: str
) -> dict[str, list[float]]:
    """Return the accuracies of each policy in percent, one for each seed, the best policy first."""
    found: dict[str, list[float]] = {}
    for row in runs:
        if (row["experiment"], row["budget"]) == (experiment, budget):
            found.setdefault(row["policy"], []).append(100 * row["test_top1"])
    return dict(sorted(found.items(), key=lambda item: -np.mean(item[1])))


def _plot(panel: Axes, ranked: Mapping[str, Sequence[float]]) -> None:
    for place, (policy, values) in enumerate(ranked.items()):
        panel.plot(values, [place] * len(values), ".", color=SEED_COLOR, markersize=4, zorder=1)
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        panel.errorbar(
            float(np.mean(values)),
            place,
            xerr=spread,
            capsize=2,
            linestyle="none",
            zorder=2,
            **look(policy),
        )
    if METHOD in ranked:
        panel.axvline(float(np.mean(ranked[METHOD])), color="0.8", linewidth=0.8, zorder=0)
    panel.set_yticks(range(len(ranked)), list(ranked))
    panel.set_ylim(max(1, len(ranked)) - 0.5, -0.5)
    panel.tick_params(axis="y", labelsize=8, length=0)

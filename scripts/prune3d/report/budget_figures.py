"""The figure of the predicted optimum over budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune3d.optimize.registry import METHOD
from prune3d.report.figures import COLORS, Style
from prune3d.report.policy_figures import look
from prune3d.sampling.tree import AXES

Row = Mapping[str, Any]


def draw_pareto(optima: Sequence[Row], finals: Sequence[Row], style: Style) -> Figure:
    """Draw the optimum of each dimension and its predicted accuracy over budgets of MACs.

    Parameters
    ----------
    optima
        Rows of `prune3d.optimize.series.OPTIMA`, of one experiment.
    finals
        Rows of `prune3d.report.policies.RUNS`: the final networks of the same experiment.
    style
        Size of the figure.
    """
    figure = style.figure()
    seeds = list(dict.fromkeys(row["seed"] for row in optima))
    panels = figure.subplots(1, 4)
    for i, seed in enumerate(seeds):
        rows = [row for row in optima if row["seed"] == seed]
        budgets = [100 * row["budget_macs"] for row in rows]
        for axis, panel in zip(AXES, panels, strict=False):
            low, high = ([row[f"{axis}_{end}"] for row in rows] for end in ("low", "high"))
            _band(panel, budgets, low, high, len(seeds), "tied with it" if i == 0 else None)
            label = "optimum, a line a seed" if i == 0 else None
            _line(panel, budgets, [row[axis] for row in rows], label)
        # On a coarse lattice a larger budget may be used less.
        rows = sorted(rows, key=lambda row: row["macs_ratio"])
        macs = [100 * row["macs_ratio"] for row in rows]
        low, high = ([100 * row[f"accuracy_{end}"] for row in rows] for end in ("low", "high"))
        _band(panels[3], macs, low, high, len(seeds), "90 % interval" if i == 0 else None)
        predicted = [100 * row["predicted_accuracy"] for row in rows]
        _line(panels[3], macs, predicted, "predicted" if i == 0 else None)
    _draw_finals(panels[3], finals)
    lowest = min(row[f"{axis}_low"] for row in optima for axis in AXES)
    for axis, panel in zip(AXES, panels, strict=False):
        panel.set_ylim(max(0.0, lowest - 0.05), 1.03)
        panel.set_title(axis)
        panel.set_xlabel("budget (% of the dense MACs)")
    panels[0].set_ylabel("ratio to the dense network")
    panels[3].set_title("accuracy")
    panels[3].set_xlabel("MACs (% of the dense network)")
    panels[3].set_ylabel("selection accuracy (%)")
    for panel in panels:
        _percent_scale(panel)
    for first, columns in ((panels[0], 2), (panels[3], 4)):
        where = "outside lower left" if first is panels[0] else "outside lower right"
        handles, labels = first.get_legend_handles_labels()
        figure.legend(handles, labels, loc=where, ncols=columns, frameon=False, fontsize=8)
    return figure


def _line(panel: Axes, x: Sequence[float], y: Sequence[float], label: str | None) -> None:
    panel.plot(x, y, color=COLORS[0], marker=".", markersize=4, linewidth=1.2, label=label)


def _band(
    panel: Axes,
    x: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    seeds: int,
    label: str | None,
) -> None:
    """Shade a range; where those of all seeds overlap the shade is the same for any number."""
    alpha = 1 - 0.65 ** (1 / seeds)
    panel.fill_between(x, low, high, color=COLORS[5], alpha=alpha, linewidth=0, label=label)


def _draw_finals(panel: Axes, finals: Sequence[Row]) -> None:
    """Draw what was measured of the final networks: the method's, and all others."""
    looks: dict[str, dict[str, Any]] = {
        "other policies, measured": {"marker": "x", "color": "0.25", "zorder": 5},
        f"{METHOD}, measured": {
            "marker": "*",
            "color": look(METHOD)["color"],
            "markeredgecolor": "k",
            "markeredgewidth": 0.6,
            "zorder": 4,
        },
    }
    own = [row for row in finals if row["policy"] == METHOD]
    others = [row for row in finals if row["policy"] != METHOD]
    for (label, drawn), rows, size in zip(looks.items(), (others, own), (4, 10), strict=True):
        if rows:
            x, y = np.array([(row["macs_ratio"], row["selection_top1"]) for row in rows]).T
            panel.plot(100 * x, 100 * y, linestyle="none", markersize=size, label=label, **drawn)


def _percent_scale(panel: Axes) -> None:
    """Make the scale logarithmic, with plain numbers at ticks that do not overlap."""
    panel.set_xscale("log")
    low, high = panel.get_xlim()
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [t for t in (60, 70, 80, 90, 100, 5, 7, 10, 15, 20, 30, 40) if low <= t <= high]
    panel.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
    panel.minorticks_off()

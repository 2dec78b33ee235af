"""The figures, as PDF for papers and PNG for screens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune3d.files import atomic_path
from prune3d.samples import Samples
from prune3d.sampling import AXES
from prune3d.surrogate import chosen

# Okabe and Ito's colours, told apart by people with any colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Style:
    """How a figure is drawn.

    Attributes
    ----------
    size
        Width and height in inches.
    dpi
        Dots per inch of the PNG file.
    """

    size: Sequence[float]
    dpi: int

    def figure(self) -> Figure:
        """Return an empty figure."""
        width, height = self.size
        return Figure(figsize=(width, height), layout="constrained")

    def save(self, figure: Figure, output: Any) -> None:
        """Write to the paths ``pdf`` and ``png``, the same bytes for the same figure."""
        for path, metadata in ((output.pdf, {"CreationDate": None}), (output.png, {})):
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=self.dpi, metadata=metadata)


def draw_dimensions(
    runs: Sequence[Samples], fitted: Sequence[Mapping[str, Any]], style: Style
) -> Figure:
    """Draw accuracy over each dimension alone: samples, and the fitted curve of every seed.

    Parameters
    ----------
    runs
        The fitted samples of each seed.
    fitted
        What ``predictor.json`` holds, for each seed.
    style
        Size of the figure.
    """
    figure = style.figure()
    panels = figure.subplots(1, 3, sharey=True)
    predictors = [chosen(f) for f in fitted]
    for axis, panel in enumerate(panels):
        lowest = min(run.ratios[:, axis].min() for run in runs)
        grid = np.linspace(lowest, 1, 100)
        points = np.ones((100, 3))
        points[:, axis] = grid
        curves = np.array([predictor.predict(points) for predictor in predictors])
        for curve in curves:
            panel.plot(grid, 100 * curve, color=COLORS[0], alpha=0.35, linewidth=0.8)
        panel.plot(grid, 100 * curves.mean(0), color=COLORS[0], linewidth=2, label="fitted")
        for i, run in enumerate(runs):
            own = _alone(run.ratios, axis)
            panel.plot(
                run.ratios[own, axis],
                100 * run.accuracy[own],
                MARKERS[i % len(MARKERS)],
                color=COLORS[1],
                markersize=4,
                alpha=0.8,
                label="samples" if i == 0 else None,
            )
        panel.set_xlabel(AXES[axis])
    panels[0].set_ylabel("selection accuracy (%)")
    panels[0].legend(frameon=False)
    return figure


def draw_predictions(
    runs: Sequence[Samples],
    held: Sequence[Samples],
    fitted: Sequence[Mapping[str, Any]],
    style: Style,
) -> Figure:
    """Draw predicted against measured accuracy, fitted and held-out samples of every seed."""
    figure = style.figure()
    panel = figure.subplots()
    predictors = [chosen(f) for f in fitted]
    every: list[float] = []
    for label, parts, color, marker in (
        ("fitted samples", runs, COLORS[0], "o"),
        ("held-out samples", held, COLORS[1], "^"),
    ):
        pairs = [(p, part) for p, part in zip(predictors, parts, strict=True) if part.names]
        measured = [value for _, part in pairs for value in part.accuracy]
        predicted = [value for p, part in pairs for value in p.predict(part.ratios)]
        if measured:
            points = (100 * np.array(measured), 100 * np.array(predicted))
            panel.plot(*points, marker, color=color, label=label, markersize=5, alpha=0.7)
        every += measured + predicted
    low, high = 100 * min(every), 100 * max(every)
    margin = 0.05 * max(high - low, 1e-3)
    limits = (low - margin, high + margin)
    panel.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    panel.set(xlim=limits, ylim=limits, aspect="equal")
    panel.set_xlabel("measured selection accuracy (%)")
    panel.set_ylabel("predicted accuracy (%)")
    panel.legend(frameon=False)
    return figure


def draw_policies(summary: Sequence[Mapping[str, str]], style: Style) -> Figure:
    """Draw test accuracy against MACs of all policies, a panel for each experiment.

    Parameters
    ----------
    summary
        Rows of ``policies.csv``: cells are text, empty where there is no value.
    style
        Size of the figure.
    """
    experiments = list(dict.fromkeys(row["experiment"] for row in summary))
    policies = list(dict.fromkeys(row["policy"] for row in summary))
    figure = style.figure()
    panels = figure.subplots(1, len(experiments), squeeze=False)[0]
    for experiment, panel in zip(experiments, panels, strict=True):
        for i, policy in enumerate(policies):
            rows = [r for r in summary if r["experiment"] == experiment and r["policy"] == policy]
            _plot_policy(panel, rows, policy, i)
        panel.set_title(experiment)
        panel.set_xlabel("MACs (% of the dense network)")
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].legend(frameon=False)
    return figure


def _plot_policy(panel: Axes, rows: Sequence[Mapping[str, str]], policy: str, index: int) -> None:
    rows = sorted(rows, key=lambda row: float(row["macs_ratio_mean"]))
    panel.errorbar(
        [100 * float(row["macs_ratio_mean"]) for row in rows],
        [100 * float(row["test_top1_mean"]) for row in rows],
        yerr=[100 * float(row["test_top1_std"] or 0) for row in rows],
        label=policy,
        color="0.3" if policy == "dense" else COLORS[index % len(COLORS)],
        marker="*" if policy == "dense" else MARKERS[index % len(MARKERS)],
        linestyle="-" if len(rows) > 1 else "none",
        capsize=3,
    )


def _alone(ratios: np.ndarray, axis: int) -> np.ndarray:
    others = [i for i in range(3) if i != axis]
    return np.flatnonzero((ratios[:, others] > 1 - 1e-9).all(1))

"""The figures of samples, predictors and ablations, as PDF for papers and PNG for screens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prune3d.files import atomic_path
from prune3d.optimize.surrogate import chosen
from prune3d.sampling.table import Samples
from prune3d.sampling.tree import AXES

# Okabe and Ito's colours, told apart by people with any colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Samples that no predictor is fitted to since their fine-tuning failed.
LEFT_OUT: dict[str, Any] = {"marker": "x", "linestyle": "none", "color": "0.25", "markersize": 5}


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

    def of_panels(self, lines: int, columns: int) -> Style:
        """Return the style of a figure with panels that have three quarters of this size each."""
        width, height = self.size
        return Style((width * (1 + 3 * columns) / 4, height * (1 + 3 * lines) / 4), self.dpi)

    def save(self, figure: Figure, output: Any, prefix: str = "") -> None:
        """Write to the paths ``{prefix}pdf`` and ``{prefix}png`` of an output.

        The same figure gives the same bytes.
        """
        for kind, metadata in (("pdf", {"CreationDate": None}), ("png", {})):
            with atomic_path(getattr(output, prefix + kind)) as temporary:
                figure.savefig(temporary, dpi=self.dpi, metadata=metadata)


def draw_dimensions(
    runs: Sequence[Samples], fitted: Sequence[Mapping[str, Any]], style: Style
) -> Figure:
    """Draw accuracy over each dimension alone: samples, and the fitted curve of every seed.

    Samples that the fit left out are crosses, for which the axes do not reach.

    Parameters
    ----------
    runs
        The samples of each seed.
    fitted
        What ``predictor.json`` holds, for each seed.
    style
        Size of the figure.
    """
    figure = style.figure()
    panels = figure.subplots(1, 3, sharey=True)
    predictors = [chosen(f) for f in fitted]
    kept, left = _split(runs, fitted)
    for axis, panel in enumerate(panels):
        lowest = min(run.ratios[:, axis].min() for run in runs)
        grid = np.linspace(lowest, 1, 100)
        points = np.ones((100, 3))
        points[:, axis] = grid
        curves = np.array([predictor.predict(points) for predictor in predictors])
        for curve in curves:
            panel.plot(grid, 100 * curve, color=COLORS[0], alpha=0.35, linewidth=0.8)
        panel.plot(grid, 100 * curves.mean(0), color=COLORS[0], linewidth=2, label="fitted")
        for i, run in enumerate(kept):
            own = run.alone(axis)
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
    limits = panels[0].get_ylim()
    for axis, panel in enumerate(panels):
        for run in left:
            own = run.alone(axis)
            panel.plot(run.ratios[own, axis], 100 * run.accuracy[own], **LEFT_OUT)
    panels[0].set_ylim(limits)
    wrecks = 100 * np.concatenate([run.on_axes().accuracy for run in left])
    if len(wrecks):
        panels[0].plot([], [], label=_left_out(wrecks, limits), **LEFT_OUT)
    panels[0].set_ylabel("selection accuracy (%)")
    panels[0].legend(frameon=False)
    return figure


def _split(
    runs: Sequence[Samples], fitted: Sequence[Mapping[str, Any]]
) -> tuple[list[Samples], list[Samples]]:
    """Return the samples that each predictor was fitted to, and those that it left out."""
    kept = [run.without(one["left_out"]) for run, one in zip(runs, fitted, strict=True)]
    left = [run.without(used.names) for run, used in zip(runs, kept, strict=True)]
    return kept, left


def _left_out(accuracy: NDArray[np.float64], limits: tuple[float, float]) -> str:
    """Return what samples that were left out are called, shape (n, ...), and how many are outside.

    Parameters
    ----------
    accuracy
        What places each on an axis, in percent.
    limits
        Of the axis.
    """
    low, high = limits
    within = ((accuracy >= low) & (accuracy <= high)).reshape(len(accuracy), -1).all(1)
    outside = int(np.sum(~within))
    return "left out" + (f" ({outside} outside)" if outside else "")


def draw_predictions(
    runs: Sequence[Samples],
    held: Sequence[Samples],
    fitted: Sequence[Mapping[str, Any]],
    style: Style,
) -> Figure:
    """Draw predicted against measured accuracy, fitted and held-out samples of every seed.

    Samples that the fit left out are crosses, for which the axes do not reach.

    Parameters
    ----------
    runs, held
        The samples of each seed, and those that were held out.
    fitted
        What ``predictor.json`` holds, for each seed.
    style
        Size of the figure.
    """
    figure = style.figure()
    panel = figure.subplots()
    kept, left = _split(runs, fitted)
    used, unseen, wrecks = (_measured_predicted(parts, fitted) for parts in (kept, held, left))
    for label, points, color, marker in (
        ("fitted samples", used, COLORS[0], "o"),
        ("held-out samples", unseen, COLORS[1], "^"),
    ):
        if len(points):
            panel.plot(*points.T, marker, color=color, label=label, markersize=5, alpha=0.7)
    every = np.concatenate([used, unseen])
    low, high = float(every.min()), float(every.max())
    margin = 0.05 * max(high - low, 1e-3)
    limits = (low - margin, high + margin)
    if len(wrecks):
        panel.plot(*wrecks.T, label=_left_out(wrecks, limits), **LEFT_OUT)
    panel.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    panel.set(xlim=limits, ylim=limits, aspect="equal")
    panel.set_xlabel("measured selection accuracy (%)")
    panel.set_ylabel("predicted accuracy (%)")
    panel.legend(frameon=False)
    return figure


def _measured_predicted(
    parts: Sequence[Samples], fitted: Sequence[Mapping[str, Any]]
) -> NDArray[np.float64]:
    """Return measured and predicted accuracy of all samples in percent, shape (n, 2)."""
    pairs = [
        np.column_stack([part.accuracy, chosen(one).predict(part.ratios)])
        for part, one in zip(parts, fitted, strict=True)
        if part.names
    ]
    return 100 * np.concatenate([np.empty((0, 2)), *pairs])


def draw_ablation(summary: Sequence[Mapping[str, Any]], style: Style) -> Figure:
    """Draw the errors of an ablation: by setting, or over samples and cost where those vary.

    Parameters
    ----------
    summary
        Rows of `prune3d.report.predictor_ablation.SUMMARY`.
    style
        Size of the figure.
    """
    figure = style.figure()
    settings = list(dict.fromkeys(row["setting"] for row in summary))
    if len({row["samples"] for row in summary}) == 1:
        panel = figure.subplots()
        for i, (part, label) in enumerate((("rest", "left out"), ("holdout", "held out"))):
            known = [row for row in summary if row[f"{part}_rmse_mean"] is not None]
            panel.errorbar(
                [settings.index(row["setting"]) for row in known],
                [100 * row[f"{part}_rmse_mean"] for row in known],
                yerr=[100 * (row[f"{part}_rmse_std"] or 0) for row in known],
                color=COLORS[i],
                marker=MARKERS[i],
                label=label,
                capsize=3,
            )
        panel.set_xticks(range(len(settings)), settings)
        panels = [panel]
    else:
        panels = list(figure.subplots(1, 2, sharey=True))
        for i, setting in enumerate(settings):
            rows = sorted(
                (row for row in summary if row["setting"] == setting),
                key=lambda row: row["samples"],
            )
            error = [100 * row["rest_rmse_mean"] for row in rows]
            spread = [100 * (row["rest_rmse_std"] or 0) for row in rows]
            for panel, values in (
                (panels[0], [row["samples"] for row in rows]),
                (panels[1], [row["cost_macs"] for row in rows]),
            ):
                panel.errorbar(
                    values,
                    error,
                    yerr=spread,
                    color=COLORS[i % len(COLORS)],
                    marker=MARKERS[i % len(MARKERS)],
                    label=setting,
                    capsize=3,
                )
        panels[0].set_xlabel("samples")
        panels[1].set_xlabel("cost (image passes x MACs)")
        panels[1].set_xscale("log")
    panels[0].set_ylabel("error on samples not fitted (points)")
    panels[0].set_ylim(0, 1.05 * panels[0].get_ylim()[1])
    panels[0].legend(frameon=False)
    return figure


def draw_scratch(rows: Sequence[Mapping[str, Any]], style: Style) -> Figure:
    """Draw the accuracy of networks made by pruning over that of the same trained from scratch."""
    figure = style.figure()
    panel = figure.subplots()
    scratch = 100 * np.array([row["scratch_accuracy"] for row in rows])
    pruned = 100 * np.array([row["pruned_accuracy"] for row in rows])
    panel.plot(scratch, pruned, MARKERS[0], color=COLORS[0], markersize=5, alpha=0.8)
    low, high = min(scratch.min(), pruned.min()), max(scratch.max(), pruned.max())
    margin = 0.05 * max(high - low, 1e-3)
    limits = (low - margin, high + margin)
    panel.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    panel.set(xlim=limits, ylim=limits, aspect="equal")
    panel.set_xlabel("trained from scratch: selection accuracy (%)")
    panel.set_ylabel("pruned and fine-tuned (%)")
    return figure


def draw_surface(
    samples: Samples,
    fitted: Mapping[str, Any],
    optimum: Mapping[str, Any],
    tied: Sequence[Mapping[str, Any]],
    style: Style,
) -> Figure:
    """Draw the predicted accuracy over depth and width on the surface of a budget of MACs.

    The resolution follows from d w^2 r^2 = budget [paper]; where it lies outside the sampled range
    nothing is drawn. Networks that are tied with the best, the optimum and the samples lie at
    their own depth and width.

    Parameters
    ----------
    samples
        The fitted samples.
    fitted
        What ``predictor.json`` holds.
    optimum
        What ``optimum.json`` holds.
    tied
        Rows of ``tied.csv``.
    style
        Size of the figure.
    """
    figure = style.figure()
    panel = figure.subplots()
    region = samples.region()
    if optimum["budget_macs"] is not None:
        lines = [np.linspace(low, high, 161) for low, high in region[:2]]
        depth, width = np.meshgrid(*lines)
        side = np.sqrt(optimum["budget_macs"] / (depth * width**2))
        outside = (side < region[2, 0] - 1e-9) | (side > region[2, 1] + 1e-9)
        points = np.column_stack([depth.ravel(), width.ravel(), np.clip(side, *region[2]).ravel()])
        values = np.ma.masked_array(
            100 * chosen(fitted).predict(points).reshape(depth.shape), outside
        )
        if not outside.all():
            filled = panel.contourf(depth, width, values, 15, cmap="viridis")
            figure.colorbar(filled, label="predicted accuracy (%)")
            sides = panel.contour(
                depth, width, np.ma.masked_array(side, outside), 5, colors="w", linewidths=0.6
            )
            panel.clabel(sides, fmt="r = %.2f", fontsize=7)
    panel.plot(*samples.ratios[:, :2].T, "o", markerfacecolor="none", color="0.2", label="samples")
    if tied:
        ratios = np.array([[row["depth"], row["width"]] for row in tied])
        panel.plot(*ratios.T, ".", color=COLORS[1], markersize=4, label="tied networks")
    continuous = optimum["kkt"]
    if continuous["feasible"]:
        panel.plot(
            continuous["depth"],
            continuous["width"],
            "X",
            color="w",
            markeredgecolor="k",
            markersize=8,
            clip_on=False,
            label="continuous optimum",
        )
    if optimum.get("unreachable") is None:
        panel.plot(
            optimum["depth"],
            optimum["width"],
            "*",
            color=COLORS[4],
            markeredgecolor="k",
            markersize=14,
            clip_on=False,
            label="optimum",
        )
    panel.set_xlabel("depth")
    panel.set_ylabel("width")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure

"""The figures that compare policies: each has the same look in all of them.

Looks differ in grey, too: no two policies share a marker in the same filling.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prune3d.report.figures import COLORS, Style
from prune3d.report.profiles import gaps_to_the_best
from prune3d.report.recovery import curves

# In the order of their looks, which never changes; the dense network is grey.
KNOWN = (
    *("dwr", "depth", "width", "resolution", "dense_longer"),
    *("depth_width", "depth_resolution", "width_resolution"),
    *("uniform", "compound", "fast_compound", "tinynet", "tinynet_fitted", "greedy"),
    *("random_channels", "random_blocks", "scratch_epochs", "scratch_budget"),
    *("random_point", "random_point_best", *(f"random_point{i}" for i in range(1, 6))),
    *("global_taylor", "global_l2", "slimming", "dwr_allocated", "joint_gradient"),
    *("group_norm", "dwr_predicted"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d", "8")
LINES = ("-", "--", "-.", ":")
NOTE_POINTS = 7
# More stand beside the panels, in a column or two.
MOST_INSIDE, MOST_BESIDE = 6, 25
MOST_COLUMNS = 3  # of panels


def look(policy: str) -> dict[str, Any]:
    """Return how a policy is drawn: label, colour, marker and its filling."""
    if policy not in KNOWN:
        return {"label": policy, "color": "0.3", "marker": "*"}
    index = KNOWN.index(policy)
    drawn = {"label": policy, "color": COLORS[index % len(COLORS)]}
    drawn["marker"] = MARKERS[index % len(MARKERS)]
    round_ = index // len(MARKERS)
    return drawn if round_ == 0 else {**drawn, "fillstyle": ("none", "left", "top")[round_ - 1]}


def draw_policies(
    summary: Sequence[Mapping[str, Any]], style: Style, notes: Sequence[str] = ()
) -> Figure:
    """Draw test accuracy against MACs of all policies, a panel for each experiment.

    Parameters
    ----------
    summary
        Rows of ``policies.csv``, None where there is no value.
    style
        Size of the figure.
    notes
        What must be known of the results; it stands below.
    """
    figure = _against_macs(summary, style, _plot_accuracy, "test accuracy (%)")
    _explain(figure)
    if notes:
        # Letters of this size are about half as wide as high.
        letters = int(figure.get_figwidth() * 72 / (0.55 * NOTE_POINTS))
        text = "\n".join(textwrap.fill(note, letters) for note in notes)
        figure.supxlabel(text, fontsize=NOTE_POINTS, color=COLORS[1])
    return figure


def draw_latencies(summary: Sequence[Mapping[str, Any]], style: Style) -> Figure:
    """Draw latency against MACs, both to the dense network, a panel for each experiment.

    Parameters
    ----------
    summary
        Rows of `prune3d.report.latencies.SUMMARY`.
    style
        Size of the figure.
    """
    ylabel = "milliseconds (% of the dense network)"
    figure = _against_macs(summary, style, _plot_latency, ylabel)
    for panel in figure.axes:
        panel.plot([0, 100], [0, 100], color="0.7", linewidth=0.8, zorder=0, label="time as MACs")
    _explain(figure)
    return figure


def draw_accuracy_over_latency(summary: Sequence[Mapping[str, Any]], style: Style) -> Figure:
    """Draw test accuracy over milliseconds, of few images and of a batch: a row an experiment.

    Parameters
    ----------
    summary
        Rows of `prune3d.report.latencies.SUMMARY`.
    style
        Size of the figure.
    """
    experiments = list(dict.fromkeys(row["experiment"] for row in summary))
    policies = list(dict.fromkeys(row["policy"] for row in summary))
    figure = style.of_panels(len(experiments), 1).figure()
    panels = figure.subplots(len(experiments), 2, squeeze=False, sharey="row")
    sizes = {"latency_ms": "batch_size", "throughput_ms": "throughput_batch_size"}
    for experiment, row in zip(experiments, panels, strict=True):
        own = [one for one in summary if one["experiment"] == experiment]
        for (time, size), panel in zip(sizes.items(), row, strict=True):
            for policy in policies:
                _plot_times(panel, [one for one in own if one["policy"] == policy], time, policy)
            images = own[0][size]
            panel.set_title(f"{experiment}, {images} image{'s' if images > 1 else ''} at once")
            panel.set_xlabel("milliseconds")
        row[0].set_ylabel("test accuracy (%)")
    _explain(figure, most_inside=0)
    return figure


def _plot_times(panel: Axes, rows: Sequence[Mapping[str, Any]], time: str, policy: str) -> None:
    """Draw the networks of a policy, joined by rising time; those of one seed without bars."""
    rows = sorted(rows, key=lambda row: row[time])
    if not rows:
        return
    panel.errorbar(
        [row[time] for row in rows],
        [100 * row["test_top1"] for row in rows],
        xerr=[row[f"{time}_std"] or 0 for row in rows],
        yerr=[100 * (row["test_top1_std"] or 0) for row in rows],
        linestyle="-" if len(rows) > 1 else "none",
        capsize=3,
        **look(policy),
    )


def _against_macs(
    summary: Sequence[Mapping[str, Any]],
    style: Style,
    plot: Callable[[Axes, Sequence[Mapping[str, Any]], dict[str, Any]], None],
    ylabel: str,
) -> Figure:
    """Draw something of all policies against MACs, a panel for each experiment."""
    experiments = list(dict.fromkeys(row["experiment"] for row in summary))
    policies = list(dict.fromkeys(row["policy"] for row in summary))
    lines, columns = _lines_and_columns(len(experiments))
    figure = style.of_panels(lines, columns).figure()
    panels = _panels(figure, len(experiments))
    for experiment, panel in zip(experiments, panels, strict=True):
        for policy in policies:
            rows = [r for r in summary if r["experiment"] == experiment and r["policy"] == policy]
            plot(panel, rows, look(policy))
        panel.set_title(experiment)
        panel.set_xlabel("MACs (% of the dense network)")
    for panel in panels[::columns]:
        panel.set_ylabel(ylabel)
    return figure


def _lines_and_columns(count: int) -> tuple[int, int]:
    """Return in how many lines and columns so many panels stand."""
    columns = min(MOST_COLUMNS, count)
    return math.ceil(count / columns), columns


def _panels(figure: Figure, count: int, sharey: bool = False) -> list[Axes]:
    """Return new panels of a figure, line by line."""
    panels = figure.subplots(*_lines_and_columns(count), squeeze=False, sharey=sharey).flat
    for panel in panels[count:]:
        panel.remove()
    return list(panels[:count])


def _plot_accuracy(panel: Axes, rows: Sequence[Mapping[str, Any]], drawn: dict[str, Any]) -> None:
    rows = sorted(rows, key=lambda row: row["macs_ratio_mean"])
    panel.errorbar(
        [100 * row["macs_ratio_mean"] for row in rows],
        [100 * row["test_top1_mean"] for row in rows],
        yerr=[100 * (row["test_top1_std"] or 0) for row in rows],
        linestyle="-" if len(rows) > 1 else "none",
        capsize=3,
        **drawn,
    )


def _plot_latency(panel: Axes, rows: Sequence[Mapping[str, Any]], drawn: dict[str, Any]) -> None:
    panel.plot(
        [100 * row["macs_ratio"] for row in rows],
        [100 / row["speedup"] for row in rows],
        linestyle="none",
        **drawn,
    )


def draw_recovery(rows: Sequence[Mapping[str, Any]], style: Style) -> Figure:
    """Draw accuracy over the epochs of fine-tuning, means over seeds: a panel for each budget.

    Parameters
    ----------
    rows
        Rows of `prune3d.report.recovery.RECOVERY`, of one experiment.
    style
        Size of the figure with a line of panels; more make it higher.
    """
    found = curves(rows)
    budgets = list(dict.fromkeys(budget for _, budget, _ in found)) or [""]
    lines, columns = _lines_and_columns(len(budgets))
    figure = style.of_panels(lines, 1).figure()
    panels = _panels(figure, len(budgets), sharey=True)
    for budget, panel in zip(budgets, panels, strict=True):
        for (_, own, policy), curve in found.items():
            if own == budget:
                epochs = list(curve)
                top1 = [100 * curve[epoch] for epoch in epochs]
                panel.plot(epochs, top1, linestyle=_line(policy), **look(policy))
        panel.set_title(budget)
        panel.set_xlabel("epoch of fine-tuning")
        panel.locator_params(axis="x", integer=True)
    for panel in panels[::columns]:
        panel.set_ylabel("selection accuracy (%)")
    _explain(figure, most_inside=0)  # lines cross the whole panel
    return figure


def _line(policy: str) -> str:
    """Return the line of a policy, where all are drawn as lines."""
    index = KNOWN.index(policy) if policy in KNOWN else 0
    return LINES[index // len(COLORS) % len(LINES)]


def draw_profiles(
    runs: Sequence[Mapping[str, Any]], style: Style, left_out: Sequence[Mapping[str, Any]] = ()
) -> Figure:
    """Draw for each policy in what part of all cases it is within some points of the best.

    Parameters
    ----------
    runs
        Rows of `prune3d.report.policies.RUNS`; a case is an experiment, a budget and a seed.
    style
        Size of the figure.
    left_out
        Rows of `prune3d.report.policies.LEFT_OUT`.
    """
    figure = style.figure()
    panel = figure.subplots()
    gaps = gaps_to_the_best(runs, left_out)
    finite = [100 * gap for own in gaps.values() for gap in own if gap is not None]
    # Where all are equally good there is still something to see.
    end = max([1.0, *finite])
    for policy, own in gaps.items():
        known = sorted(100 * gap for gap in own if gap is not None)
        steps = [0.0, *known, 1.05 * end]
        parts = [100 * sum(gap <= step + 1e-9 for gap in known) / len(own) for step in steps]
        drawn = look(policy)
        every = max(1, len(steps) // 6)
        panel.plot(
            *(steps, parts),
            drawstyle="steps-post",
            linestyle=_line(policy),
            markevery=every,
            **drawn,
        )
    panel.set_xlabel("points of test accuracy behind the best policy")
    panel.set_ylabel("% of experiments, budgets, seeds")
    panel.set_xlim(-0.02 * end, 1.05 * end)
    panel.set_ylim(-3, 103)
    _explain(figure, most_inside=0)  # lines cross the whole panel
    return figure


def _explain(figure: Figure, most_inside: int = MOST_INSIDE) -> None:
    """Say once what all looks mean: inside the first panel where there are few, else beside."""
    found: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if len(found) <= most_inside:
        figure.axes[0].legend(found.values(), found.keys(), frameon=False)
        return
    columns = 1 + len(found) // MOST_BESIDE
    legend = figure.legend(
        found.values(),
        found.keys(),
        loc="outside right upper",
        ncols=columns,
        frameon=False,
        fontsize=NOTE_POINTS,
    )
    # Further columns make the figure wider instead of its panels narrower.
    inches = legend.get_window_extent().width / figure.dpi
    figure.set_figwidth(figure.get_figwidth() + inches * (columns - 1) / columns)

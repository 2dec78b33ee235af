"""Compare sampling designs by their errors, and by the regret of the network that they lead to.

On synthetic surfaces nothing but noise hides the truth; on the recorded grid of digits a design is
given the labels of its own points and chooses among all networks of the grid that a budget allows.
The levels are those of config/digits_grid.yaml. Run by hand; docs/predictor.md has the figures.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from prune3d.predictor import LowRankPolynomialRegressor  # noqa: E402
from prune3d.sampling.optimal_design import Polynomial, TreeCost, optimal_points  # noqa: E402

LEVELS = [[0.78, 0.56, 0.33], [0.7, 0.45, 0.25], [0.75, 0.5, 0.375]]
NOISE, SURFACES, REPEATS = 0.006, 24, 3
COUNTS = (9, 12, 15)  # and the dense network
BUDGETS, RECORDED_BUDGETS = (0.25, 0.125), (0.5, 0.35, 0.25, 0.18, 0.125, 0.09)
Surface = Callable[[np.ndarray], np.ndarray]


def surfaces() -> list[Surface]:
    """Return accuracies that saturate in each dimension, with some interaction."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(SURFACES):
        depth, rate, joint = rng.uniform(0.02, 0.25, 3), rng.uniform(1, 5, 3), rng.uniform(0, 0.15)

        def accuracy(X, depth=depth, rate=rate, joint=joint):
            share = (1 - np.exp(-rate * X)) / (1 - np.exp(-rate))
            return 0.97 - (1 - share) @ depth - joint * np.prod(1 - X, axis=1)

        found.append(accuracy)
    return found


def error(points: np.ndarray, everywhere: np.ndarray) -> float:
    """Return the mean error over surfaces and noise on all points, in points of accuracy."""
    errors = []
    for truth, seed in itertools.product(surfaces(), range(REPEATS)):
        noise = NOISE * np.random.default_rng(seed).standard_normal(len(points))
        fitted = LowRankPolynomialRegressor(n_starts=1).fit(points, truth(points) + noise)
        gap = fitted.predict(everywhere) - truth(everywhere)
        errors.append(np.sqrt(np.mean(gap**2)))
    return 100 * float(np.mean(errors))


def budget_points(budget: float) -> np.ndarray:
    """Return networks that use a budget, inside the sampled region."""
    depth, side = np.meshgrid(np.linspace(0.33, 1, 15), np.linspace(0.375, 1, 21), indexing="ij")
    width = np.sqrt(budget / depth) / side
    points = np.stack([depth, width, side], axis=-1).reshape(-1, 3)
    return points[(points[:, 1] >= 0.25) & (points[:, 1] <= 1)]


def regrets(points: np.ndarray) -> tuple[float, float]:
    """Return mean and 90 % quantile of the regret over surfaces, noise and budgets, in points."""
    lost = []
    for truth, seed in itertools.product(surfaces(), range(REPEATS)):
        noise = NOISE * np.random.default_rng(seed).standard_normal(len(points))
        fitted = LowRankPolynomialRegressor(n_starts=1).fit(points, truth(points) + noise)
        for budget in BUDGETS:
            allowed = budget_points(budget)
            values = truth(allowed)
            lost.append(values.max() - values[np.argmax(fitted.predict(allowed))])
    return 100 * float(np.mean(lost)), 100 * float(np.quantile(lost, 0.9))


def recorded_regrets(points: np.ndarray) -> tuple[float, float, float]:
    """Return mean and largest regret on the recorded grid over budgets, and the design's cost."""
    with (ROOT / "docs/data/digits_grid.csv").open() as file:
        rows = list(csv.DictReader(file))
    X = np.array([[float(row[axis]) for axis in ("depth", "width", "resolution")] for row in rows])
    y, macs, cost = (
        np.array([float(row[name]) for row in rows])
        for name in ("accuracy", "macs_ratio", "cost_macs")
    )
    # Realized ratios are not quite the levels.
    near = [int(np.argmin(np.abs(X - point).sum(axis=1))) for point in points]
    fitted = LowRankPolynomialRegressor(n_starts=1).fit(X[near], y[near])
    predicted, lost = fitted.predict(X), []
    for budget in RECORDED_BUDGETS:
        allowed = np.flatnonzero(macs <= budget)
        lost.append(y[allowed].max() - y[allowed[np.argmax(predicted[allowed])]])
    paid = float(cost[[i for i in near if macs[i] < 1]].sum()) / 1e9
    return 100 * float(np.mean(lost)), 100 * float(np.max(lost)), paid


def judge(name: str, points: np.ndarray, grid: np.ndarray) -> None:
    """Print what a design is worth."""
    mean, tail = regrets(points)
    own, most, paid = recorded_regrets(points)
    print(
        f"{name}, {len(points)} samples: error {error(points, grid):.2f}, regret {mean:.2f} "
        f"(90 %: {tail:.2f}); digits: regret {own:.2f}, at most {most:.2f}, cost {paid:.1f} G"
    )


def main() -> None:
    """Print the error and the regret of each design."""
    grid = np.array(list(itertools.product(*[[1.0, *axis] for axis in LEVELS])))
    axes = grid[np.sum(grid < 1, axis=1) <= 1]
    judge("axes", axes, grid)
    for criterion, count in itertools.product("di", COUNTS):
        chosen = optimal_points(
            LEVELS, count, Polynomial("low_rank", 3), [0.25], TreeCost(7, 1), criterion
        )
        points = np.array([(1.0, 1.0, 1.0), *chosen])
        judge(f"optimal {criterion}", points, grid)
    judge("grid", grid, grid)


if __name__ == "__main__":
    main()

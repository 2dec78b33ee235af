"""Compare sampling designs on synthetic surfaces, where nothing but noise hides the truth.

The levels are those of config/digits_grid.yaml. Run by hand; docs/predictor.md has the figures.
"""

from __future__ import annotations

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


def main() -> None:
    """Print the error of each design."""
    grid = np.array(list(itertools.product(*[[1.0, *axis] for axis in LEVELS])))
    axes = grid[np.sum(grid < 1, axis=1) <= 1]
    print(f"axes, {len(axes)} samples: {error(axes, grid):.2f}")
    for criterion, count in itertools.product("di", (9, 12, 15)):
        chosen = optimal_points(
            LEVELS, count, Polynomial("low_rank", 3), [0.25], TreeCost(7, 1), criterion
        )
        points = np.array([(1.0, 1.0, 1.0), *chosen])
        print(f"optimal {criterion}, {count + 1} samples: {error(points, grid):.2f}")
    print(f"grid, {len(grid)} samples: {error(grid, grid):.2f}")


if __name__ == "__main__":
    main()

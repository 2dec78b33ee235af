"""What the predictor's choice is worth on recorded rows: docs/data/glyphs32_resnet20.csv.

The rows have 13 samples on the axes for each seed, after 3 and 8 epochs of fine-tuning, and finals
of 16 epochs that cover the surfaces of two budgets. A choice is among the finals; its regret is how
far its selection accuracy lies below that of the best final of the seed and budget.

    PYTHONPATH=scripts python tests/bench/recorded.py
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from prune3d.predictor import (  # noqa: E402
    LowRankPolynomialRegressor,
    ScalingLawRegressor,
    bend_test,
    bootstrap,
    tie_fidelities,
)

TABLE = ROOT / "docs/data/glyphs32_resnet20.csv"
EPOCHS, SEEDS, BUDGETS = (8, 3), (0, 1), (0.25, 0.125)
AXES = ("depth", "width", "resolution")
TIED = 0.05  # as in the search
SPREAD = 5  # candidates spread over the tied networks, the best one with them


@dataclass(frozen=True)
class Labels:
    """Networks with their accuracies.

    Attributes
    ----------
    X : ndarray of shape (n, 3)
    y : ndarray of shape (n,)
        On the selection images.
    """

    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Case:
    """One choice: the samples that it is made from, and the finals that it is made among."""

    epochs: int
    seed: int
    budget: float
    samples: Labels
    finals: Labels


def rows() -> list[dict[str, str]]:
    """Read the recorded rows."""
    with TABLE.open() as file:
        return list(csv.DictReader(file))


def labels(**wanted: Any) -> Labels:
    """Return the rows whose columns have some values."""
    found = [
        row
        for row in rows()
        if all(type(value)(row[name]) == value for name, value in wanted.items() if row[name])
        and all(row[name] for name in wanted)
    ]
    X = np.array([[float(row[axis]) for axis in AXES] for row in found]).reshape(-1, 3)
    return Labels(X, np.array([float(row["selection_top1"]) for row in found]))


def samples(epochs: int, seed: int) -> Labels:
    """Return the samples without distillation, the dense network fine-tuned alike first."""
    dense = labels(kind="control", seed=seed, epochs=epochs, round_=1)
    pruned = labels(kind="sample", seed=seed, epochs=epochs, distillation=0.0)
    return Labels(np.vstack([dense.X, pruned.X]), np.concatenate([dense.y, pruned.y]))


def finals(seed: int, budget: float) -> Labels:
    """Return the surface of a budget."""
    return labels(kind="final", seed=seed, budget=budget)


def cases() -> list[Case]:
    """Return all choices."""
    return [
        Case(epochs, seed, budget, samples(epochs, seed), finals(seed, budget))
        for epochs in EPOCHS
        for seed in SEEDS
        for budget in BUDGETS
    ]


def regret(finals: Labels, chosen: int) -> float:
    """Return the regret of a final, in points."""
    return 100 * float(finals.y.max() - finals.y[chosen])


def inside(case: Case, used: np.ndarray) -> np.ndarray:
    """Tell which finals lie in the region of the samples that were used."""
    X = case.samples.X[used]
    low, high = X.min(axis=0), X.max(axis=0)
    clipped = np.clip(case.finals.X, low, high)
    return np.all(np.abs(case.finals.X - clipped) <= 1e-9, axis=1)


def best(predicted: np.ndarray, allowed: np.ndarray) -> int:
    """Return the allowed final of the largest prediction."""
    return int(np.argmax(np.where(allowed, predicted, -np.inf)))


def singles(finals: Labels) -> list[int]:
    """Return the finals that prune one dimension first, and another only as far as needed."""
    depth, width, resolution = finals.X.T
    whole = depth >= 1
    by_width = np.where(whole & (resolution >= 1), -width, -np.inf)
    by_resolution = np.where(whole, width, -np.inf)
    by_depth = np.where(resolution >= 1, -depth, -np.inf)
    return [int(np.argmax(scores)) for scores in (by_width, by_resolution, by_depth)]


def fitted(case: Case, loss: str = "robust") -> tuple[Any, np.ndarray]:
    """Fit the default predictor, and return which finals it may choose."""
    X, y = case.samples.X, case.samples.y
    predictor = LowRankPolynomialRegressor(loss=loss).fit(X, y)
    return predictor, inside(case, predictor.inliers_)


def alone(case: Case, loss: str = "robust") -> int:
    """Choose by the predictor alone."""
    predictor, allowed = fitted(case, loss)
    return best(predictor.predict(case.finals.X), allowed)


def candidates(case: Case) -> list[int]:
    """Return what would be tried: networks spread over the tied ones, and the single dimensions."""
    predictor, allowed = fitted(case)
    X = case.finals.X
    first = best(predictor.predict(X), allowed)
    refits = bootstrap(predictor, case.samples.X, case.samples.y, n=1000).predict(X)
    share = np.mean(refits >= refits[:, [first]], axis=0)
    tied = np.flatnonzero(allowed & (share > TIED))
    return list(dict.fromkeys([*spread(X, tied, first, SPREAD), *singles(case.finals)]))


def spread(X: np.ndarray, among: np.ndarray, first: int, count: int) -> list[int]:
    """Return networks that lie far apart in the logarithms, the first one given."""
    logs, found = np.log(X), [first]
    while len(found) < min(count, len(among)):
        gaps = np.linalg.norm(logs[among][:, None] - logs[found], axis=2).min(axis=1)
        found.append(int(among[np.argmax(gaps)]))
    return found


def tried(case: Case) -> int:
    """Choose the best of the candidates by their own finals."""
    return max(candidates(case), key=lambda i: float(case.finals.y[i]))


def long_labels(case: Case, budgets: tuple[float, ...]) -> Labels:
    """Return the finals of the single dimensions of some budgets."""
    parts = []
    for budget in budgets:
        of = finals(case.seed, budget)
        own = singles(of)
        parts.append(Labels(of.X[own], of.y[own]))
    if not parts:
        return Labels(np.empty((0, 3)), np.empty(0))
    return Labels(np.vstack([p.X for p in parts]), np.concatenate([p.y for p in parts]))


def by_two_fidelities(case: Case) -> int:
    """Choose by the predictor tied to the finals of single dimensions at the same budget."""
    predictor, allowed = fitted(case)
    long = long_labels(case, (case.budget,))
    predicted = tie_fidelities(predictor, long.X, long.y).predict(case.finals.X)
    predicted[singles(case.finals)] = case.finals.y[singles(case.finals)]
    return best(predicted, allowed)


def coverage(budgets: tuple[float, ...]) -> tuple[float, float, float]:
    """Return how often intervals of 90 % hold a final, their mean width and the mean error."""
    hits, widths, gaps = [], [], []
    for case in cases():
        predictor, allowed = fitted(case)
        long = long_labels(case, budgets)
        tied = tie_fidelities(predictor, long.X, long.y)
        unseen = allowed.copy()
        if case.budget in budgets:
            unseen[singles(case.finals)] = False
        low, high = tied.interval(case.finals.X[unseen]).T
        truth = case.finals.y[unseen]
        hits += list((low <= truth) & (truth <= high))
        widths += list(high - low)
        gaps += list(np.abs(tied.predict(case.finals.X[unseen]) - truth))
    return float(np.mean(hits)), 100 * float(np.mean(widths)), 100 * float(np.mean(gaps))


def by_scaling_law(case: Case) -> int:
    """Choose by the scaling law, fitted to the samples that the robust polynomial used."""
    predictor, allowed = fitted(case)
    used = predictor.inliers_
    law = ScalingLawRegressor().fit(case.samples.X[used], case.samples.y[used])
    return best(law.predict(case.finals.X), allowed)


WAYS: dict[str, Callable[[Case], int]] = {
    "squared": lambda case: alone(case, "squared"),
    "robust": alone,
    "scaling law": by_scaling_law,
    "two fidelities": by_two_fidelities,
    "tried": tried,
}


def main() -> None:
    """Print the tables of docs/predictor.md."""
    print("| labels | seed | T |", " | ".join(WAYS), "|\n|", "---: |" * (3 + len(WAYS)))
    for case in cases():
        found = [f"{regret(case.finals, way(case)):.2f}" for way in WAYS.values()]
        names = f"{case.epochs} epochs | {case.seed} | {case.budget:g}"
        print("|", names, "|", " | ".join(found), "|")
    for budgets in ((), (0.25,), (0.125,), BUDGETS):
        held, width, gap = coverage(budgets)
        print(f"long labels at {budgets}: {held:.1%} held, width {width:.1f}, error {gap:.2f}")
    for seed in SEEDS:
        of = [finals(seed, budget) for budget in BUDGETS]
        dense = labels(kind="control", seed=seed, epochs=8, round_=1)
        X = np.vstack([dense.X, *(part.X for part in of)])
        y = np.concatenate([dense.y, *(part.y for part in of)])
        print(f"finals, seed {seed}:", bend_test(X, y))
        for epochs in EPOCHS:
            case = Case(epochs, seed, 0.25, samples(epochs, seed), of[0])
            used = fitted(case)[0].inliers_
            print(
                f"samples, {epochs} epochs, seed {seed}:",
                bend_test(case.samples.X[used], case.samples.y[used]),
            )


if __name__ == "__main__":
    main()

"""Optimal designs against brute force over all of them, and the costs of their tree by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prune3d.errors import ConfigError
from prune3d.predictor import check_design
from prune3d.sampling.optimal_design import (
    Polynomial,
    TreeCost,
    _Search,
    budget_surface,
    optimal_points,
)
from prune3d.sampling.tree import DENSE, Design, Point, sampling_tree

LEVELS = [[0.75, 0.5, 0.3], [0.8, 0.5, 0.3], [0.75, 0.5, 0.4]]
COST = TreeCost(8.0, 2.0)


def information(points: list[tuple[float, float, float]], degree: int) -> np.ndarray:
    """Return the information matrix of an additive polynomial in plain powers."""
    X = np.array([(1.0, 1.0, 1.0), *points])
    rows = np.hstack([np.ones((len(X), 1)), *[X**k for k in range(1, degree + 1)]])
    return rows.T @ rows


@pytest.mark.parametrize("criterion", ["d", "i"])
def test_small_designs_are_the_best_of_all(criterion):
    """Without thrift and of degree 1 the criterion is easy to state; all designs are tried."""
    levels = [[0.5], [0.6], [0.7]]
    budgets = [0.4]
    grid = list(itertools.product((0.5, 1.0), (0.6, 1.0), (0.7, 1.0)))[:-1]
    surface = budget_surface(np.array([[0.5, 1], [0.6, 1], [0.7, 1]]), budgets)
    rows = np.hstack([np.ones((len(surface), 1)), surface])

    def value(points):
        matrix = information(list(points), 1)
        if np.linalg.matrix_rank(matrix) < 4:
            return np.inf
        if criterion == "d":
            return -np.linalg.slogdet(matrix)[1]
        return np.mean(np.einsum("na,ab,nb->n", rows, np.linalg.inv(matrix), rows))

    found = optimal_points(
        levels, 4, Polynomial("low_rank", 1), budgets, COST, criterion, thrift=0.0
    )
    best = min(value(points) for points in itertools.combinations(grid, 4))
    assert value(found) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("criterion", ["d", "i"])
@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_designs_of_two_dimensions_are_the_best_of_all(lacking: int, criterion: str) -> None:
    """As above, for networks without blocks, channels or other image sides."""
    levels = [[0.5, 0.7], [0.6, 0.8], [0.7, 0.85]]
    levels[lacking] = []
    a, b = (m for m in range(3) if m != lacking)
    grid = [p for p in itertools.product(*[[*axis, 1.0] for axis in levels]) if min(p) < 1]
    exponents = (1, 2, 2)
    first = np.linspace(min(levels[a]), 1, 12)
    second = (0.5 / first ** exponents[a]) ** (1 / exponents[b])
    inside = (second >= min(levels[b])) & (second <= 1)
    surface = np.column_stack([np.ones(12), first, second])[inside]
    assert len(surface) > 2

    def value(points):
        rows = np.array([(1.0, p[a], p[b]) for p in [(1.0, 1.0, 1.0), *points]])
        matrix = rows.T @ rows
        if np.linalg.matrix_rank(matrix) < 3:
            return np.inf
        if criterion == "d":
            return -np.linalg.slogdet(matrix)[1]
        return np.mean(np.einsum("na,ab,nb->n", surface, np.linalg.inv(matrix), surface))

    found = optimal_points(levels, 3, Polynomial("low_rank", 1), [0.5], COST, criterion, thrift=0.0)
    best = min(value(points) for points in itertools.combinations(grid, 3))
    assert value(found) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize(("kind", "free"), [("low_rank", 1 + 2 * 2), ("full", 3**2)])
def test_a_dimension_without_levels_has_no_coefficients(kind: str, free: int) -> None:
    levels = [[], *LEVELS[1:]]
    polynomial = Polynomial(kind, 2)
    points = optimal_points(levels, free - 1, polynomial, [0.25], COST, "i")
    check_design([(1, 1, 1), *points], kind, 2)
    with pytest.raises(ConfigError, match=f"{free} free .* allowed is {free - 1} and more"):
        optimal_points(levels, free - 2, polynomial, [0.25], COST, "i")


@pytest.mark.parametrize("kind", ["low_rank", "full"])
@pytest.mark.parametrize("criterion", ["d", "i"])
def test_designs_determine_their_polynomial_and_are_the_same_each_time(kind, criterion):
    degree, count = (3, 10) if kind == "low_rank" else (1, 8)
    arguments = (LEVELS, count, Polynomial(kind, degree), [0.25, 0.1], COST, criterion)
    points = optimal_points(*arguments)
    assert points == optimal_points(*arguments)
    assert len(set(points)) == count
    check_design([(1, 1, 1), *points], kind, degree)


def test_parents_come_before_their_children():
    points = optimal_points(LEVELS, 12, Polynomial("low_rank", 3), [0.25], COST)
    tree = sampling_tree(Design("optimal", chosen=tuple(Point(*p) for p in points)))
    assert [node.point for node in tree.nodes.values()] == [DENSE, *(Point(*p) for p in points)]


def test_the_cost_of_a_tree_is_that_of_its_nodes():
    grid = np.array(sorted(itertools.product((0.5, 1.0), (0.5, 1.0), (0.5, 1.0))))
    macs = grid[:, 0] * grid[:, 1] ** 2 * grid[:, 2] ** 2
    search = _Search(
        rows=np.ones((8, 1)),
        prior=np.eye(1),
        weight=None,
        covers=np.all(grid[:, None] >= grid, axis=2) & ~np.eye(8, dtype=bool),
        shallower=grid[:, None, 0] > grid[:, 0],
        macs=macs,
        cost=COST,
        thrift=1.0,
    )
    for added in range(7):
        chosen = {7, 4, 2} | {added}
        expected = 0.0
        points = [Point(*grid[i]) for i in sorted(chosen - {7}, reverse=True)]
        for node in sampling_tree(Design("optimal", chosen=tuple(points))).nodes.values():
            p, parent = node.point, node.parent
            if p == DENSE:
                continue  # it is in every design
            expected += 8 * p.depth * p.width**2 * p.resolution**2
            if p.depth < parent.depth:
                expected += 2 * parent.depth * parent.width**2 * parent.resolution**2
        if added not in (7, 4, 2):
            assert search._costs([7, 4, 2])[added] == pytest.approx(expected)


def test_more_thrift_is_cheaper_and_less_certain():
    costs, variances = [], []
    for thrift in (0.0, 1.0):
        points = optimal_points(LEVELS, 12, Polynomial("low_rank", 3), [0.25], COST, thrift=thrift)
        X = np.array(points)
        costs.append(np.sum(X[:, 0] * X[:, 1] ** 2 * X[:, 2] ** 2))
        variances.append(-np.linalg.slogdet(information(points, 3))[1])
    assert costs[1] < 0.5 * costs[0]
    assert variances[1] > variances[0]


def test_optimal_designs_beat_axes_of_the_same_size_on_products_of_curves():
    from prune3d.predictor import LowRankPolynomialRegressor

    rng = np.random.default_rng(0)
    axes = [np.where(np.eye(3)[m] == 1, level, 1.0) for m in range(3) for level in LEVELS[m]]
    best = optimal_points(LEVELS, 9, Polynomial("low_rank", 3), [0.25], COST)
    Z = budget_surface(np.array([[0.3, 1], [0.3, 1], [0.4, 1]]), [0.25])
    errors = {"axes": [], "optimal": []}
    for _ in range(30):
        bend = rng.uniform(0.05, 0.3, 3)

        def truth(P, bend=bend):
            return 0.95 * np.prod(1 - bend * (1 - np.asarray(P)) ** 2, axis=1)

        for name, points in (("axes", axes), ("optimal", best)):
            X = np.vstack([[1, 1, 1], points])
            y = truth(X) + 0.005 * rng.standard_normal(len(X))
            fitted = LowRankPolynomialRegressor(n_starts=1).fit(X, y)
            errors[name].append(np.sqrt(np.mean((fitted.predict(Z) - truth(Z)) ** 2)))
    assert np.mean(errors["optimal"]) < 0.9 * np.mean(errors["axes"])


@pytest.mark.parametrize(
    ("count", "message"),
    [(5, "count is 5, too few .* 10 free .* allowed is 9"), (64, "the levels have 63 combin")],
)
def test_wrong_counts_are_refused(count, message):
    for kind in ("low_rank", "full"):
        with pytest.raises(ConfigError, match="count is 3 but the levels have 0 combinations"):
            optimal_points([[], [], []], 3, Polynomial(kind, 3), [0.25], COST)
    with pytest.raises(ConfigError, match=message):
        optimal_points(LEVELS, count, Polynomial("low_rank", 3), [0.25], COST)


def test_a_budget_that_no_point_has_leaves_the_whole_box():
    box = np.array([[0.5, 1], [0.5, 1], [0.5, 1]])
    assert len(budget_surface(box, [0.001])) == len(budget_surface(box, [])) == 12**3
    on = budget_surface(box, [0.3])
    np.testing.assert_allclose(on[:, 0] * on[:, 1] ** 2 * on[:, 2] ** 2, 0.3)

"""The sampling tree: parents by hand, and what may not change when a design grows."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune3d.errors import ConfigError
from prune3d.sampling.tree import DENSE, Design, Point, SamplingTree, sampling_tree, to_points

LEVELS = st.lists(
    st.integers(1, 19).map(lambda n: n / 20), min_size=0, max_size=3, unique=True
).map(tuple)
# No listed ratio but 1 is a level, so that no point is given twice.
RATIO = st.one_of(st.just(1.0), st.integers(0, 19).map(lambda n: n / 20 + 0.01))
LISTED = st.tuples(RATIO, RATIO, RATIO).filter(lambda row: row != (1, 1, 1))
POINTS = st.lists(LISTED, max_size=4, unique=True).map(to_points)
DESIGNS = st.builds(
    Design,
    kind=st.sampled_from(["axes", "grid", "list"]),
    depth=LEVELS,
    width=LEVELS,
    resolution=LEVELS,
    points=POINTS,
)
NEW_LEVEL = st.integers(0, 19).map(lambda n: n / 20 + 0.025)


def parents(tree: SamplingTree) -> dict[str, str]:
    """Return each sample's parent by name."""
    return {name: node.parent.name for name, node in tree.nodes.items()}


def assert_grown(small: Design, large: Design) -> None:
    """Assert that a larger design has every node of a smaller one."""
    before, after = sampling_tree(small).nodes, sampling_tree(large).nodes
    assert {name: after.get(name) for name in before} == before


def test_axes_are_chains_from_the_dense_network() -> None:
    design = Design("axes", (0.8, 0.6), (0.75,), (0.5, 0.25))
    assert parents(sampling_tree(design)) == {
        "d100_w100_r100": "d100_w100_r100",
        "d80_w100_r100": "d100_w100_r100",
        "d60_w100_r100": "d80_w100_r100",
        "d100_w75_r100": "d100_w100_r100",
        "d100_w100_r50": "d100_w100_r100",
        "d100_w100_r25": "d100_w100_r50",
    }


def test_grid_hangs_width_from_depth_and_resolution_from_both() -> None:
    tree = sampling_tree(Design("grid", (0.5,), (0.8, 0.6), (0.7,)))
    assert len(tree.nodes) == 2 * 3 * 2
    assert parents(tree) == {
        "d100_w100_r100": "d100_w100_r100",
        "d100_w100_r70": "d100_w100_r100",
        "d100_w80_r100": "d100_w100_r100",
        "d100_w80_r70": "d100_w80_r100",
        "d100_w60_r100": "d100_w80_r100",
        "d100_w60_r70": "d100_w60_r100",
        "d50_w100_r100": "d100_w100_r100",
        "d50_w100_r70": "d50_w100_r100",
        "d50_w80_r100": "d50_w100_r100",
        "d50_w80_r70": "d50_w80_r100",
        "d50_w60_r100": "d50_w80_r100",
        "d50_w60_r70": "d50_w60_r100",
    }


def test_listed_points_hang_from_the_nearest_that_covers_them_before() -> None:
    rows = [(0.8, 1, 1), (0.9, 0.5, 1), (0.8, 0.4, 1), (0.7, 0.45, 0.5), (0.75, 1, 1)]
    tree = sampling_tree(Design("list", depth=(0.1,), points=to_points(rows)))
    assert parents(tree) == {
        "d100_w100_r100": "d100_w100_r100",
        "d80_w100_r100": "d100_w100_r100",
        "d90_w50_r100": "d100_w100_r100",
        "d80_w40_r100": "d80_w100_r100",
        "d70_w45_r50": "d80_w100_r100",
        "d75_w100_r100": "d80_w100_r100",
    }


def test_listed_points_do_not_hang_from_levels() -> None:
    design = Design("axes", (0.8, 0.5), points=to_points([(0.5, 0.5, 1), (0.4, 0.5, 1)]))
    found = parents(sampling_tree(design))
    assert found["d50_w50_r100"] == "d100_w100_r100"
    assert found["d40_w50_r100"] == "d50_w50_r100"


@pytest.mark.parametrize("point", [(0.5, 1, 1), (1, 1, 1)])
def test_a_sample_given_again_is_refused(point: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"sample already; leave it out\."):
        sampling_tree(Design("axes", (0.5,), points=to_points([point])))


def test_holdout_hangs_from_the_dense_network() -> None:
    held = to_points([(0.8, 0.5, 1), (0.4, 0.4, 0.4)])
    tree = sampling_tree(Design("grid", (0.8, 0.5), (0.6,), (0.5,), holdout=held))
    assert tree.named("holdout") == ["d80_w50_r100", "d40_w40_r40"]
    assert {tree.nodes[name].parent for name in tree.named("holdout")} == {DENSE}
    assert len(tree.named("fit")) == 3 * 2 * 2


@pytest.mark.parametrize("point", [(0.8, 1, 1), (1, 1, 1)])
def test_a_point_cannot_be_fitted_and_held_out(point: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match=r"sample already; leave it out\."):
        sampling_tree(Design("axes", (0.8,), holdout=to_points([point])))


@pytest.mark.parametrize(
    ("ratios", "name"),
    [
        ((1, 1, 1), "d100_w100_r100"),
        ((0.8, 0.625, 0.5), "d80_w62.5_r50"),
        ((0.3, 0.07, 0.29), "d30_w7_r29"),
        ((1 / 3, 0.58, 0.57), "d33.33333333_w58_r57"),
        ((1, 1.0e-7, 1), "d100_w0.00001_r100"),
    ],
)
def test_names_are_percentages_without_noise(ratios: tuple[float, float, float], name: str) -> None:
    assert Point(*ratios).name == name


@given(DESIGNS)
def test_every_parent_covers_its_child_and_precedes_it(design: Design) -> None:
    first, *others = sampling_tree(design).nodes.values()
    assert (first.point, first.parent, first.role) == (DENSE, DENSE, "fit")
    seen = {DENSE}
    for node in others:
        assert node.parent in seen
        parent = dataclasses.astuple(node.parent)
        child = dataclasses.astuple(node.point)
        assert all(above >= below for above, below in zip(parent, child, strict=True))
        assert node.parent != node.point
        seen.add(node.point)


@given(DESIGNS)
def test_the_samples_are_those_of_the_design(design: Design) -> None:
    depth, width, resolution = (
        (1.0, *levels) for levels in (design.depth, design.width, design.resolution)
    )
    everything = set(itertools.product(depth, width, resolution))
    if design.kind == "axes":
        everything = {point for point in everything if point.count(1.0) >= 2}
    elif design.kind == "list":
        everything = set()
    everything |= {dataclasses.astuple(point) for point in design.points}
    found = [dataclasses.astuple(node.point) for node in sampling_tree(design).nodes.values()]
    assert sorted(found) == sorted(everything | {(1.0, 1.0, 1.0)})


@given(DESIGNS, st.sampled_from(["depth", "width", "resolution"]), NEW_LEVEL)
def test_a_level_at_the_end_changes_no_other_node(design: Design, axis: str, level: float) -> None:
    grown = dataclasses.replace(design, **{axis: (*getattr(design, axis), level)})
    assert_grown(design, grown)


@given(DESIGNS, st.tuples(*[st.integers(1, 19).map(lambda n: n / 20 + 0.03)] * 3))
def test_a_point_at_the_end_changes_no_other_node(
    design: Design, row: tuple[float, float, float]
) -> None:
    assert_grown(design, dataclasses.replace(design, points=(*design.points, Point(*row))))


@given(DESIGNS, st.tuples(*[st.integers(1, 20).map(lambda n: n / 20 - 0.01)] * 3))
def test_a_held_out_point_changes_no_other_node(
    design: Design, row: tuple[float, float, float]
) -> None:
    assert_grown(design, dataclasses.replace(design, holdout=(Point(*row),)))

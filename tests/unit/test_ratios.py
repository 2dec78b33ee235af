"""Ratios become whole blocks, channels and pixels."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prune3d.costs.ratios import kept_blocks, kept_channels, side_of
from prune3d.errors import PruningError

# Of ResNet-20: four groups of each size.
GROUPS = {f"{size}.{i}": size for size in (16, 32, 64) for i in range(4)}


@pytest.mark.parametrize(
    ("depth", "blocks", "fewest", "kept"),
    [
        (1, 9, 2, 9),
        (0.5, 9, 2, 5),
        (0.49, 9, 2, 4),
        (0.2, 27, 2, 5),
        (0.222, 9, 2, 2),
        (1, 1, 1, 1),
    ],
)
def test_blocks_are_rounded_to_the_nearest_number(
    depth: float, blocks: int, fewest: int, kept: int
) -> None:
    assert kept_blocks(depth, blocks, fewest) == kept


@given(st.integers(1, 60), st.data())
def test_a_ratio_of_whole_blocks_keeps_exactly_these(blocks: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, blocks))
    assert kept_blocks(kept / blocks, blocks, 1) == kept


@pytest.mark.parametrize("depth", [0, -0.1, 1.01, 0.1, math.nan, math.inf])
def test_an_impossible_depth_is_refused_with_what_is_allowed(depth: float) -> None:
    with pytest.raises(PruningError, match=r"depth .*0\.2222 \(2 blocks.*to 1"):
        kept_blocks(depth, 9, 2)


@pytest.mark.parametrize(
    ("resolution", "size", "side"), [(1, 32, 32), (0.5, 8, 4), (0.9, 32, 29), (0.01, 100, 1)]
)
def test_sides_are_rounded_to_the_nearest_pixel(resolution: float, size: int, side: int) -> None:
    assert side_of(resolution, size) == side


@given(st.integers(1, 600), st.data())
def test_a_ratio_of_whole_pixels_gives_exactly_these(size: int, data: st.DataObject) -> None:
    side = data.draw(st.integers(1, size))
    assert side_of(side / size, size) == side


@pytest.mark.parametrize("resolution", [0, -1, 1.2, 0.1, math.nan, math.inf])
def test_an_impossible_resolution_is_refused_with_what_is_allowed(resolution: float) -> None:
    with pytest.raises(PruningError, match=r"resolution .*0\.25 \(8 pixels\) to 1"):
        side_of(resolution, 32, smallest=8)


@pytest.mark.parametrize("width", np.linspace(0.1, 1, 37))
def test_the_mean_over_equal_groups_is_the_width(width: float) -> None:
    kept = kept_channels(GROUPS, np.array([width]))
    for size in (16, 32, 64):
        ratios = [kept[name][0] / size for name, n in GROUPS.items() if n == size]
        # Four groups round at four thresholds: the mean is off by at most half of a quarter.
        assert abs(np.mean(ratios) - width) <= 0.5 / 4 / size + 1e-9
        assert max(ratios) - min(ratios) <= 1 / size + 1e-9


@pytest.mark.parametrize("group_of_one", [3, 10, 16, 77])
def test_a_group_alone_is_rounded_to_the_nearest_number(group_of_one: int) -> None:
    widths = [Fraction(n, 200) for n in range(1, 201)]
    kept = kept_channels({"a": group_of_one}, np.array([float(w) for w in widths]))["a"]
    nearest = [max(1, math.floor(w * group_of_one + Fraction(1, 2))) for w in widths]
    assert kept.tolist() == nearest


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=12),
    st.integers(1, 16),
    st.lists(st.floats(1e-3, 1), min_size=1, max_size=30),
)
def test_channels_are_multiples_between_one_and_all_and_grow_with_the_width(
    sizes: list[int], round_to: int, widths: list[float]
) -> None:
    groups = {str(i): size for i, size in enumerate(sizes)}
    ascending = np.array([*sorted(widths), 1.0])
    for name, kept in kept_channels(groups, ascending, round_to).items():
        size = groups[name]
        assert kept[-1] == size
        assert kept.min() >= 1
        assert np.all(np.diff(kept) >= 0)
        fits_twice = [d for d in range(1, round_to + 1) if round_to % d == 0 and 2 * d <= size]
        assert np.all((kept % max(fits_twice, default=1) == 0) | (kept == size))


@pytest.mark.parametrize(
    ("channels", "round_to", "multiple", "half"),
    [
        *((16, 8, 1, 8), (15, 8, 1, 8), (8, 8, 1, 4), (6, 8, 1, 4), (3, 8, 1, 2), (12, 8, 3, 6)),
        (16, 8 * 10**9, 1, 8),  # at once
    ],
)
def test_half_of_a_small_group_can_go(
    channels: int, round_to: int, multiple: int, half: int
) -> None:
    kept = kept_channels({"a": channels}, np.array([0.5, 1.0]), round_to, {"a": multiple})["a"]
    assert kept.tolist() == [half, channels]


def test_all_groups_are_returned_in_their_order() -> None:
    groups = {"b": 16, "a": 32, "c": 16}
    assert list(kept_channels(groups, np.array([0.5]))) == ["b", "a", "c"]

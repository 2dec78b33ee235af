"""The lattice of realizable networks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from prune3d.costs.lattice import Lattice


def parts() -> dict[str, object]:
    """Return a lattice of 2 depths, 3 widths and 4 sides, as keyword arguments."""
    return {
        "depth": [1.0, 0.5],
        "width": [[1.0, 0.75, 0.5], [1.0, 0.7, 0.45]],
        "resolution": [0.25, 0.5, 0.75, 1.0],
        "macs": np.arange(24).reshape(2, 3, 4),
        "params": np.arange(6).reshape(2, 3),
        "dense_macs": 24,
    }


def test_points_and_indices_are_in_c_order():
    lattice = Lattice(**parts())
    assert (lattice.shape, lattice.size) == ((2, 3, 4), 24)
    points = lattice.points()
    for flat, (d, w, s) in enumerate(itertools.product(range(2), range(3), range(4))):
        expected = (lattice.depth[d], lattice.width[d, w], lattice.resolution[s])
        assert tuple(points[flat]) == expected
        assert lattice.index(flat) == (d, w, s)
        assert lattice.macs[d, w, s] == flat
    assert np.array_equal(lattice.points(np.array([5, 2])), points[[5, 2]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": [[1.0, 0.5]]}, r"width has shape \(1, 2\) but the levels need \(2, 2\)"),
        (
            {"macs": np.ones((2, 3), int)},
            r"macs has shape \(2, 3\) but the levels need \(2, 3, 4\)",
        ),
        ({"params": np.ones((3, 2), int)}, r"params has shape \(3, 2\)"),
        ({"depth": 1.0}, "must have 1, 2 and 1 dimensions, got 0, 2 and 1"),
        ({"depth": [1.0, 0.0]}, r"depth has the ratio 0.0 but ratios must be in \(0, 1\]"),
        ({"resolution": [0.25, 0.5, 1.0, 1.5]}, "resolution has the ratio 1.5"),
        ({"width": [[1.0, 0.75, np.nan]] * 2}, "width has the ratio nan"),
        ({"macs": np.ones((2, 3, 4))}, "macs must be whole numbers, got an array of float64"),
        ({"macs": -np.ones((2, 3, 4), int)}, "must not be negative"),
        ({"dense_macs": 0}, "dense_macs is 0 but must be at least 1"),
        (
            {"resolution": [], "macs": np.ones((2, 3, 0), int)},
            r"shape \(2, 3, 0\) has no network",
        ),
    ],
)
def test_wrong_lattices_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Lattice(**{**parts(), **change})

"""What the experiments of the paper cost: sums that can be worked out by hand, and the bound."""

from __future__ import annotations

from argparse import Namespace

import pytest

from paper_cost import experiments, on_cores, part_of, work
from prune3d.sampling.tree import Point
from prune3d.workflow.experiment import Experiment

GLYPHS = "config/paper/glyphs.yaml"
# With which glyphs-small takes the 79 minutes that it took, see docs/benchmarks.md.
MEASURED = Namespace(giga=4.3, cores=2, start=5.0)


def test_the_work_of_an_experiment_is_counted_in_epochs_of_the_dense_network() -> None:
    one = Experiment("glyphs-small", experiments(GLYPHS)["glyphs-small"], (0,))
    found = work(one)
    # 36 epochs, and 8 for the dense network trained longer.
    assert found["dense networks"] == 36 + 8
    # 23 policies that are fine-tuned for 8 epochs, at a quarter and an eighth of the cost.
    assert found["finals"] == pytest.approx(23 * 8 * 0.375)
    # As many epochs as dense and final; and as much work as the dense training and the final.
    assert found["finals from scratch"] == pytest.approx((36 + 8) * 0.375 + 2 * 36 + 8 * 0.375)
    # Seven networks for a quarter of 8 epochs, then two for twice as long.
    assert found["trials"] == pytest.approx((7 + 2 * 2) * 2 * 0.375)
    assert "ablation scratch" not in found
    assert part_of(Point(0.5, 0.5, 0.5)) == 0.5**5


def test_all_policies_on_glyphs_stay_within_six_hours_on_two_cores() -> None:
    *_, last = on_cores(GLYPHS, MEASURED).splitlines()
    assert 1 < float(last.split("|")[5]) <= 6
    # The run by which the rate is known.
    *_, whole = on_cores("config/glyphs-small.yaml", MEASURED).splitlines()
    assert float(whole.split("|")[5]) == pytest.approx(79 / 60, abs=0.1)

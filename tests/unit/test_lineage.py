"""Bills by hand."""

from __future__ import annotations

from torch import nn

from prune3d.models.lineage import Step, add_step, bill, get_lineage, name_stage

STEPS = (
    Step("train", 1000, 50, "dense"),
    Step("score blocks", 10, 50, "d80_w100_r100"),
    Step("re-estimate batch norms", 7, 40, "d80_w100_r100"),
    Step("train", 300, 40, "d80_w100_r100"),
    Step("train", 300, 20, "macs25/dwr"),
)


def test_a_stage_is_billed_with_its_own_passes_times_macs() -> None:
    assert bill(STEPS, "d80_w100_r100") == {
        "image_passes": 10 + 7 + 300,
        "cost_macs": 10 * 50 + 7 * 40 + 300 * 40,
    }
    assert bill(STEPS, "dense") == {"image_passes": 1000, "cost_macs": 50_000}
    assert bill(STEPS, "macs25") == {"image_passes": 0, "cost_macs": 0}


def test_naming_a_stage_leaves_those_that_have_a_name() -> None:
    model = nn.Linear(1, 1)
    assert get_lineage(model) == ()
    add_step(model, STEPS[0])
    add_step(model, Step("train", 2, 3))
    name_stage(model, "d80_w100_r100")
    assert get_lineage(model) == (STEPS[0], Step("train", 2, 3, "d80_w100_r100"))
    name_stage(model, "another")
    assert get_lineage(model)[1].stage == "d80_w100_r100"

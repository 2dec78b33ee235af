"""Nothing but the final evaluation reads the test images."""

from __future__ import annotations

from pathlib import Path

import pytest

from running import Project

RUN = Path("results/digits/seed0")
# As few trainings as can be.
SMALL = {
    "defaults": {
        "model": {"name": "resnet8"},
        "policies": ["dwr"],
        "budgets": [{"name": "most", "macs": 0.8}],
        "sampling": {
            "design": "list",
            "points": [[0.67, 1, 1], [1, 0.5, 1], [1, 1, 0.5]],
            "holdout": [[1, 0.5, 0.5]],
        },
    }
}
EVALUATING = {"evaluate_dense", "evaluate_final"}


def test_only_the_evaluating_rules_have_the_test_images_as_input(fresh: Project) -> None:
    jobs = fresh.planned()
    readers = {job.rule for job in jobs if any("/data/test." in path for path in job.input)}
    assert readers == EVALUATING | {"evaluate_longer"}
    assert {job.rule for job in jobs if any("/data/train." in p for p in job.input)} >= {
        "train_dense",
        "prune_sample",
        "finetune_final",
    }


@pytest.mark.slow
def test_everything_up_to_the_evaluation_runs_without_the_test_images(fresh: Project) -> None:
    config = fresh.with_config("small", SMALL)
    test = fresh.folder / RUN / "data/test.safetensors"
    final = str(RUN / "budgets/most/dwr/model.safetensors")
    prepared = fresh.run("--cores", "2", str(RUN / "data/train.safetensors"), config=config)
    assert prepared.returncode == 0, prepared.stderr
    content = test.read_bytes()
    test.unlink()
    before = fresh.run("--cores", "2", final, config=config)
    assert before.returncode == 0, before.stderr
    assert (fresh.folder / final).exists() and not test.exists()
    # The evaluation does read them: this test can fail.
    test.write_bytes(content[: len(content) // 2])
    metrics = str(RUN / "budgets/most/dwr/metrics.json")
    after = fresh.run("--cores", "2", "--rerun-triggers", "input", "--", metrics, config=config)
    assert after.returncode != 0
    assert "test.safetensors is truncated" in after.stderr

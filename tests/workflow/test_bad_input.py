"""What a user can get wrong is refused before work starts, in one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from running import Project

BAD: list[tuple[dict[str, Any], str]] = [
    ({"defaults": {"dense": {"epoch": 3}}}, "defaults.dense.epoch: there is no such key"),
    ({"defaults": {"dense": {"epochs": "ten"}}}, "defaults.dense.epochs is 'ten'; allowed is"),
    (
        {"defaults": {"budgets": [{"name": "x", "macs": 1.5}]}},
        "budgets[0]: macs is 1.5 but must be a part of the dense network's, above 0 and at most 1",
    ),
    ({"defaults": {"budgets": [{"name": "x"}]}}, "budgets[0]: a budget limits nothing; give one"),
    (
        {"defaults": {"budgets": [{"name": "x", "latency": 3}]}},
        "budgets[0]: latency is 3 but must be a part of the dense network's",
    ),
    ({"defaults": {"sampling": {"depth": [0.1]}}}, "sampling.depth: depth 0.1 would keep 1 of 6"),
    (
        {"defaults": {"sampling": {"resolution": [0.01]}}},
        "sampling.resolution: resolution 0.01 would make 0 pixels of 8",
    ),
    ({"defaults": {"predictor": {"degree": 5}}}, "degree 5 needs at least 6"),
    ({"defaults": {"model": {"name": "resnet33"}}}, "unknown model 'resnet33'; registered are"),
    ({"defaults": {"data": {"name": "mnist"}}}, "unknown data set 'mnist'; known are"),
    (
        {"defaults": {"pruning": {"block_criterion": "best"}}},
        "pruning.block_criterion: unknown criterion 'best'; known are",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), BAD, ids=[sentence for _, sentence in BAD])
def test_a_wrong_config_is_refused_before_any_job(
    fresh: Project, change: dict[str, Any], sentence: str
) -> None:
    done = fresh.run_forked("--cores", "2", config=fresh.with_config("bad", change))
    told = done.stdout
    assert done.returncode != 0
    assert sentence in told
    assert "Traceback" not in told
    assert not (fresh.folder / "results").exists()


MINE = {"experiments": {"mine": {"dense": {"epochs": 3}}}}


def test_an_experiment_that_would_not_be_run_is_told(fresh: Project) -> None:
    config = fresh.with_config("mine", MINE)
    done = fresh.run_forked("-n", "--quiet", "rules", config=config)
    told = done.stdout
    assert done.returncode != 0 and "Traceback" not in told
    assert "the given config defines the experiment 'mine'" in told
    assert "add `run: [mine]` to it" in told
    # Who says what to run knows what is not.
    for say in (["--config", "run=[digits]"], []):
        if not say:
            config = fresh.with_config("mine", {**MINE, "run": ["digits"]})
        done = fresh.run_forked("-n", "--quiet", "rules", *say, config=config)
        assert done.returncode == 0, done.stdout
        assert "not run, since `run` does not name them: mine" in done.stdout
    jobs = fresh.planned(config=fresh.with_config("mine", {**MINE, "run": ["mine"]}))
    made = [path for job in jobs for path in job.output]
    assert any(path.startswith("results/mine/") for path in made)
    assert not any(path.startswith("results/digits/") for path in made)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_latencies_of_the_processor_need_no_gpu(fresh: Project, device: str) -> None:
    change = {
        "defaults": {"latency": {"device": device}, "budgets": [{"name": "f", "latency": 0.5}]}
    }
    done = fresh.run_forked("-n", "--resources", "gpu=4", config=fresh.with_config("fast", change))
    [block] = re.findall(r"^rule measure_latency:\n((?:    .*\n)+)", done.stdout, re.MULTILINE)
    assert ("gpu=1" in block) == (device == "auto")


def test_a_python_whose_path_has_a_blank_is_refused(fresh: Project, tmp_path: Path) -> None:
    folder = tmp_path / "an environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "outer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    command = [str(folder / "bin/python"), *fresh.command("--cores", "1")[1:]]
    done = subprocess.run(
        command, cwd=fresh.folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode != 0
    assert f"has a blank or a sign of the shell: {folder}/bin/python" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert not (fresh.folder / "results").exists()


def test_a_truncated_model_is_refused_by_name(clone_of_finished: Project) -> None:
    name = "results/digits/seed0/dense/model.safetensors"
    path = clone_of_finished.folder / name
    path.write_bytes(path.read_bytes()[:1000])
    done = clone_of_finished.run("--cores", "2", "results/digits/seed0/dense/test.json")
    assert done.returncode != 0
    assert f"{name} is truncated or not a safetensors file" in done.stderr
    assert "Traceback" not in done.stderr

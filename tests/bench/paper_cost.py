"""What the files of config/paper cost in GPU-hours, and how long they take on so many GPUs.

    python tests/bench/paper_cost.py config/paper/cifar10.yaml --tera 2.0

Jobs are those of a dry run. A training is taken to pass its images as fast as the dense network
of its experiment does, an upper bound for pruned ones: images/s are ``--tera`` times 1e12 over the
MACs of a forward pass. All else that needs a GPU takes ``--other`` seconds, the rest none.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/workflow")]

from prune3d.data.registry import facts as data_facts  # noqa: E402
from prune3d.data.settings import DataSettings  # noqa: E402
from prune3d.models.registry import facts as model_facts  # noqa: E402
from prune3d.workflow.config import load_experiments, overlay  # noqa: E402
from running import Project  # noqa: E402
from simulate_cluster import login_rules, table  # noqa: E402
from simulation import GPU, SimulatedJob, parse_dry_run, simulate  # noqa: E402

# Which recipe a rule trains by, and what part of its epochs.
TRAININGS = {
    "train_dense": "dense",
    "finetune_dense": "final",
    "finetune_sample": "finetune",
    "finetune_final": "final",
    "try_candidate": "rerank",
}


def main() -> None:
    """Print a table for each file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="relative to the project's folder")
    parser.add_argument("--tera", type=float, required=True, help="1e12 MACs a second, forward")
    parser.add_argument("--other", type=float, default=60.0, help="seconds of another GPU job")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    options = parser.parse_args()
    for file in options.files:
        jobs = planned(file)
        seconds = durations(jobs, experiments(file), options.tera * 1e12, options.other)
        named = [replace(job, rule=f"{job.rule} {job.experiment}") for job in jobs]
        outcomes = {gpus: simulate(named, seconds, gpus) for gpus in options.gpus}
        print(f"\n{file}: {len(jobs):,} jobs\n\n{table(outcomes)}")


def planned(file: str) -> list[SimulatedJob]:
    """Return the jobs of a dry run of a file in a folder without results."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project.copy_to(Path(folder) / "project")
        done = project.run_forked("-n", config=["--configfile", file])
    if done.returncode:
        sys.exit(done.stdout)
    return parse_dry_run(done.stdout, login_rules())


def experiments(file: str) -> dict[str, dict[str, Any]]:
    """Return the settings of the experiments of a file."""
    shipped, own, schema = (
        yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
        for path in ("config/config.yaml", file, "config/schema.yaml")
    )
    return load_experiments(overlay(shipped, own), schema)


def durations(
    jobs: list[SimulatedJob],
    settings: Mapping[str, Mapping[str, Any]],
    rate: float,
    other: float,
) -> dict[str, float]:
    """Return the seconds of a job by rule and experiment; see the top of the file."""
    found = {}
    for job in jobs:
        if job.pool != GPU:
            continue
        section = TRAININGS.get(job.rule)
        own = settings[job.experiment]
        epoch = images(own) * macs(own) / rate
        if section == "rerank":
            # As long as the longest of its rounds.
            rounds = 2 if own["rerank"]["keep"] else 1
            seconds = epoch * own["final"]["epochs"] * own["rerank"]["part"] * rounds
        else:
            seconds = epoch * own[section]["epochs"] if section else other
        found[f"{job.rule} {job.experiment}"] = seconds
    return found


def images(settings: Mapping[str, Any]) -> float:
    """Return the number of training images."""
    data = DataSettings.from_config(settings["data"])
    known = data_facts(data).images
    if known is None:
        sys.exit(f"how many images {data.name} has is not known before they are read.")
    return known * (1 - settings["data"]["selection_fraction"])


def macs(settings: Mapping[str, Any]) -> float:
    """Return the MACs of a forward pass of the dense network."""
    known = model_facts(settings["model"]["name"])
    if known is None:
        sys.exit(f"what {settings['model']['name']} costs is not known before it is built.")
    side = settings["data"]["side"] or data_facts(DataSettings.from_config(settings["data"])).side
    return known.macs * (side / known.image_size) ** 2


if __name__ == "__main__":
    main()

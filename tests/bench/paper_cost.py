"""What the files of config/paper cost in GPU-hours, and how long they take on so many GPUs.

    python tests/bench/paper_cost.py config/paper/cifar10.yaml --tera 2.0

Jobs are those of a dry run. A training is taken to pass its images as fast as the dense network
of its experiment does, an upper bound for pruned ones: images/s are ``--tera`` times 1e12 over the
MACs of a forward pass. All else that needs a GPU takes ``--other`` seconds, the rest none.

    python tests/bench/paper_cost.py config/paper/glyphs.yaml --cores 2 --giga 4.3

Without GPUs: a training takes its passes of images x MACs, those of a pruned network by what it is
pruned to, at ``--giga`` times 1e9 a second on a core; every job takes ``--start`` seconds beside.
All cores are taken to be busy from the beginning to the end.
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
from prune3d.optimize.registry import POLICIES  # noqa: E402
from prune3d.optimize.rounds import ROUNDS  # noqa: E402
from prune3d.sampling.tree import DENSE, Point  # noqa: E402
from prune3d.workflow.config import load_experiments, overlay  # noqa: E402
from prune3d.workflow.experiment import Experiment  # noqa: E402
from prune3d.workflow.plan import Plan  # noqa: E402
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
    parser.add_argument("--tera", type=float, help="1e12 MACs a second, forward, of a GPU")
    parser.add_argument("--giga", type=float, help="1e9 MACs a second, forward, of a core")
    parser.add_argument("--cores", type=int, default=2, help="with --giga")
    parser.add_argument("--start", type=float, default=5.0, help="seconds of a job, with --giga")
    parser.add_argument("--other", type=float, default=60.0, help="seconds of another GPU job")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    options = parser.parse_args()
    if (options.tera is None) == (options.giga is None):
        parser.error("give one of --tera and --giga")
    for file in options.files:
        if options.giga is not None:
            print(f"\n{file}:\n\n{on_cores(file, options)}")
            continue
        jobs = planned(file)
        seconds = durations(jobs, experiments(file), options.tera * 1e12, options.other)
        named = [replace(job, rule=f"{job.rule} {job.experiment}") for job in jobs]
        outcomes = {gpus: simulate(named, seconds, gpus) for gpus in options.gpus}
        print(f"\n{file}: {len(jobs):,} jobs\n\n{table(outcomes)}")


def on_cores(file: str, options: argparse.Namespace) -> str:
    """Return a Markdown table of what a file takes on a machine without GPUs."""
    seeds = len(content(file)["seeds"])
    lines = ["| experiment | what | jobs | passes x MACs, 1e12 | hours |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    whole = 0.0
    for name, settings in experiments(file).items():
        one = Experiment(name, settings, tuple(range(seeds)))
        epoch = seeds * images(settings) * macs(settings)
        parts = {part: epochs * epoch for part, epochs in work(one).items()}
        jobs = len(Plan({name: one}).benchmarks())
        for part, cost in {**parts, "starts of jobs": 0.0}.items():
            starts = jobs * options.start if not cost else 0.0
            hours = (cost / (options.giga * 1e9) + starts) / options.cores / 3600
            whole += hours
            cells = (name, part, str(jobs) if starts else "", f"{cost / 1e12:.1f}", f"{hours:.2f}")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, f"| all | | | | {whole:.1f} |"])


def work(one: Experiment) -> dict[str, float]:
    """Return the epochs that a seed trains, each times its network's part of the dense MACs."""
    config = one.config
    dense, finetune, final = (config[name]["epochs"] for name in ("dense", "finetune", "final"))
    budgets = [budget["macs"] for budget in config["budgets"]]
    found = {"dense networks": dense + (final if one.is_dense_longer else 0)}
    if one.is_method:
        points = [node.point for node in one.tree.nodes.values()]
        found["samples"] = finetune * sum(part_of(point) for point in points)
        part = config["rerank"]["part"] * final
        tried = sum((i + 1) * len(one.places(name)) for i, name in enumerate(ROUNDS))
        found["trials"] = sum(budgets) * part * tried
    finals, scratch = 0.0, 0.0
    for policy in one.policies:
        kind = POLICIES[policy].scratch
        for budget in budgets:
            finals += 0 if kind else budget * final
            scratch += {None: 0, "epochs": budget * dense, "budget": dense}[kind]
            scratch += budget * final if kind else 0
    found |= {"finals": finals, "finals from scratch": scratch}
    if "scratch" in one.ablations:
        fitted = [one.node(name).point for name in one.names("fit")]
        found["ablation scratch"] = dense * sum(part_of(p) for p in fitted if p != DENSE)
    return {name: cost for name, cost in found.items() if cost}


def part_of(point: Point) -> float:
    """Return the part of the dense MACs that a sample has, about."""
    return point.depth * point.width**2 * point.resolution**2


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
    schema = yaml.safe_load((ROOT / "config/schema.yaml").read_text(encoding="utf-8"))
    return load_experiments(content(file), schema)


def content(file: str) -> dict[str, Any]:
    """Return a file laid over the default config."""
    shipped, own = (
        yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
        for path in ("config/config.yaml", file)
    )
    return overlay(shipped, own)


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

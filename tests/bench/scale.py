"""Time `snakemake -n` over a whole benchmark, against a bare Snakefile of the same shape.

    python tests/bench/scale.py [JOBS ...] [--touched]

The benchmark has 3 data sets x 6 models x 5 seeds, 64 samples and 75 final networks a run. It is
made up from what every installation has, since only the number of jobs matters here: experiments
differ by name, and the final networks are 19 budgets x 4 policies.
"""

from __future__ import annotations

import argparse
import os
import pstats
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {
    "depth": [0.8, 0.6, 0.4],
    "width": [0.8, 0.6, 0.4],
    "resolution": [0.875, 0.75, 0.625],
}
HOLDOUT = [0.8, 0.9, 0.875]
BUDGETS = 19
POLICIES = ["dwr", "depth", "width", "resolution"]
WHOLE = (18, 5)
# Snakemake sleeps a tenth of a second before each job that it touches.
TOUCH = """
from snakemake.cli import main
from snakemake.executors.touch import Executor
Executor.SLEEPING_TIME = 0
main()
"""
GOAL_SECONDS, GOAL_RATIO, GOAL_MB = 60.0, 1.5, 1000.0


@dataclass(frozen=True)
class Size:
    """How much of the benchmark."""

    experiments: int
    seeds: int
    budgets: int = BUDGETS

    @classmethod
    def about(cls, jobs: int) -> Size:
        """Return the part of the benchmark that has about so many jobs."""
        runs = max(1, round(jobs / 517))
        return cls(round(runs / WHOLE[1]), WHOLE[1]) if runs >= WHOLE[1] else cls(1, runs)


@dataclass(frozen=True)
class Run:
    """One dry run.

    Seconds by the clock and of the CPU, memory at its highest in MB, number of jobs to do.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float
    jobs: int


def config(size: Size) -> dict[str, Any]:
    """Return what differs from the default config."""
    names = [f"e{i}" for i in range(size.experiments)]
    budgets = [
        {"name": f"b{i}", "macs": round(0.1 + 0.8 * i / size.budgets, 4)}
        for i in range(size.budgets)
    ]
    sampling = {"design": "grid", **LEVELS, "points": [], "holdout": [HOLDOUT]}
    return {
        "run": names,
        "seeds": list(range(size.seeds)),
        "experiments": {name: {} for name in names},
        "defaults": {
            "model": {"name": "resnet56"},
            "sampling": sampling,
            "budgets": budgets,
            "policies": POLICIES,
            "rerank": {"candidates": 0},
        },
    }


def write_ours(folder: Path, size: Size) -> list[str]:
    """Copy the workflow and return the arguments for the benchmark's config."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("rules", "scripts", "config", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / "scale.yaml").write_text(yaml.safe_dump(config(size)))
    return ["--configfile", "scale.yaml"]


def write_bare(folder: Path, size: Size) -> list[str]:
    """Write a Snakefile of the same jobs and files with nothing else in it."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from prune3d.sampling.tree import DENSE, Design, Point, sampling_tree

    levels = {axis: tuple(values) for axis, values in LEVELS.items()}
    tree = sampling_tree(Design("grid", **levels, holdout=(Point(*HOLDOUT),)))
    parents = {
        name: "dense" if node.parent == DENSE else f"samples/{node.parent.name}"
        for name, node in tree.nodes.items()
        if node.point != DENSE
    }
    runs = [f"e{e}/seed{s}" for e in range(size.experiments) for s in range(size.seeds)]
    finals = [f"b{b}/{policy}" for b in range(size.budgets) for policy in POLICIES]
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "tests/bench/bare.smk", folder / "Snakefile")
    shape = {"parents": parents, "runs": runs, "finals": finals}
    (folder / "shape.yaml").write_text(yaml.safe_dump(shape, sort_keys=False))
    return ["--configfile", "shape.yaml"]


def snakemake(folder: Path, *arguments: str) -> Run:
    """Run Snakemake and measure it."""
    told = folder / "told.txt"
    begun = time.perf_counter()
    with told.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=folder,
            stdout=stream,
            stderr=stream,
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    text = told.read_text()
    if status:
        raise RuntimeError(text[-3000:])
    totals = [line.split()[1] for line in text.splitlines() if line.startswith("total ")]
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Run(seconds, cpu_seconds, usage.ru_maxrss / 1024, int(totals[-1]) if totals else 0)


def count_calls(folder: Path, *arguments: str) -> int:
    """Run Snakemake and count its calls of functions, which no other work on a machine changes."""
    profile = folder / "calls.profile"
    subprocess.run(
        [sys.executable, "-m", "cProfile", "-o", profile, "-m", "snakemake", *arguments],
        cwd=folder,
        capture_output=True,
        check=True,
    )
    return pstats.Stats(str(profile)).total_calls


def touch_all(folder: Path, arguments: list[str]) -> None:
    """Make every file of the workflow, and Snakemake's records of all jobs."""
    summary = subprocess.run(
        [sys.executable, "-m", "snakemake", "--summary", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    for line in summary.stdout.splitlines()[1:]:
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    command = [sys.executable, "-c", TOUCH, "--touch", "--cores", "1000"]
    subprocess.run(
        [*command, "--forceall", "--quiet", "all", *arguments],
        cwd=folder,
        capture_output=True,
        check=True,
    )


def measure(jobs: int | None, *, touched: bool) -> None:
    """Time ours and the bare one, in turns, and print both."""
    size = Size(*WHOLE) if jobs is None else Size.about(jobs)
    base = Path(tempfile.mkdtemp(prefix="scale"))
    try:
        folders = {"bare": base / "bare", "ours": base / "ours"}
        arguments = {
            "bare": write_bare(folders["bare"], size),
            "ours": write_ours(folders["ours"], size),
        }
        if touched:
            for name, folder in folders.items():
                touch_all(folder, arguments[name])
        runs = {}
        for name, folder in folders.items():
            runs[name] = snakemake(folder, "-n", "--quiet", "rules", *arguments[name])
            counted = f"{runs[name].jobs:>6} jobs" if runs[name].jobs else "nothing to do"
            print(
                f"  {name}: {runs[name].seconds:6.1f} s, {runs[name].cpu_seconds:6.1f} s of CPU, "
                f"{runs[name].megabytes:6.0f} MB, {counted}",
                flush=True,
            )
        # Of the CPU: a dry run computes on one core, whatever else the machine does.
        ratio = runs["ours"].cpu_seconds / runs["bare"].cpu_seconds
        print(f"  ours takes {ratio:.2f} times as long (goal {GOAL_RATIO})", flush=True)
    finally:
        shutil.rmtree(base)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", type=int, help="about so many jobs; default the whole")
    parser.add_argument("--touched", action="store_true", help="with every file present")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for jobs in options.jobs or [None]:
        print(f"snakemake -n, {'every file present' if options.touched else 'no file present'}:")
        measure(jobs, touched=options.touched)


if __name__ == "__main__":
    main()

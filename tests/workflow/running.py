"""Run the workflow in a folder of its own, as a user would."""

from __future__ import annotations

import multiprocessing
import os
import re
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
TINY = ROOT / "tests/workflow/tiny.yaml"
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
# Most of a run that starts no job is importing Snakemake: many share one import.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["snakemake.cli", "snakemake.workflow", "snakemake.dag"])

# Files that are the same from run to run.
DETERMINISTIC = (
    "metrics.json",
    "test.json",
    "samples.csv",
    "holdout.csv",
    "history.csv",
    "predictor.json",
    "validation.json",
    "optimum.json",
    "pruned.safetensors",
    "model.safetensors",
    "train.safetensors",
)


@dataclass(frozen=True)
class Project:
    """A copy of the workflow with its results."""

    folder: Path

    @classmethod
    def copy_to(cls, folder: Path) -> Project:
        """Copy what a clone has, without results."""
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "Snakefile", folder)
        # What is being written right now, by another process that runs tests, may be gone.
        ignored = shutil.ignore_patterns("*.pyc.*", ".*")
        for name in ("rules", "scripts", "config", "envs"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        shutil.copy(TINY, folder / "tiny.yaml")
        return cls(folder)

    def with_config(self, name: str, change: dict[str, Any]) -> list[str]:
        """Return the arguments for the tiny config with a change laid over it."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(change), encoding="utf-8")
        return ["--configfile", "tiny.yaml", path.name]

    def command(self, *arguments: str, config: list[str] | None = None) -> list[str]:
        """Return a whole command line."""
        return [*SNAKEMAKE, *(config or ["--configfile", "tiny.yaml"]), *arguments]

    def run(
        self, *arguments: str, config: list[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end."""
        return subprocess.run(
            self.command(*arguments, config=config),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )

    def planned(self, *arguments: str, config: list[str] | None = None) -> list[PlannedJob]:
        """Return the jobs of a dry run."""
        done = self.run_forked("-n", *arguments, config=config)
        assert done.returncode == 0, done.stdout
        return parse_jobs(done.stdout)

    def run_forked(
        self, *arguments: str, config: list[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake, without importing it anew; all that it tells is in `stdout`."""
        command = self.command(*arguments, config=config)
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as told:
            process = FORKS.Process(
                target=_snakemake,
                args=(self.folder, command[len(SNAKEMAKE) :], Path(told.name)),
            )
            process.start()
            process.join(900)
            assert process.exitcode is not None, f"{command} does not end"
            return subprocess.CompletedProcess(command, process.exitcode, told.read(), "")


@dataclass(frozen=True)
class PlannedJob:
    """A job that a dry run lists."""

    rule: str
    input: tuple[str, ...]
    output: tuple[str, ...]
    benchmark: str


def _snakemake(folder: Path, arguments: list[str], told: Path) -> None:
    """Be a process of Snakemake in a folder, whose messages go to a file."""
    from snakemake.cli import main

    os.chdir(folder)
    os.environ.update(environment())
    with told.open("w", encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.argv = ["snakemake", *arguments]
    main()


def environment() -> dict[str, str]:
    """Return the environment of a run: one cache for all, no colours."""
    return {**os.environ, "NO_COLOR": "1"}


def parse_jobs(text: str) -> list[PlannedJob]:
    """Read rule names and outputs from a dry run's messages."""
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", text):
        name = re.match(r"(?:local)?rule (\w+):", block)
        if name:
            files = (_files(block, kind) for kind in ("input", "output", "benchmark"))
            inputs, outputs, benchmarks = files
            jobs.append(PlannedJob(name.group(1), inputs, outputs, "".join(benchmarks)))
    return jobs


def _files(block: str, kind: str) -> tuple[str, ...]:
    line = re.search(rf"^    {kind}: (.*)$", block, flags=re.MULTILINE)
    return tuple(line.group(1).split(", ")) if line else ()


def wait_for(path: Path, process: subprocess.Popen[Any], seconds: float = 400) -> None:
    """Wait until a file of a run appears."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")

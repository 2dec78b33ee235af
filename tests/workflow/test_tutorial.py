"""The tutorial's own commands, from drawn pictures to an answer of ONNX Runtime."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from running import ROOT, Project, environment

PAGE = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
WHOLE = "--configfile mine.yaml"
REHEARSAL = f"{WHOLE} quick.yaml"


def with_programs(folder: Path) -> dict[str, str]:
    """Return an environment in which the programs of the page are those of this interpreter."""
    folder.mkdir()
    modules = {"python": "", "snakemake": "-m snakemake", "prune3d": "-m prune3d.cli"}
    for name, module in modules.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**environment(), "PATH": path, "PYTHONPATH": str(ROOT / "scripts")}


@pytest.mark.slow
def test_the_tutorial_leads_from_pictures_to_an_answer(tmp_path: Path) -> None:
    project = Project.copy_to(tmp_path / "project")
    programs = with_programs(tmp_path / "programs")
    install, *blocks = BLOCK.findall(PAGE)
    assert install[0] == "sh" and "pip install" in install[1]
    told, lines = "", []
    for kind, text in blocks:
        if kind in ("python", "yaml"):
            name = re.match(r"# (\S+)\n", text)
            assert name, text
            (project.folder / name[1]).write_text(text, encoding="utf-8")
            continue
        assert kind == "sh"
        for line in text.splitlines():
            # What the page shows as a rehearsal takes the place of the whole run.
            quick = line if REHEARSAL in line or " -n" in line else line.replace(WHOLE, REHEARSAL)
            done = subprocess.run(
                ["bash", "-c", quick],
                cwd=project.folder,
                env=programs,
                capture_output=True,
                text=True,
                timeout=1800,
                check=False,
            )
            assert done.returncode == 0, f"{quick}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
            told = done.stdout.strip()
            lines.append(line)
    assert any(line.startswith("snakemake") and REHEARSAL in line for line in lines)
    # The last command of the page is the program that uses the network.
    assert told in ("circle", "cross", "square", "triangle")
    results = project.folder / "results"
    for name in re.findall(r"`(results/[^`]+)`", PAGE):
        assert (project.folder / name).exists(), name
    with (results / "tables/policies.csv").open(newline="") as stream:
        policies = {row["policy"]: row for row in csv.DictReader(stream)}
    assert set(policies) == {"dense", "dwr", "width"}
    assert float(policies["dwr"]["macs_ratio_mean"]) <= 0.25

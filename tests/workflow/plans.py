"""Which jobs each shipped config plans, and of which files: ``python tests/workflow/plans.py``.

Writes planned.json, with which `test_experiment_files` compares: a change of rules that should move
nothing leaves it as it is, any other shows there which rules it touches.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from running import ROOT, PlannedJob, Project

RECORD = Path(__file__).with_name("planned.json")
CONFIGS = ["tiny.yaml"] + [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "config").rglob("*.yaml"))
    if path.name != "schema.yaml"
]


def summarize(jobs: Sequence[PlannedJob]) -> dict[str, str]:
    """Return for each rule how many jobs it has, and a digest of their inputs and outputs."""
    rules: dict[str, list[str]] = {}
    for job in jobs:
        known = [job.rule, sorted(job.input), sorted(job.output)]
        rules.setdefault(job.rule, []).append(json.dumps(known))
    return {
        rule: f"{len(known)} {hashlib.sha256(''.join(sorted(known)).encode()).hexdigest()[:16]}"
        for rule, known in sorted(rules.items())
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        project = Project.copy_to(Path(folder) / "project")
        plans = {c: summarize(project.planned(config=["--configfile", c])) for c in CONFIGS}
    RECORD.write_text(json.dumps(plans, indent=2) + "\n", encoding="utf-8")

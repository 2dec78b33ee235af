"""Planning costs little more than Snakemake itself needs for as many jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from running import ROOT

sys.path.insert(0, str(ROOT / "tests/bench"))

from scale import Size, snakemake, write_bare, write_ours


@pytest.mark.slow
def test_a_dry_run_of_a_thousand_jobs_is_not_much_slower_than_a_bare_one(tmp_path: Path) -> None:
    size = Size.about(1000)
    bare, ours = tmp_path / "bare", tmp_path / "ours"
    plain = snakemake(bare, "-n", "--quiet", "rules", *write_bare(bare, size))
    full = snakemake(ours, "-n", "--quiet", "rules", *write_ours(ours, size))
    # The same jobs, so that it is the same work; tables and a figure a budget have no counterpart.
    assert 0 <= full.jobs - plain.jobs <= 0.03 * plain.jobs
    # CPU seconds on one core of one machine: 1.1 as measured.
    assert full.cpu_seconds < 1.6 * plain.cpu_seconds

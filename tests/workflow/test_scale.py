"""Planning costs little more than Snakemake itself needs for as many jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from running import ROOT

sys.path.insert(0, str(ROOT / "tests/bench"))

from scale import Size, count_calls, snakemake, write_bare, write_ours


@pytest.mark.slow
def test_a_dry_run_of_a_thousand_jobs_is_not_much_slower_than_a_bare_one(tmp_path: Path) -> None:
    size = Size.about(1000)
    bare, ours = tmp_path / "bare", tmp_path / "ours"
    dry = ("-n", "--quiet", "rules")
    plain = (*dry, *write_bare(bare, size))
    full = (*dry, *write_ours(ours, size))
    # The same jobs, so that it is the same work; tables and a figure a budget have no counterpart.
    jobs = snakemake(bare, *plain).jobs
    assert 0 <= snakemake(ours, *full).jobs - jobs <= 0.03 * jobs
    # Calls, since seconds differ with what else a machine does; `make bench` compares those. 1.80
    # times as many as measured: jobs have more files, and the config is checked.
    assert count_calls(ours, *full) < 2.0 * count_calls(bare, *plain)

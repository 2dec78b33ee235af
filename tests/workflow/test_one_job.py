"""One job of a run can be done again by hand and stopped in a debugger, as CONTRIBUTING says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from running import Project, environment

pytestmark = pytest.mark.slow
MADE = "results/digits/seed0/data/train.safetensors"


def test_the_kept_script_of_a_job_stops_in_the_debugger_and_makes_the_same(fresh: Project) -> None:
    done = fresh.run("--cores", "1", "--skip-script-cleanup", "--force", MADE)
    assert done.returncode == 0, done.stderr[-3000:]
    before = (fresh.folder / MADE).read_bytes()
    [kept] = (fresh.folder / ".snakemake/scripts").glob("*.prepare_data.py")
    library = fresh.folder / "scripts/prune3d/data/split.py"
    source = library.read_text()
    stopped = source.replace('    """Split a data set', '    breakpoint()\n    """Split a data set')
    assert stopped != source
    library.write_text(stopped)
    debugged = subprocess.run(
        [sys.executable, str(kept)],
        input="next\np settings.name\ncontinue\n",
        cwd=fresh.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert debugged.returncode == 0, debugged.stderr[-3000:]
    assert "(Pdb) 'digits'" in debugged.stdout
    assert (fresh.folder / MADE).read_bytes() == before

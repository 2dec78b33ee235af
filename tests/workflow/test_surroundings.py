"""A full or read-only disk, a folder that is gone, a clock that jumps: told, and then mended."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from running import Project, environment, wait_for

ARGUMENTS = ("--cores", "1", "--rerun-incomplete", "--until", "train_dense")
DENSE = Path("results/digits/seed0/dense")


def mount(folder: Path, *options: str) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def disk(fresh: Project) -> Iterator[Path]:
    """A small disk of its own for the results."""
    folder = fresh.folder / "results"
    folder.mkdir()
    try:
        mount(folder, "size=64m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def told_in_one_sentence(done: subprocess.CompletedProcess[str], words: str) -> None:
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in told, told[-4000:]
    assert words in told, told[-4000:]


MANY_JOBS = """
onsuccess:
    import threading
    print("threads:", sum(isinstance(one, threading.Timer) for one in threading.enumerate()))

rule many:
    input: expand("many/{i}", i=range(30))

rule one:
    output: touch("many/{i}")
"""


@pytest.mark.slow
def test_the_scheduler_does_not_wake_up_more_often_with_each_job(fresh: Project) -> None:
    """Snakemake left a timer behind for each job, a second long and started again at its end."""
    with (fresh.folder / "Snakefile").open("a") as stream:
        stream.write(MANY_JOBS)
    done = fresh.run("--cores", "2", "many")
    assert done.returncode == 0, done.stderr
    [told] = [line for line in done.stdout.splitlines() if line.startswith("threads:")]
    assert int(told.split()[1]) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [60, 300, 700, 1100])
def test_a_full_disk_is_told_and_the_same_command_finishes(
    fresh: Project, disk: Path, kilobytes: int
) -> None:
    mount(disk, "remount", f"size={kilobytes}k")
    told_in_one_sentence(fresh.run(*ARGUMENTS), "No space left on device")
    mount(disk, "remount", "size=64m")
    done = fresh.run(*ARGUMENTS)
    assert done.returncode == 0, done.stderr[-3000:]
    left = [path.name for path in fresh.folder.glob("results/**/.*")]
    assert left == []


@pytest.mark.slow
def test_a_read_only_disk_is_told_and_the_same_command_finishes(fresh: Project, disk: Path) -> None:
    assert fresh.run("--cores", "1", "--until", "prepare_data").returncode == 0
    mount(disk, "remount", "ro")
    told_in_one_sentence(fresh.run(*ARGUMENTS), "Read-only file system")
    mount(disk, "remount", "rw")
    assert fresh.run(*ARGUMENTS).returncode == 0


@pytest.mark.slow
def test_results_that_are_removed_midway_are_made_by_the_same_command(fresh: Project) -> None:
    config = fresh.with_config("long", {"defaults": {"dense": {"epochs": 30}}})
    with (fresh.folder / "told.txt").open("w") as stream:
        process = subprocess.Popen(
            fresh.command(*ARGUMENTS, config=config),
            cwd=fresh.folder,
            env=environment(),
            stdout=stream,
            stderr=stream,
        )
        wait_for(fresh.folder / DENSE / "model.resume.safetensors", process)
        shutil.rmtree(fresh.folder / "results")
        assert process.wait(timeout=900) != 0
    told = (fresh.folder / "told.txt").read_text()
    assert "Traceback" not in told, told[-4000:]
    assert "does not exist" in told or "cannot be written" in told, told[-4000:]
    assert fresh.run(*ARGUMENTS).returncode == 0
    assert (fresh.folder / DENSE / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("days", [400, -400])
def test_a_clock_that_has_jumped_keeps_no_run_from_going_on(fresh: Project, days: int) -> None:
    config = fresh.with_config("long", {"defaults": {"dense": {"epochs": 40}}})
    process = subprocess.Popen(
        fresh.command(*ARGUMENTS, config=config),
        cwd=fresh.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(fresh.folder / DENSE / "model.resume.safetensors", process)
    os.killpg(process.pid, 9)
    process.wait()
    # As if all that is there had been written by another clock.
    for path in fresh.folder.glob("results/**/*"):
        os.utime(path, (time.time() + 86400 * days,) * 2)
    assert fresh.run_forked("--unlock", config=config).returncode == 0
    said = ""
    if days > 0:
        # Snakemake itself refuses outputs that are older than inputs from the future, by name.
        refused = fresh.run(*ARGUMENTS, config=config)
        assert refused.returncode != 0
        assert "has older modification time" in refused.stderr
        said = refused.stderr
        for path in fresh.folder.glob("results/**/*"):
            os.utime(path)
    done = fresh.run(*ARGUMENTS, config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "continuing after epoch" in said + done.stderr

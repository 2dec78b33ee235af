"""Which GPU a job takes: what CUDA may use, places that processes share, and crashes."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prune3d.errors import UserError
from prune3d.workflow import devices
from prune3d.workflow.devices import (
    DeviceSlots,
    gpus_asked,
    jobs_per_gpu,
    take_gpus,
    visible_gpus,
)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# Argument: folder, GPUs, places on each, seconds.
JOB = """
import sys, time
from pathlib import Path
from prune3d.workflow import devices
from prune3d.workflow.devices import DeviceSlots
folder, gpus, per_gpu, seconds = sys.argv[1:]
slots = DeviceSlots([str(i) for i in range(int(gpus))], int(per_gpu), Path(folder))
taken = slots.take(poll=0.01)
print(taken.names[0], time.monotonic(), flush=True)
time.sleep(float(seconds))
print(time.monotonic(), flush=True)
"""


def job(folder: Path, gpus: int, per_gpu: int, seconds: float) -> subprocess.Popen[str]:
    arguments = [str(folder), str(gpus), str(per_gpu), str(seconds)]
    return subprocess.Popen(
        [sys.executable, "-c", JOB, *arguments], cwd=SCRIPTS, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("listed", "installed", "names"),
    [
        (None, 0, ()),
        (None, 3, ("0", "1", "2")),
        ("1,2", 4, ("1", "2")),
        ("", 4, ()),
        ("-1", 4, ()),
        ("2,7,1", 4, ("2",)),
        ("0, 0", 4, ("0",)),
        ("GPU-8932f937,1", 2, ("GPU-8932f937", "1")),
        ("0,1", 0, ()),
    ],
)
def test_gpus_are_those_that_cuda_may_use(
    listed: str | None, installed: int, names: tuple[str, ...]
) -> None:
    environment = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert visible_gpus(environment, installed) == names


@pytest.mark.parametrize(("gpus", "per_gpu"), [(2, 1), (1, 2)])
def test_no_gpu_ever_has_more_jobs_than_places(tmp_path: Path, gpus: int, per_gpu: int) -> None:
    jobs = [job(tmp_path, gpus, per_gpu, 0.2) for _ in range(6)]
    spans: dict[str, list[tuple[float, float]]] = {}
    for process in jobs:
        name, begun, ended = process.communicate(timeout=60)[0].split()
        spans.setdefault(name, []).append((float(begun), float(ended)))
    assert set(spans) == {str(i) for i in range(gpus)}
    for used in spans.values():
        for begun, _ in used:
            assert sum(a <= begun < b for a, b in used) <= per_gpu


def test_the_place_of_a_killed_job_is_free_at_once(tmp_path: Path) -> None:
    first = job(tmp_path, 1, 1, 600)
    assert first.stdout is not None
    assert first.stdout.readline().startswith("0 ")
    slots = DeviceSlots(("0",), 1, tmp_path)
    assert slots._try(1) is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    taken = slots.take()
    assert taken.names == ("0",)
    taken.release()


def test_several_gpus_are_taken_together_or_not_at_all(tmp_path: Path) -> None:
    slots = DeviceSlots(("0", "1", "2"), 1, tmp_path)
    one = slots.take()
    both = slots.take(2)
    assert one.names + both.names == ("0", "1", "2")
    both.release()
    assert slots.take(2).names == ("1", "2")
    with pytest.raises(ValueError, match="4 GPUs are asked for, but there are 3"):
        slots.take(4)


def test_less_crowded_gpus_come_first(tmp_path: Path) -> None:
    slots = DeviceSlots(("0", "1"), 2, tmp_path)
    taken = [slots.take() for _ in range(4)]
    assert [one.names[0] for one in taken] == ["0", "1", "0", "1"]


def test_a_batch_system_has_chosen_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: 4)
    assert take_gpus({"SLURM_JOB_ID": "5", "CUDA_VISIBLE_DEVICES": "3"}) is None
    assert take_gpus({"SLURM_JOB_ID": "5", "CUDA_VISIBLE_DEVICES": "1,3"}, 2) is None


def test_jobs_in_one_allocation_take_a_gpu_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: 4)
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    allocation = {"SLURM_JOB_ID": "5", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    taken = [take_gpus(allocation), take_gpus(allocation, 2), take_gpus(allocation)]
    assert [one.names for one in taken if one] == [("0",), ("1", "2"), ("3",)]
    # Its GPUs may have the same numbers and be others.
    other = take_gpus({**allocation, "SLURM_JOB_ID": "6"})
    assert other is not None
    assert other.names == ("0",)
    for one in (*taken, other):
        assert one is not None
        one.release()


@pytest.mark.parametrize("value", ["0", "two", "-1", "1.5"])
def test_a_wrong_number_of_jobs_per_gpu_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="PRUNE3D_JOBS_PER_GPU is"):
        jobs_per_gpu({"PRUNE3D_JOBS_PER_GPU": value})
    assert jobs_per_gpu({}) == 1


@pytest.mark.parametrize(
    "script", ["exec sleep 600", "sleep 600", "echo broken >&2; exit 9", "printf '\\377\\376'"]
)
def test_a_driver_that_hangs_or_fails_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    # Long enough for a busy machine where the program ends by itself.
    monkeypatch.setattr(devices, "SECONDS_A_QUESTION", 0.2 if "sleep" in script else 60.0)
    assert devices.count_gpus() == 0
    assert take_gpus({}) is None


def test_without_a_temporary_folder_no_job_waits_for_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: 1)
    (tmp_path / "file").touch()
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    assert take_gpus({}) is None
    assert "does not wait for a free GPU" in caplog.text


def test_a_user_without_a_name_has_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert devices.slots_folder().name == f"prune3d-gpus-{os.getuid()}"


@pytest.mark.parametrize(
    ("resources", "count"),
    [
        ({}, 0),
        ({"gpu": 2}, 2),
        ({"gpu": 0, "gres": "'gpu:1'"}, 1),
        ({"gpu": 0, "gres": "gpu:4"}, 4),
        ({"gres": "gpu:a100:4"}, 4),
        ({"gres": "gpu"}, 1),
        ({"gres": "gpu:a100"}, 1),
        ({"gres": "craynetwork:1,gpu:2"}, 2),
        ({"gres": "license:3"}, 0),
    ],
)
def test_gpus_are_asked_for_by_number_or_as_generic_resources(
    resources: dict[str, object], count: int
) -> None:
    assert gpus_asked(resources) == count

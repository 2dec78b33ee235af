"""Trainings that are killed at any moment, run out of space, or find a state that is not theirs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import nn

import prune3d
from prune3d.data.images import ImageSet, load_images
from prune3d.data.source import Labelled
from prune3d.data.storage import Description, save_part
from prune3d.errors import UserError
from prune3d.files import atomic_path, write_text
from prune3d.tensors import digest
from prune3d.train import Recipe, ResumeFile, train

Network = Callable[..., nn.Module]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
RECIPE = Recipe(
    epochs=40,
    batch_size=16,
    learning_rate=0.02,
    shift=1,
    flip=True,
    cutout=2,
    erasing=0.5,
    mixup=0.2,
    cutmix=1.0,
    schedule="rewind",
    original=Recipe(epochs=60, learning_rate=0.02, schedule="one_cycle", warmup_epochs=30),
    label_smoothing=0.1,
    ema=0.95,
    distillation=0.3,
)


def random_images(count: int = 48) -> ImageSet:
    """Return random bytes with labels of ten classes."""
    pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(4))
    return ImageSet(pixels.byte(), torch.arange(count) % 10, (0.5,) * 3, (0.25,) * 3)


def networks() -> tuple[nn.Module, nn.Module]:
    """Return a network with a random layer, and a teacher."""
    torch.manual_seed(0)
    model, teacher = (prune3d.build("resnet8", 10, 8) for _ in range(2))
    model.fc = nn.Sequential(nn.Dropout(0.2), model.fc)
    return model, teacher


def run(folder: Path) -> None:
    """Train as a job does, for a process of its own."""
    torch.set_num_threads(1)
    model, teacher = networks()
    file = ResumeFile.beside(folder / "model.safetensors", "digest")
    print("begins", flush=True)
    train(model, random_images(), RECIPE, 5, file, teacher=teacher)
    torch.save(model.state_dict(), folder / "end")


@pytest.mark.slow
def test_a_training_killed_at_20_random_moments_ends_bit_equal(tmp_path: Path) -> None:
    moments = random.Random(1)
    kills = attempts = 0
    code = f"import sys; sys.path[:0] = {[str(SCRIPTS), str(Path(__file__).parent)]!r}; "
    code += (
        f"from pathlib import Path; import test_train_resume as t; t.fork_runs({str(tmp_path)!r})"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None and server.stdout is not None
    state = tmp_path / "model.resume.safetensors"
    # How long a whole training takes on this machine, as busy as it is now.
    begun = time.monotonic()
    server.stdin.write("run\n")
    server.stdin.flush()
    server.stdout.readline()
    assert server.stdout.readline().strip() == "0"
    whole = time.monotonic() - begun
    state.unlink()
    (tmp_path / "end").unlink()
    epochs = set()
    while kills < 20:
        attempts += 1
        assert attempts < 60
        server.stdin.write("run\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        time.sleep(moments.uniform(0.0, 0.5 * whole))
        # It may have come to its end just now.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = server.stdout.readline().strip()
        kills += status == str(-signal.SIGKILL)
        epochs.add(state.stat().st_mtime_ns if state.exists() else 0)
        if (tmp_path / "end").exists() and kills < 20:
            # It came to its end; another round from the beginning, the machine may be faster now.
            whole *= 0.8
            state.unlink()
            (tmp_path / "end").unlink()
    server.stdin.write("run\n")
    server.stdin.flush()
    server.stdout.readline()
    assert server.stdout.readline().strip() == "0"
    server.stdin.close()
    server.wait()
    # The kills came at different epochs, not all before the first state.
    assert len(epochs) > 5
    model, teacher = networks()
    train(model, random_images(), RECIPE, 5, teacher=teacher)
    end = torch.load(tmp_path / "end")
    assert all(torch.equal(value, end[name]) for name, value in model.state_dict().items())


def fork_runs(folder: str) -> None:
    """Fork a training for each line of the input: torch is imported once, not 20 times."""
    torch.set_num_threads(1)
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            run(Path(folder))
            os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


@pytest.fixture
def file(tmp_path: Path) -> ResumeFile:
    """Return the kept state of a training that ended after two epochs."""
    file = ResumeFile(tmp_path / "a.resume.safetensors", "digest")
    train(build(), random_images(), SHORT, 5, file)
    return file


SHORT = Recipe(epochs=2, batch_size=16, learning_rate=0.02)


def build() -> nn.Module:
    torch.manual_seed(0)
    return prune3d.build("resnet8", 10, 8)


def epochs_run(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    """Count the epochs that a training runs rather than finds."""
    from prune3d.train.trainer import Trainer

    ran: list[int] = []
    epoch = Trainer.epoch
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "epoch", lambda *a: (ran.append(a[1]), epoch(*a))[1])
        work()
    return len(ran)


def test_the_state_of_the_same_training_is_used(
    file: ResumeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = lambda: train(build(), random_images(), SHORT, 5, file)  # noqa: E731
    assert epochs_run(monkeypatch, again) == 0


@pytest.mark.parametrize("change", ["nothing", "pixel", "label", "file"])
def test_a_state_is_used_for_the_same_file_of_images_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    pixels = random_images().images.numpy()
    labels = np.arange(len(pixels), dtype=np.int64) % 10
    about = Description(8, 3, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3)
    save_part(tmp_path / "a", Labelled(pixels, labels), about)
    state = ResumeFile(tmp_path / "a.resume.safetensors", "digest")
    train(build(), load_images(tmp_path / "a"), SHORT, 5, state)
    again = "a"
    if change == "file":
        again = "b"  # of the same content
    elif change == "pixel":
        pixels[-1, -1, -1, -1] ^= 1
    elif change == "label":
        labels[[0, 1]] = labels[[1, 0]]
    save_part(tmp_path / again, Labelled(pixels, labels), about)
    images = load_images(tmp_path / again)
    resumed = lambda: train(build(), images, SHORT, 5, state)  # noqa: E731
    assert epochs_run(monkeypatch, resumed) == (2 if change in ("pixel", "label") else 0)


@pytest.mark.parametrize(
    "other",
    ["recipe", "schedule", "seed", "images", "labels", "weights", "network", "compute", "digest"],
)
def test_a_state_of_another_training_is_not_used(
    file: ResumeFile, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    model, images, recipe, seed = build(), random_images(), SHORT, 5
    compute = prune3d.train.Compute()
    if other == "recipe":
        recipe = dataclasses.replace(SHORT, momentum=0.8)
    elif other == "schedule":
        recipe = dataclasses.replace(SHORT, schedule="one_cycle")
    elif other == "seed":
        seed = 6
    elif other == "images":
        images.images[0, 0, 0, 0] ^= 1
    elif other == "labels":
        images = dataclasses.replace(images, labels=images.labels.flip(0))
    elif other == "weights":
        torch.nn.init.ones_(model.bn1.bias)
    elif other == "network":
        model = prune3d.prune(model, resolution=0.5)
    elif other == "compute":
        compute = prune3d.train.Compute(precision="bfloat16")
    else:
        file = dataclasses.replace(file, digest="another")
    again = lambda: train(model, images, recipe, seed, file, compute=compute)  # noqa: E731
    assert epochs_run(monkeypatch, again) == 2


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("change", ["weight", "name", "shape", "history"])
def test_a_changed_state_is_not_used_even_where_its_digest_was_made_anew(
    file: ResumeFile, monkeypatch: pytest.MonkeyPatch, change: str, forged: bool, caplog
) -> None:
    with safe_open(file.path, framework="np") as opened:
        header = json.loads(opened.metadata()["prune3d"])
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if change == "weight":
        arrays["model.fc.bias"] = arrays["model.fc.bias"] + 1
    elif change == "name":
        arrays["model.fc.b"] = arrays.pop("model.fc.bias")
    elif change == "shape":
        arrays["model.fc.bias"] = arrays["model.fc.bias"][:3]
    else:
        header["history"] = header["history"][:1]
    content = {key: header[key] for key in header if key not in ("digest", "format")}
    if forged:
        header["digest"] = digest(content, arrays)
    save_file(arrays, file.path, metadata={"prune3d": json.dumps(header)})
    again = lambda: train(build(), random_images(), SHORT, 5, file)  # noqa: E731
    assert epochs_run(monkeypatch, again) == 2
    assert f"{file.path} is damaged or was changed" in caplog.text


LIMITED = """
import resource, sys
sys.path[:0] = {paths!r}
import test_train_resume as t
t.run_with_little_space({folder!r})
"""


def run_with_little_space(folder: str) -> None:
    """Go on with a training whose state may not be written any more."""
    file = ResumeFile(Path(folder) / "a.resume.safetensors", "digest")
    longer = dataclasses.replace(SHORT, epochs=3)
    train(build(), random_images(), longer, 5, file)
    before = file.path.read_bytes()
    file.path.rename(file.path.with_suffix(".kept"))
    # Files of at most 100 kB: as with a full disk, writing fails midway.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    file.path.with_suffix(".kept").rename(file.path)
    try:
        train(build(), random_images(), dataclasses.replace(SHORT, epochs=4), 5, file)
    except UserError as error:
        print(error)
    assert file.path.read_bytes() == before
    print(sorted(path.name for path in Path(folder).iterdir()))


def test_a_full_disk_is_told_and_leaves_the_last_state(tmp_path: Path) -> None:
    paths = [str(SCRIPTS), str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(paths=paths, folder=str(tmp_path))],
        capture_output=True,
        text=True,
        check=True,
    )
    sentence, files = done.stdout.splitlines()
    assert sentence.startswith(f"{tmp_path}/a.resume.safetensors cannot be written (")
    assert files == "['a.resume.safetensors']"


def test_a_full_device_is_told(tmp_path: Path) -> None:
    told = r"a\.txt cannot be written \(No space left on device\)"
    with (
        pytest.raises(UserError, match=told),
        atomic_path(tmp_path / "a.txt"),
        Path("/dev/full").open("w") as stream,
    ):
        stream.write("x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/a\.txt cannot be written \(.+\)\.$"):
        write_text(tmp_path / "file/a.txt", "x")


def test_an_unwritable_folder_is_told() -> None:
    # Even root cannot write there.
    with pytest.raises(UserError, match=r"^/proc/1/a\.resume\.safetensors cannot be written"):
        file = ResumeFile(Path("/proc/1/a.resume.safetensors"), "digest")
        train(build(), random_images(), SHORT, 5, file)

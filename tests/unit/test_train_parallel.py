"""Training in two processes against one, on a CPU with gloo: what runs on GPUs with NCCL."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import prune3d
from prune3d.data.images import ImageSet, load_images, save_images
from prune3d.data.loader import Shard
from prune3d.data.source import Listed
from prune3d.data.storage import Description, save_part
from prune3d.errors import TrainingError, UserError
from prune3d.models.assembly import get_spec, spec_to_save
from prune3d.pruning.sparsity import ChannelPenalty, Sparsity, channel_penalty
from prune3d.tensors import read_arrays
from prune3d.train import Compute, Recipe, ResumeFile, train, worker
from prune3d.train.order import make_task, read_order, write_order
from prune3d.train.resume import FORMAT
from prune3d.train.task import Task
from prune3d.train.worker import OUTCOME

Network = Callable[..., nn.Module]
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TWO = Compute(processes=2)
EPOCHS = 16
# 61 images: batches of 15 are shared 7 and 8, and the last has one image, which joins.
RECIPE = Recipe(
    epochs=2,
    batch_size=15,
    learning_rate=0.05,
    shift=1,
    flip=True,
    cutout=3,
    label_smoothing=0.1,
    ema=0.9,
    distillation=0.4,
)


def random_images() -> ImageSet:
    """Return random images whose number no batch size divides."""
    generator = torch.Generator().manual_seed(4)
    pixels = torch.randint(0, 256, (61, 3, 8, 8), generator=generator).byte()
    return ImageSet(pixels, torch.arange(61) % 10, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture
def images() -> ImageSet:
    return random_images()


def train_to_the_end(folder: Path) -> None:
    """Train in two processes as a job does."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, teacher = (prune3d.build("resnet8", 10, 8) for _ in range(2))
    file = ResumeFile.beside(folder / "model.safetensors", "digest")
    recipe = dataclasses.replace(RECIPE, epochs=EPOCHS)
    train(model, random_images(), recipe, 5, file, teacher=teacher, compute=TWO)
    torch.save(model.state_dict(), folder / "end")


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start `train_to_the_end` in a process of its own, with its own temporary folder."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    code = f"import sys; sys.path[:0] = {[str(SCRIPTS), str(Path(__file__).parent)]!r}; "
    code += "from prune3d.train import interrupt; interrupt.listen(); interrupt.defer(); "
    code += f"import test_train_parallel as t; t.train_to_the_end(t.Path({str(folder)!r}))"
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    return subprocess.Popen([sys.executable, "-c", code], env=environment)


def epochs_kept(folder: Path) -> int:
    """Return how many epochs the saved state has."""
    state = folder / "model.resume.safetensors"
    return len(read_arrays(state, FORMAT)[1]["history"]) if state.exists() else 0


def wait_until(happened: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 7, 8, 64])
def test_the_parts_of_a_batch_cover_it_once(processes: int, count: int) -> None:
    parts = [range(count)[Shard(rank, processes).of(count)] for rank in range(processes)]
    assert [i for part in parts for i in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.slow
def test_two_processes_train_the_network_of_one(make_network: Network, images: ImageSet) -> None:
    teacher = make_network("resnet14", size=8)
    one, two = (prune3d.prune(make_network("resnet8", size=8), resolution=0.75) for _ in range(2))
    before = {name: value.clone() for name, value in one.state_dict().items()}
    expected = train(one, images, RECIPE, seed=3, teacher=teacher)
    found = train(two, images, RECIPE, seed=3, teacher=teacher, compute=TWO)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=1e-4, atol=1e-5)
        if name.endswith(("running_mean", "running_var", "weight")):
            assert not torch.equal(value, before[name]), name
    for row, other in zip(found.history, expected.history, strict=True):
        assert row == {
            **other,
            "train_loss": pytest.approx(other["train_loss"], rel=1e-5),
            "train_top1": pytest.approx(other["train_top1"], abs=1e-9),
        }
    assert prune3d.models.lineage.get_lineage(two) == prune3d.models.lineage.get_lineage(one)


@pytest.mark.slow
def test_a_diverging_training_of_two_processes_tells_the_same_sentence(
    tmp_path: Path, make_network: Network, images: ImageSet
) -> None:
    recipe = Recipe(epochs=1, batch_size=15, learning_rate=1e30, name="dense")
    file = ResumeFile(tmp_path / "a.resume.safetensors", "digest")
    with pytest.raises(TrainingError, match=r"recipe 'dense' is .* lower dense\.learning_rate"):
        train(make_network("resnet8", size=8), images, recipe, 0, file, compute=TWO)
    assert list(tmp_path.iterdir()) == []


def test_fewer_images_a_step_than_processes_are_refused(
    make_network: Network, images: ImageSet
) -> None:
    recipe = dataclasses.replace(RECIPE, batch_size=2, distillation=0.0)
    with pytest.raises(UserError, match=r"batch_size is 2; allowed is .* each of the 3"):
        train(make_network("resnet8", size=8), images, recipe, 0, compute=Compute(processes=3))


@pytest.mark.slow
def test_two_processes_that_are_ended_and_killed_go_on_and_end_bit_equal(tmp_path: Path) -> None:
    folder, undisturbed = tmp_path / "a", tmp_path / "b"
    ended = start(folder)
    wait_until(lambda: epochs_kept(folder) >= 1)
    ended.send_signal(signal.SIGTERM)
    assert ended.wait(60) == 128 + signal.SIGTERM
    first = epochs_kept(folder)
    assert 1 <= first < EPOCHS
    assert list(folder.glob("tmp/prune3d-*")) == []

    killed = start(folder)
    wait_until(lambda: epochs_kept(folder) > first)
    killed.kill()
    killed.wait()
    wait_until(lambda: not workers_in(folder))
    second = epochs_kept(folder)
    assert first < second < EPOCHS
    [left] = folder.glob("tmp/prune3d-*")
    # Neither the weights nor the images.
    assert all(path.stat().st_size < 4096 for path in left.iterdir())

    undisturbed.mkdir()
    train_to_the_end(folder)
    train_to_the_end(undisturbed)
    found, expected = (torch.load(path / "end") for path in (folder, undisturbed))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def workers_in(folder: Path) -> list[str]:
    """Return the command lines of the processes that train for a folder."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    parts = [line.decode(errors="replace") for line in lines]
    return [text for text in parts if "prune3d.train.worker" in text and str(folder) in text]


OWN = """
import os

import torch
from torch import nn

from parts import CHANNELS


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.stem.requires_grad_(False)
        self.conv = nn.Conv2d(6, CHANNELS, 3, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.fc = nn.Linear(CHANNELS, classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(self.stem(x))))
        if self.training and os.environ.get("RANK") == "1":
            self.fail()
        return self.fc(x.mean((2, 3)))

    def fail(self):
        pass


class Leaving(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.left_out = nn.Linear(8, classes)


class Broken(Net):
    def fail(self):
        raise RuntimeError("nothing goes in process 1")


class Killed(Net):
    def fail(self):
        os.kill(os.getpid(), 9)


class Silent(Net):
    def fail(self):
        os._exit(3)


def make(num_classes):
    return Net(num_classes)


def leaving(num_classes):
    return Leaving(num_classes)


def broken(num_classes):
    return Broken(num_classes)


def killed(num_classes):
    return Killed(num_classes)


def silent(num_classes):
    return Silent(num_classes)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return the user's file, which imports its neighbour."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "parts.py").write_text("CHANNELS = 8\n")
    (folder / "net.py").write_text(OWN)
    return folder / "net.py"


def of(own: Path, name: str = "make") -> nn.Module:
    torch.manual_seed(0)
    return prune3d.build(f"{own}:{name}", 10, 8, 3)


OWN_RECIPE = Recipe(epochs=2, batch_size=15, learning_rate=0.05, shift=1, flip=True)


@pytest.mark.slow
def test_two_processes_train_ones_own_pruned_network_with_a_penalty(
    own: Path, images: ImageSet
) -> None:
    ends = []
    for compute in (Compute(), TWO):
        model = prune3d.prune(of(own), width=0.75)
        penalty = channel_penalty(model, Sparsity("group_norm", 0.01, fraction=0.5, seed=2))
        assert penalty is not None
        train(model, images, OWN_RECIPE, 3, penalty=penalty, compute=compute)
        ends.append(model.state_dict())
    plain = prune3d.prune(of(own), width=0.75)
    frozen = plain.state_dict()["stem.0.weight"].clone()
    train(plain, images, OWN_RECIPE, 3)
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)
    assert torch.equal(ends[1]["stem.0.weight"], frozen)
    difference = (ends[1]["conv.weight"] - plain.state_dict()["conv.weight"]).abs().max()
    assert difference > 1e-3


@pytest.mark.slow
def test_layers_that_the_forward_pass_leaves_out_stay_in_two_processes(
    own: Path, images: ImageSet
) -> None:
    before = of(own, "leaving").state_dict()
    ends = []
    for compute in (Compute(), TWO):
        model = of(own, "leaving")
        train(model, images, OWN_RECIPE, 3, compute=compute)
        ends.append(model.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)
        if name.startswith("left_out"):
            assert torch.equal(ends[1][name], before[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken", r"process 1 of 2 .* failed \(RuntimeError: nothing goes in process 1\)"),
        ("killed", r"process 1 of 2 .* was ended by SIGKILL, as the system does where memory"),
        ("silent", r"process 1 of 2 .* ended with status 3; what it said is in the log"),
    ],
)
def test_a_process_that_fails_is_told_in_one_sentence(
    own: Path, images: ImageSet, name: str, sentence: str
) -> None:
    begun = time.monotonic()
    with pytest.raises(TrainingError, match=f"^{sentence}"):
        train(of(own, name), images, OWN_RECIPE, 3, compute=TWO)
    # Far less than gloo waits for a process that is gone.
    assert time.monotonic() - begun < 300


@pytest.mark.slow
def test_own_code_that_has_changed_meanwhile_is_refused(own: Path, images: ImageSet) -> None:
    model = of(own)
    (own.parent / "parts.py").write_text("CHANNELS = 8  # still\n")
    with pytest.raises(UserError, match=r"parts\.py, part of .*net\.py:make', has changed"):
        train(model, images, OWN_RECIPE, 3, compute=TWO)


@pytest.mark.slow
def test_a_picture_that_only_one_process_reads_is_refused_by_its_name(
    tmp_path: Path, make_network: Network
) -> None:
    for i in range(8):
        image = Image.new("RGB", (8, 8), (30 * i, 0, 0))
        image.save(tmp_path / f"{i}.png")
    names = tuple(f"{i}.png" for i in range(8))
    about = Description(8, 3, tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3)
    save_part(tmp_path / "index", Listed(tmp_path, names, np.arange(8)), about)
    pictures = load_images(tmp_path / "index")
    (tmp_path / "5.png").write_bytes(b"nothing")
    recipe = Recipe(epochs=1, batch_size=8)
    with pytest.raises(UserError, match=r"5\.png is not a readable picture"):
        train(make_network("resnet8", size=8), pictures, recipe, 0, compute=TWO)


def test_an_order_names_files_and_gives_the_training_back(
    tmp_path: Path, own: Path, images: ImageSet
) -> None:
    model, teacher = prune3d.prune(of(own), width=0.5), prune3d.build("resnet8", 10, 8)
    kept = tmp_path / "kept.safetensors"
    save_images(kept, images, 10)
    recipe = Recipe(epochs=3, schedule="rewind", original=RECIPE, name="final")
    sparsity = Sparsity("batchnorm_l1", 0.1, fraction=0.5, seed=4)
    task = Task(
        model,
        load_images(kept),
        recipe,
        2**62,
        ResumeFile(tmp_path / "state", "digest"),
        Compute(processes=2, precision="float32"),
        teacher,
        channel_penalty(model, sparsity),
        tmp_path / "board",
        images,
    )
    folder = tmp_path / "order"
    folder.mkdir()
    write_order(folder / "order.json", task, "cpu", 3)
    written = json.loads((folder / "order.json").read_text())
    assert written["images"] == {"file": str(kept), "digest": task.images.known}
    assert written["model"]["code"] == f"{own}:make"
    assert written["teacher"]["code"] is None
    assert (written["threads"], written["device"]) == (3, "cpu")
    for path in folder.iterdir():
        assert path.suffix in (".json", ".safetensors")
    again = make_task(read_order(folder / "order.json"), 0)
    for name in ("recipe", "seed", "resume", "compute", "tensorboard"):
        assert getattr(again, name) == getattr(task, name), name
    assert again.images.digest() == task.images.digest()
    for network, other in ((model, again.model), (teacher, again.teacher)):
        assert other is not None
        assert get_spec(other) == spec_to_save(network)
        for name, value in network.state_dict().items():
            assert torch.equal(other.state_dict()[name], value), name
    assert isinstance(again.judged, ImageSet)
    assert torch.equal(again.judged.images, images.images)
    assert (again.judged.mean, again.judged.spread) == (images.mean, images.spread)
    assert isinstance(again.penalty, ChannelPenalty)
    assert again.penalty.sparsity == sparsity
    assert make_task(read_order(folder / "order.json"), 1).judged is None


def test_images_that_have_changed_since_the_order_are_refused(
    tmp_path: Path, make_network: Network, images: ImageSet
) -> None:
    kept = tmp_path / "kept.safetensors"
    save_images(kept, images, 10)
    task = Task(make_network("resnet8", size=8), load_images(kept), RECIPE, 0)
    write_order(tmp_path / "order.json", task, "cpu", 1)
    save_images(kept, images.subset(30, 0), 10)
    order = read_order(tmp_path / "order.json")
    with pytest.raises(UserError, match=r"kept\.safetensors has changed since the training began"):
        make_task(order, 0)


def test_a_penalty_that_no_other_process_can_find_is_refused(
    make_network: Network, images: ImageSet
) -> None:
    with pytest.raises(UserError, match=r"the penalty .*<lambda> .* or one process"):
        train(
            make_network("resnet8", size=8),
            images,
            OWN_RECIPE,
            0,
            penalty=lambda model: None,
            compute=TWO,
        )


@pytest.mark.slow
def test_torchs_launcher_starts_an_order_as_well(
    tmp_path: Path, make_network: Network, images: ImageSet
) -> None:
    expected = make_network("resnet8", size=8)
    task = Task(copy.deepcopy(expected), images, OWN_RECIPE, 3, compute=TWO)
    train(expected, images, OWN_RECIPE, 3)
    write_order(tmp_path / "order.json", task, "cpu", 1)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [*launch, "-m", "prune3d.train.worker", str(tmp_path / "order.json")]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    subprocess.run([sys.executable, *command], env=environment, check=True, timeout=300)
    arrays, _ = read_arrays(tmp_path / OUTCOME, worker.FORMAT)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(torch.from_numpy(arrays[name]), value, rtol=1e-4, atol=1e-5)

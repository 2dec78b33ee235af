"""Checks of captured steps, for `gpu.py`: each alone, in a process of a few beside each other."""

from __future__ import annotations

import copy
import logging
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "scripts")]

import torch  # noqa: E402

import training  # noqa: E402
from prune3d import build, prune  # noqa: E402
from prune3d.data.images import ImageSet  # noqa: E402
from prune3d.pruning import PruningOptions  # noqa: E402
from prune3d.train import Compute, Recipe, ResumeFile, graphs, train  # noqa: E402

if TYPE_CHECKING:
    from gpu import Bench

FAMILIES = (
    "resnet20",
    "cifar_vgg16_bn",
    "densenet40",
    "cifar_mobilenet_v2",
    "resnet18",
    "resnet50",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "regnet_y_400mf",
    "vgg16_bn",
    "timm/resnet18",
)
Check = Callable[["Bench"], str]
RECIPE = Recipe(50, batch_size=128, learning_rate=0.05, warmup_epochs=2, shift=4, flip=True)


def checks(bench: Bench) -> None:
    """Run all checks."""
    works: dict[str, Check] = {
        "unit tests of captured steps on this device": unit_tests,
        "resume after a kill": resume,
        "captured against eager losses over 100 steps": losses,
    }
    works |= {
        f"pruned {name}": partial(family, name) for name in FAMILIES[:: 12 if bench.tiny else 1]
    }
    # What takes long is not the GPU's work: kernels are compiled for each new shape.
    with ProcessPoolExecutor(max(1, min(6, training.threads() // 2)), get_context("spawn")) as pool:
        found = {name: pool.submit(outcome, work, bench) for name, work in works.items()}
        for name, future in found.items():
            broken = future.exception()
            bench.say(f"check, {name}: {broken or future.result()}")


def outcome(work: Check, bench: Bench) -> str:
    """Return what a check says or raises, and its time."""
    torch.set_num_threads(1)  # the order of a sum depends on it
    begun = time.monotonic()
    try:
        text = work(bench)
    except Exception as error:
        text = f"FAILED, {type(error).__name__}: {error}\n{traceback.format_exc()}"
    return f"{text} [{time.monotonic() - begun:.0f} s]"


def losses(bench: Bench) -> str:
    """Compare the losses of 50 epochs of two steps, and two captured trainings bit for bit."""
    data = learnable(bench)
    rows, states = [], []
    for compute in (Compute(cuda_graph="never"), *2 * [bench.captured]):
        model = network(bench)
        with heard() as said:
            history = train(model, data, short(bench), 3, compute=compute).history
        rows.append([row["train_loss"] for row in history])
        states.append(model.state_dict())
    eager, captured, again = rows
    apart = [abs(one - other) / other for one, other in zip(captured, eager, strict=True)]
    same = captured == again and equal(*states[1:])
    verdict = "ok" if max(apart[:10]) < 0.05 and abs(captured[-1] - eager[-1]) < 0.1 else "APART"
    shown = ", ".join(f"{eager[i]:.4f}/{captured[i]:.4f}" for i in range(0, len(eager), 7))
    return (
        f"{verdict}; relative difference at most {max(apart[:10]):.1e} in the first 20 steps, "
        f"{max(apart):.1e} in all; captured twice is {'' if same else 'NOT '}bit-equal; "
        f"eager/captured: {shown}; log: {' | '.join(said)}"
    )


def resume(bench: Bench) -> str:
    """Kill a training in another process, go on here, and compare with one left alone."""
    with tempfile.TemporaryDirectory() as name:
        state = Path(name) / "state.safetensors"
        command = [sys.executable, __file__, str(state), "tiny" if bench.tiny else "full"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
            until = time.monotonic() + 90
            while not state.exists() and child.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            time.sleep(0.2)
            child.send_signal(signal.SIGKILL)
            _, said = child.communicate()
        if not state.exists():
            return f"FAILED, no state: {said[-2000:]}"
        resumed, alone = network(bench), network(bench)
        with heard() as log:
            train(resumed, *resumable(bench), ResumeFile(state, "x"), compute=bench.captured)
    train(alone, *resumable(bench), compute=bench.captured)
    one, other = resumed.state_dict(), alone.state_dict()
    if equal(one, other):
        return f"ok, bit-equal; log: {' | '.join(log)}"
    apart = max(float((one[k].float() - other[k].float()).abs().max()) for k in one)
    return f"APART by at most {apart:.2e}; log: {' | '.join(log)}"


def unit_tests(bench: Bench) -> str:
    """Run the unit tests, which capture where there is a GPU."""
    tests = ROOT / "tests" / "unit" / "test_train_graphs.py"
    options = ["-q", "--noconftest", "-p", "no:cacheprovider", "--tb=short", "-o", "addopts="]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tests)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    (bench.out / "unit_tests.txt").write_text(done.stdout + done.stderr)
    last = (done.stdout.strip().splitlines() or [done.stderr[-500:]])[-1]
    return f"{'ok' if done.returncode == 0 else 'FAILED'}, {last} (unit_tests.txt)"


def family(name: str, bench: Bench) -> str:
    """Take a few steps of a pruned network of a family, eagerly and captured."""
    side = 32 if name in ("resnet20", "densenet40") or name.startswith("cifar") else 64
    torch.manual_seed(0)
    dense = build(name, num_classes=10, image_size=side)
    options = PruningOptions("random", "random")
    try:
        model = prune(dense, 0.8, 0.6, 0.75, options=options)
        how = "depth, width and resolution"
    except Exception as error:
        model = prune(dense, 1.0, 1.0, 0.75, options=options)
        how = f"resolution alone ({type(error).__name__}: {error})"
    data = bench.images(6, 32, side)
    recipe = replace(RECIPE, epochs=3, batch_size=32, learning_rate=0.01)
    eager = copy.deepcopy(model).to(bench.device)
    begun = time.monotonic()
    eagerly = train(eager, data, recipe, 0, compute=Compute(cuda_graph="never")).history
    seconds = time.monotonic() - begun
    with heard() as said, mock.patch.object(graphs, "FEWEST_REPLAYS", 6):
        history = train(model.to(bench.device), data, recipe, 0, compute=bench.captured).history
    rows = list(zip(history, eagerly, strict=True))
    alike = all(abs(a["train_loss"] / b["train_loss"] - 1) < 0.05 for a, b in rows)
    verdict = ("ok" if alike else "APART") if "captured" in said[0] else "EAGER"
    found = ", ".join(f"{a['train_loss']:.3f}/{b['train_loss']:.3f}" for a, b in rows)
    return f"{verdict}, {how}; captured/eager: {found}; {said[0]}; eagerly in {seconds:.1f} s"


def network(bench: Bench) -> Any:
    """Return a ResNet-20, the same each time."""
    torch.manual_seed(0)
    return build("resnet8" if bench.tiny else "resnet20", 10, bench.side).to(bench.device)


def learnable(bench: Bench) -> ImageSet:
    """Return images for two steps, whose labels can be learned: one cell of a grid is bright."""
    data = bench.images(2, bench.batches[0])
    pixels, cell = data.images.clone(), bench.side // 4
    for label in range(10):
        top, left = (cell * place for place in divmod(label, 4))
        pixels[data.labels == label, :, top : top + cell, left : left + cell] = 255
    return replace(data, images=pixels)


def short(bench: Bench) -> Recipe:
    """Return the recipe of the checks."""
    return replace(RECIPE, epochs=12, batch_size=bench.batches[0]) if bench.tiny else RECIPE


def resumable(bench: Bench) -> tuple[ImageSet, Recipe, int]:
    """Return images, recipe and seed of a training that takes some seconds."""
    return learnable(bench), replace(short(bench), epochs=20 if bench.tiny else 200, ema=0.99), 5


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether weights are the same bit for bit."""
    return all(torch.equal(value, other[name]) for name, value in one.items())


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect what prune3d tells about graphs and about going on."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "CUDA graph" in text or "continuing" in text or "anew" in text:
                said.append(text)

    ear, log = Ear(), logging.getLogger("prune3d")
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(ear)
    try:
        yield said
    finally:
        log.removeHandler(ear)
        log.setLevel(level)
        if not said:
            said.append("nothing about graphs")


def _child(state: Path, tiny: bool) -> None:
    import gpu

    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = gpu.Bench(state.parent, device, tiny, time.monotonic())
    train(network(bench), *resumable(bench), ResumeFile(state, "x"), compute=bench.captured)


if __name__ == "__main__":
    _child(Path(sys.argv[1]), sys.argv[2] == "tiny")

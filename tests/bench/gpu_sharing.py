"""What trainings that share a GPU do together, for `gpu.py`: with and without NVIDIA's MPS."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "scripts")]

import torch  # noqa: E402

from prune3d import build, prune  # noqa: E402

if TYPE_CHECKING:
    from gpu import Bench

MPS = "nvidia-cuda-mps-control"
COUNT = 8
SECONDS = 3.0
# A dense network and the smallest of a sampling tree.
CHANGES: dict[str, dict[str, float]] = {
    "ResNet-20": {},
    "width 0.45, resolution 0.5": {"width": 0.45, "resolution": 0.5},
}


def sharing(bench: Bench) -> None:
    """Tell images/s of all trainings together."""
    count = 2 if bench.tiny else COUNT
    together(bench, 1)
    together(bench, count)
    if shutil.which(MPS) is None or bench.device.type != "cuda":
        bench.say(f"with MPS: left out, there is no {MPS} or no GPU")
        return
    with mps():
        together(bench, count, "with MPS, ")


@contextmanager
def mps() -> Iterator[None]:
    """Let processes that start meanwhile share the GPU by an MPS server of our own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CUDA_MPS_PIPE_DIRECTORY"] = os.environ["CUDA_MPS_LOG_DIRECTORY"] = folder
        subprocess.run([MPS, "-d"], check=True, timeout=30)
        try:
            yield
        finally:
            subprocess.run([MPS], input="quit\n", text=True, check=False, timeout=60)
            del os.environ["CUDA_MPS_PIPE_DIRECTORY"], os.environ["CUDA_MPS_LOG_DIRECTORY"]


def together(bench: Bench, count: int, how: str = "") -> None:
    """Train in processes of their own at the same time."""
    context = get_context("spawn")
    ready, pipes = context.Barrier(count), []
    for _ in range(count):
        here, there = context.Pipe()
        context.Process(target=_train, args=(bench, ready, there), daemon=True).start()
        there.close()
        pipes.append(here)
    try:
        found = [pipe.recv() for pipe in pipes if pipe.poll(120)]
    except EOFError:
        found = []
    if len(found) < count:
        bench.say(f"{how}{count} at a time: FAILED, a process ended or did not answer")
        return
    for name in CHANGES:
        rate = sum(rates[name] for rates in found)
        bench.say(f"{how}{count} at a time, {name}: {rate:,.0f} images/s together")


def _train(bench: Bench, ready: Any, pipe: Any) -> None:
    """Train each network for some seconds and send the images of a second."""
    import gpu

    torch.set_num_threads(1)
    batch = bench.batches[0]
    dense = build("resnet20", num_classes=10, image_size=bench.side)
    data = bench.images(40, batch)
    rates = {}
    for name, change in CHANGES.items():
        model = prune(dense, **change) if change else gpu.copy(dense)
        epoch = gpu.ours(bench, lambda found=model: found, data, batch, bench.captured)
        epoch()
        bench.wait()
        ready.wait(100)
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < (0.1 if bench.tiny else SECONDS):
            epoch()
            bench.wait()
            done += len(data)
        rates[name] = done / (time.perf_counter() - begun)
    pipe.send(rates)

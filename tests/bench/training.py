"""Training against a plain torchvision loop and against bare forward and backward passes.

Part of `make bench`; alone: `python tests/bench/training.py`.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

BATCH, SIDE = 128, 32
# The levels of config/config.yaml: three axes from the dense network.
TREE: list[dict[str, float]] = [
    {},
    *({"depth": level} for level in (0.8, 0.6, 0.4, 0.2)),
    *({"width": level} for level in (0.8, 0.6, 0.45, 0.3)),
    *({"resolution": level} for level in (0.875, 0.75, 0.625, 0.5)),
]
ROUNDS = 3
GOALS = {"cpu": (1.5, 0.95), "cuda": (4.5, 0.95)}
# airbench94.py: 3.6e14 FLOPs in 3.83 s on an A100, not compiled (arXiv 2404.00498, section 1).
AIRBENCH_TERAFLOPS = 3.6e14 / 3.83 / 1e12


def images(count: int) -> Any:
    """Return random images with the statistics of CIFAR-10."""
    import torch

    from prune3d.data.images import ImageSet

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (count,), generator=generator)
    return ImageSet(pixels, labels, (0.491, 0.482, 0.447), (0.247, 0.243, 0.262))


def networks(name: str = "resnet20") -> Iterator[tuple[str, Any]]:
    """Yield the networks of a sampling tree, untrained."""
    import torch

    from prune3d import build, prune

    torch.manual_seed(0)
    dense = build(name, num_classes=10, image_size=SIDE)
    order = ["layer1.0", "layer1.1", "layer2.2", "layer3.1", "layer1.2", "layer2.1", "layer3.2"]
    for change in TREE:
        label = " ".join(f"{axis} {level:g}" for axis, level in change.items()) or "dense"
        # Scores of untrained batch norms are all equal; which channels go does not matter here.
        yield label, prune(dense, removal_order=order, **change) if change else dense


def ours(model: Any, data: Any, device: Any) -> Callable[[], None]:
    """Return an epoch of prune3d's training."""
    from prune3d.train import Recipe
    from prune3d.train.report import Progress
    from prune3d.train.task import Task
    from prune3d.train.trainer import Trainer

    recipe = Recipe(epochs=1000, batch_size=BATCH, learning_rate=1e-3, shift=4, flip=True)
    trainer = Trainer(Task(model, data, recipe, 0), device)
    progress = Progress(recipe.epochs, 0, len(data))
    return lambda: trainer.epoch(0, progress) and None


def pure(model: Any, data: Any, device: Any) -> Callable[[], None]:
    """Return as many forward and backward passes on one resident batch, computed alike."""
    import torch.nn.functional as F

    from prune3d.models.assembly import get_spec
    from prune3d.train.channels_last import fold_batch_norms
    from prune3d.train.compute import Compute, make_plan

    plan = make_plan(Compute(), device)
    model.to(device)
    model.to(memory_format=plan.memory_format)
    if plan.folds:
        fold_batch_norms(model)
    inputs = data.normalize(data.images[:BATCH].to(device), get_spec(model).side)
    inputs = inputs.contiguous(memory_format=plan.memory_format)
    labels = data.labels[:BATCH].to(device)

    def passes() -> None:
        model.train()
        for _ in range(len(data) // BATCH):
            with plan.autocast():
                logits = model(inputs)
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            for parameter in model.parameters():
                parameter.grad = None
        float(loss.detach())

    return passes


def plain(
    model: Any, data: Any, device: Any, workers: int, batch: int = BATCH, full: int = SIDE
) -> Callable[[], None]:
    """Return an epoch as in torchvision's tutorials: DataLoader, transforms of PIL images."""
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from torchvision import transforms

    from prune3d.models.assembly import get_spec

    side = get_spec(model).side
    steps: list[Any] = [
        transforms.RandomCrop(full, padding=4, padding_mode="reflect"),
        transforms.RandomHorizontalFlip(),
    ]
    steps += [transforms.Resize(side)] if side != full else []
    steps += [transforms.ToTensor(), transforms.Normalize(data.mean, data.spread)]
    transform = transforms.Compose(steps)
    arrays, labels = data.images.permute(0, 2, 3, 1).contiguous().numpy(), data.labels.tolist()

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return transform(Image.fromarray(arrays[index])), labels[index]

    loader = torch.utils.data.DataLoader(
        Images(),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    model.to(device)
    model.to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def epoch() -> None:
        model.train()
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
        loss.item()

    return epoch


def rate(work: Callable[[], None], count: int, device: Any) -> float:
    """Return images/s of one epoch."""
    import torch

    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return count / (time.perf_counter() - begun)


def threads() -> int:
    """Return the cores that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1


def setting() -> tuple[Any, Any]:
    """Return the device and the images of the comparison."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads())
    return device, images(50 * 1024 if device.type == "cuda" else 6 * BATCH)


def serve_plain() -> None:
    """Measure the plain loop when told to, in a process that prune3d has changed nothing in."""
    device, data = setting()
    for _, model in networks():
        sys.stdin.readline()
        epochs = [plain(model, data, device, workers) for workers in (0, min(8, threads()))]
        for epoch in epochs:
            epoch()
        print("ready", flush=True)
        for _ in range(ROUNDS):
            sys.stdin.readline()
            print(max(rate(epoch, len(data), device) for epoch in epochs), flush=True)


def bench_training() -> None:
    """Compare over the networks of a sampling tree; each round measures all loops in turn."""
    import copy

    import torch

    device, data = setting()
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    print(f"training of ResNet-20 at 32x32 and pruned children, batch {BATCH}, {threads()} threads")
    print(f"  {name:<18}{'prune3d':>10}{'plain':>10}{'bare':>10}   images/s")
    gains, fractions = [], []
    with subprocess.Popen(
        [sys.executable, __file__, "plain"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        for label, model in networks():
            # One of the two processes works at a time.
            print("next", file=server.stdin, flush=True)
            server.stdout.readline()
            epoch = ours(model, data, device)
            bare = pure(copy.deepcopy(model), data, device)
            epoch()
            bare()
            rounds = []
            for _ in range(ROUNDS):
                print("go", file=server.stdin, flush=True)
                theirs = float(server.stdout.readline())
                found = rate(epoch, len(data), device)
                rounds.append((found, theirs, rate(bare, len(data), device)))
            gains.append(statistics.median(found / theirs for found, theirs, _ in rounds))
            fractions.append(statistics.median(found / best for found, _, best in rounds))
            shown = "".join(f"{statistics.median(r[i] for r in rounds):>10.0f}" for i in range(3))
            print(f"  {label:<18}{shown}   {gains[-1]:.2f} x, {100 * fractions[-1]:.0f} %")
    goal, part = GOALS[device.type]
    gain, fraction = statistics.geometric_mean(gains), statistics.geometric_mean(fractions)
    met = ["met" if gain >= goal else "MISSED", "met" if fraction >= part else "MISSED"]
    print(f"  against the plain loop, the better of 0 and several workers: {gain:.2f} x", end="")
    print(f" (geometric mean)   goal {goal:g} x: {met[0]}")
    print(f"  of bare forward and backward passes: {100 * fraction:.1f} %", end="")
    print(f"   goal {100 * part:g} %: {met[1]}", flush=True)
    bench_memory()
    if device.type == "cuda":
        bench_airbench(device)
    else:
        bench_batch_norm()


def bench_batch_norm() -> None:
    """Time batch norm, forward and backward, in torch's two memory orders and folded."""
    import torch
    from torch import nn

    from prune3d.train.channels_last import FoldedBatchNorm2d
    from prune3d.train.compute import keep_memory

    keep_memory()
    print("  batch norm of 128 images in ms: torch's, torch's channels last, folded")
    orders = (torch.contiguous_format, torch.channels_last, torch.channels_last)
    kinds = (nn.BatchNorm2d, nn.BatchNorm2d, FoldedBatchNorm2d)
    for channels, side in ((5, 32), (13, 32), (16, 32), (26, 16), (32, 16), (51, 8)):
        works = []
        for kind, order in zip(kinds, orders, strict=True):
            values, gradient = torch.randn(2, BATCH, channels, side, side)
            x = values.contiguous(memory_format=order).requires_grad_()
            gradient = gradient.contiguous(memory_format=order)
            works.append(partial(_backward, kind(channels), x, gradient))
        rounds = [[1e3 / rate(work, 1, x.device) for work in works] for _ in range(20)]
        shown = "".join(f"{statistics.median(times):>8.2f}" for times in zip(*rounds, strict=True))
        print(f"    {f'{channels} channels at {side}x{side}':<24}{shown}")


def _backward(layer: Any, x: Any, gradient: Any) -> None:
    layer(x).backward(gradient)


def bench_memory() -> None:
    """Print the peak memory of one epoch of the dense network on 51,200 images."""
    shown = {}
    for kind in ("nothing", "ours", "plain", "pure"):
        done = subprocess.run(
            [sys.executable, __file__, "memory", kind],
            check=True,
            capture_output=True,
            text=True,
        )
        shown[kind] = [float(value) for value in done.stdout.split()]
    base = shown.pop("nothing")[0]
    print("  peak memory above that of an idle process (the images: 150 MiB)")
    names = {"ours": "prune3d", "plain": "plain, 2 workers", "pure": "bare passes"}
    for kind, (main, workers, device) in shown.items():
        text = f"    {names[kind]:<18}{main - base:>8.0f} MiB"
        text += f" and {workers:.0f} MiB in its workers" if workers else ""
        text += f", {device:.0f} MiB on the GPU" if device else ""
        print(text)


def memory(kind: str) -> None:
    """Print in MiB the peak memory of this process, the workers' own, and the peak of the GPU."""
    import multiprocessing

    import torch
    import torchvision  # noqa: F401

    from prune3d.train import loop  # noqa: F401

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(threads())
    _, model = next(networks())
    # What every kind loads, whether it needs it or not.
    torch.optim.SGD(model.parameters(), 0.1)
    if kind != "nothing":
        everything = images(400 * BATCH)
        # A part of an epoch: memory does not grow with the steps.
        data = replace(everything, labels=everything.labels[: 12 * BATCH])
        works = {"ours": ours, "pure": pure, "plain": lambda *a: plain(*a, workers=2)}
        work = works[kind](model, data, device)
        work()
    scale = 1024 if sys.platform.startswith("linux") else 2**20
    main = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    own = sum(private(child.pid or 0) for child in multiprocessing.active_children())
    on_gpu = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0
    print(main, own, on_gpu)


def private(pid: int) -> float:
    """Return the memory in MiB that a process shares with no other; 0 where that is not known."""
    path = Path(f"/proc/{pid}/smaps_rollup")
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def bench_airbench(device: Any) -> None:
    """Compare the arithmetic done in a second with cifar10-airbench's, on a network as wide."""
    import torch

    from prune3d import build, cost
    from prune3d.train import Compute, Recipe
    from prune3d.train.report import Progress
    from prune3d.train.task import Task
    from prune3d.train.trainer import Trainer

    data = images(50 * 1024)
    model = build("resnet110", num_classes=10, image_size=SIDE).to(device)
    for compiled in (False, True):
        recipe = Recipe(epochs=9, batch_size=1024, learning_rate=1e-3, shift=2, flip=True)
        trainer = Trainer(Task(model, data, recipe, 0, compute=Compute(compile=compiled)), device)
        work = lambda t=trainer: t.epoch(0, Progress(9, 0, len(data)))  # noqa: E731
        work()
        found = rate(work, len(data), device)
        # A MAC is two operations; backward passes take twice as many as forward passes.
        teraflops = 3 * 2 * cost(model).macs * found / 1e12
        how = "compiled" if compiled else "not compiled"
        print(
            f"  ResNet-110, batch 1024, {how}: {found:.0f} images/s, {teraflops:.1f} TFLOP/s; "
            f"airbench94 on an A100: {AIRBENCH_TERAFLOPS:.0f} TFLOP/s"
        )
    torch.cuda.synchronize()


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        memory(sys.argv[2])
    elif sys.argv[1:2] == ["plain"]:
        serve_plain()
    else:
        bench_training()

"""What pruned networks regain, by criterion and recipe, and which labels foretell finals.

    PYTHONPATH=scripts python3 tests/bench/wrecks.py --out DIR --minutes 6 --processes 10

For a GPU. ResNet-20 on glyphs of 32x32 pixels is trained to the end for each seed, then pruned and
fine-tuned in many ways, several at once, the most telling first, until the minutes are over. Every
result is a row of DIR/wrecks.csv as soon as it is there; DIR/dense*.safetensors are the dense
networks. `--tiny` tries all of it on a CPU with few small images; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from prune3d.data.settings import GlyphSettings  # noqa: E402

SEEDS = (0, 1, 2)
CRITERIA = ("batchnorm_scale", "l2", "taylor", "l1", "fpgm", "random")
# Depth, width and resolution of networks of a quarter and of an eighth of the dense MACs, for which
# docs/data/glyphs32_resnet20.csv has finals.
NETWORKS = (
    (1.0, 1.0, 0.5),
    (1.0, 0.6664, 0.75),
    (1.0, 0.4984, 1.0),
    (0.7778, 0.5669, 1.0),
    (0.5556, 0.6705, 1.0),
    (0.3333, 0.8619, 1.0),
    (1.0, 0.7021, 0.5),
    (1.0, 0.3535, 1.0),
    (0.7778, 0.5305, 0.75),
    (0.5556, 0.6304, 0.75),
    (0.5556, 0.4722, 1.0),
    (0.3333, 0.8122, 0.75),
)


@dataclass(frozen=True)
class Scale:
    """Sizes of the experiment."""

    glyphs: GlyphSettings
    side: int
    train: int
    dense_epochs: int


FULL = Scale(GlyphSettings(20, 50_000, 10_000, 0.9), 32, 40_000, 30)
TINY = Scale(GlyphSettings(4, 640, 160, 0.1), 16, 480, 1)


@dataclass(frozen=True)
class Job:
    """A network and how it is made; `steps` prunings of the width, each with its share of epochs.

    Ratios are to the dense network; `estimated` is whether batch-norm statistics are estimated
    anew after pruning.
    """

    study: str
    seed: int
    criterion: str = "batchnorm_scale"
    steps: int = 1
    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0
    epochs: int = 2
    distillation: float = 0.0
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup_epochs: float = 0.25
    precision: str = "auto"
    estimated: bool = True


RESULTS = (
    "macs_ratio",
    "start_top1",
    "train_loss",
    "train_top1",
    "selection_top1",
    "selection_loss",
    "test_top1",
    "seconds",
    "error",
)


def plan(scale: Scale) -> Iterator[Job]:
    """Yield the jobs, the most telling first."""
    for seed in SEEDS:
        yield dense_job(scale, seed)
    yield from criteria(0.3, CRITERIA[:3], (1, 2))
    wreck = Job("recipe", 0, width=0.3)
    for seed in SEEDS:
        yield replace(wreck, seed=seed, learning_rate=0.02)
        yield replace(wreck, seed=seed, warmup_epochs=0.0)
        yield replace(wreck, seed=seed, precision="float32")
        yield replace(wreck, seed=seed, estimated=False)
    yield from criteria(0.3, CRITERIA[3:5], (1, 2))
    yield from labels(2)
    yield from criteria(0.5, CRITERIA[:3], (1, 2))
    yield from labels(4)
    yield from criteria(0.5, CRITERIA[3:5], (1, 2))
    yield from criteria(0.3, CRITERIA[5:], (1, 2))
    yield from criteria(0.5, CRITERIA[5:], (1, 2))
    yield from labels(8)
    yield from labels(16)


def dense_job(scale: Scale, seed: int) -> Job:
    """Return the training of a dense network."""
    epochs = scale.dense_epochs
    return Job("dense", seed, epochs=epochs, batch_size=256, learning_rate=0.2, warmup_epochs=1)


def criteria(width: float, names: tuple[str, ...], steps: tuple[int, ...]) -> Iterator[Job]:
    """Yield prunings of the width alone, by each criterion."""
    for count, name, seed in product(steps, names, SEEDS):
        yield Job("criteria", seed, name, count, width=width)


def labels(epochs: int, seed: int = 0) -> Iterator[Job]:
    """Yield short trainings of networks over the surfaces of two budgets."""
    for distillation, network in product((0.0, 0.7), NETWORKS):
        yield Job("labels", seed, "l2", 1, *network, epochs=epochs, distillation=distillation)


def plan_labels(scale: Scale, seeds: Sequence[int]) -> Iterator[Job]:
    """Yield what tells which labels foretell finals: finals first, then labels of a few epochs."""
    for seed in seeds:
        yield dense_job(scale, seed)
    for epochs, seed in product((16, 4, 2, 8), seeds):
        yield from labels(epochs, seed)


def main() -> None:
    """Run the plan for some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--labels", type=int, nargs="+", metavar="SEED", help="this study only")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    begun = time.monotonic()
    scale = TINY if options.tiny else FULL
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    try:
        draw(scale, folder)
        print(f"images drawn after {time.monotonic() - begun:.0f} s", flush=True)
        jobs = plan(scale) if options.labels is None else plan_labels(scale, options.labels)
        queue = Queue(list(jobs), options.out / "wrecks.csv", begun + 60 * options.minutes)
        queue.run(options.processes, (scale, folder, options.out))
    finally:
        shutil.rmtree(folder)
    print(f"{queue.done} results, {len(queue.jobs)} left, {time.monotonic() - begun:.0f} s")


def draw(scale: Scale, folder: Path) -> None:
    """Draw the images with all cores into files that every process maps."""
    from prune3d.data.glyphs import TEST, TRAIN

    how = scale.glyphs
    with ProcessPoolExecutor() as pool:
        for name, stream, count in (("train", TRAIN, how.images), ("test", TEST, how.test_images)):
            parts = [
                (how, scale.side, stream, i, min(i + 1024, count)) for i in range(0, count, 1024)
            ]
            drawn = list(pool.map(_draw_part, parts))
            np.save(folder / f"{name}_images.npy", np.concatenate([part.images for part in drawn]))
            np.save(folder / f"{name}_labels.npy", np.concatenate([part.labels for part in drawn]))


def _draw_part(part: tuple[Any, ...]) -> Any:
    from prune3d.data.glyphs import draw as draw_glyphs

    return draw_glyphs(*part)


class Queue:
    """Gives jobs to processes, writes down what comes back, and stops in time."""

    def __init__(self, jobs: list[Job], table: Path, deadline: float) -> None:
        self.jobs, self.done = jobs, 0
        self._table, self._deadline = table, deadline
        self._ready: set[int] = set()
        self._epoch = 0.0  # seconds of the slowest of the latest fine-tunings

    def run(self, processes: int, where: tuple[Any, ...]) -> None:
        """Work until nothing is left or the time is over."""
        context = multiprocessing.get_context("spawn")
        idle: list[Connection] = []
        workers = []
        for _ in range(processes):
            here, there = context.Pipe()
            workers.append(context.Process(target=work, args=(there, *where), daemon=True))
            workers[-1].start()
            there.close()
            idle.append(here)
        busy: list[Connection] = []
        with self._table.open("w", newline="") as file:
            self._file = file
            self._rows = csv.DictWriter(file, [*Job.__dataclass_fields__, *RESULTS])
            self._rows.writeheader()
            while time.monotonic() < self._deadline:
                self._give(idle, busy)
                if not busy:
                    break
                for pipe in wait(busy, timeout=max(0.0, self._deadline - time.monotonic())):
                    busy.remove(pipe)
                    try:
                        self._take(*pipe.recv())
                    except EOFError:
                        print("a process died", flush=True)
                        continue
                    idle.append(pipe)
        for worker in workers:
            worker.terminate()
            worker.join()

    def _give(self, idle: list[Connection], busy: list[Connection]) -> None:
        while idle:
            job = self._next()
            if job is None:
                return
            self.jobs.remove(job)
            busy.append(idle.pop(0))
            busy[-1].send(job)

    def _next(self) -> Job | None:
        """Return the first job whose dense network is there and that ends in time."""
        left = self._deadline - time.monotonic()
        for job in self.jobs:
            if job.study == "dense":
                return job
            if job.seed in self._ready and job.epochs * self._epoch < left:
                return job
        return None

    def _take(self, job: Job, found: dict[str, Any]) -> None:
        self.done += 1
        self._rows.writerow(asdict(job) | found)
        self._file.flush()
        if "error" in found:
            print(job, found["error"], flush=True)
        elif job.study == "dense":
            self._ready.add(job.seed)
        else:
            self._epoch = max(0.9 * self._epoch, found["seconds"] / job.epochs)
        if job.study == "dense" or self.done % 20 == 0:
            top1, seconds = found.get("selection_top1"), found.get("seconds")
            print(f"{self.done} results; {job.study} {job.seed}: {top1} in {seconds} s", flush=True)


def work(pipe: Connection, scale: Scale, folder: Path, out: Path) -> None:
    """Do jobs until the process is ended."""
    import torch

    torch.set_num_threads(1)
    while True:
        job = pipe.recv()
        begun = time.monotonic()
        try:
            found = do(job, scale, folder, out)
        except Exception as error:  # one job that fails must not take the others' time
            found = {"error": f"{type(error).__name__}: {error}"[:300]}
        pipe.send((job, found | {"seconds": round(time.monotonic() - begun, 1)}))


def do(job: Job, scale: Scale, folder: Path, out: Path) -> dict[str, Any]:
    """Make, train and judge one network."""
    import torch

    import prune3d
    from prune3d.train import Compute, Recipe, train
    from prune3d.train.evaluate import evaluate

    images = load_images(scale, folder)
    device = images["train"].labels.device
    recipe = Recipe(
        job.epochs,
        job.batch_size,
        job.learning_rate,
        job.warmup_epochs,
        shift=2,
        distillation=job.distillation,
    )
    compute = Compute(precision=job.precision)
    path = out / f"dense{job.seed}.safetensors"
    if job.study == "dense":
        torch.manual_seed(job.seed)
        model = prune3d.build("resnet20", scale.glyphs.classes, scale.side).to(device)
        history = train(model, images["train"], recipe, job.seed, compute=compute).history
        prune3d.save(model, path)
        return judge(model, images, history)
    dense = prune3d.load(path).to(device)
    model, start = dense, 0.0
    for step in range(1, job.steps + 1):
        model = cut(model, replace(job, width=job.width ** (step / job.steps)), images, path)
        start = evaluate(model, images["selection"])["top1"]
        part = replace(recipe, epochs=job.epochs // job.steps)
        teacher = dense if job.distillation else None
        seed = job.seed + 1000 * step
        history = train(
            model, images["train"], part, seed, compute=compute, teacher=teacher
        ).history
    ratio = prune3d.cost(model).macs / prune3d.cost(dense).macs
    return judge(model, images, history) | {"start_top1": start, "macs_ratio": round(ratio, 5)}


def cut(model: Any, job: Job, images: dict[str, Any], dense: Path) -> Any:
    """Prune a network as a job asks for."""
    import prune3d
    from prune3d.data.images import ImageSplits
    from prune3d.pruning.options import PruningOptions

    given = ImageSplits(images["train"], images["selection"]) if job.estimated else None
    return prune3d.prune(
        model,
        job.depth,
        job.width,
        job.resolution,
        options=PruningOptions(channel_criterion=job.criterion, seed=job.seed),
        images=given,
        removal_order=block_order(dense, images["train"].labels.device) if job.depth < 1 else None,
    )


@cache
def block_order(dense: Path, device: Any) -> list[str]:
    """Return the order in which the blocks of a dense network go."""
    import prune3d
    from prune3d.data.images import ImageSplits
    from prune3d.pruning.depth import order_blocks
    from prune3d.pruning.options import PruningOptions

    images = _LOADED[0]
    splits = ImageSplits(images["train"], images["selection"])
    return order_blocks(prune3d.load(dense).to(device), PruningOptions(), splits)


_LOADED: list[dict[str, Any]] = []


def load_images(scale: Scale, folder: Path) -> dict[str, Any]:
    """Put the images on the device, once in a process."""
    import torch

    from prune3d.data.images import ImageSet
    from prune3d.data.source import Labelled
    from prune3d.data.split import statistics

    if not _LOADED:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        read = {
            name: Labelled(
                np.load(folder / f"{name}_images.npy"), np.load(folder / f"{name}_labels.npy")
            )
            for name in ("train", "test")
        }
        order = np.arange(len(read["train"].labels))
        train = read["train"].take(order[: scale.train])
        parts = {
            "train": train,
            "selection": read["train"].take(order[scale.train :]),
            "test": read["test"],
        }
        about = statistics(train)
        _LOADED.append(
            {
                name: ImageSet(torch.from_numpy(p.images), torch.from_numpy(p.labels), *about).to(
                    device
                )
                for name, p in parts.items()
            }
        )
    return _LOADED[0]


def judge(model: Any, images: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a trained network's results."""
    from prune3d.train.evaluate import evaluate

    selection = evaluate(model, images["selection"])
    return {
        "macs_ratio": 1.0,
        "train_loss": round(history[-1]["train_loss"], 4),
        "train_top1": round(history[-1]["train_top1"], 4),
        "selection_top1": selection["top1"],
        "selection_loss": round(selection["loss"], 5),
        "test_top1": evaluate(model, images["test"])["top1"],
    }


if __name__ == "__main__":
    main()

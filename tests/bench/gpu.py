"""What a GPU gives: `make bench-gpu`.

Alone, with torch and without Snakemake:

    PYTHONPATH=scripts python3 tests/bench/gpu.py --out DIR

Prints a table of images/s and checks of captured steps, in under five minutes on one GPU, and
writes both to DIR/gpu.txt line by line. A part that fails is told with its traceback and does not
keep the others from running. `--tiny` tries all of it with few images, on a CPU as well. `--only
sharing` tells what trainings do that share the GPU, which takes another minute.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2] / "scripts")]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import training  # noqa: E402
from decoders import PICTURES, bench_decoders, box_of, write_pictures  # noqa: E402
from prune3d import build, cost, prune  # noqa: E402
from prune3d.data.images import ImageSet  # noqa: E402
from prune3d.models.assembly import get_spec  # noqa: E402
from prune3d.train import Compute, Recipe  # noqa: E402
from prune3d.train.compute import make_plan  # noqa: E402
from prune3d.train.report import Progress  # noqa: E402
from prune3d.train.task import Task  # noqa: E402
from prune3d.train.trainer import Trainer  # noqa: E402

PARTS = ("checks", "table", "compiled", "width", "variants", "decoders", "profile", "sharing")
# Takes a minute, and is not among what five minutes have room for.
ASKED_FOR = "sharing"
GOALS = (4.5, 8.0)
# Seconds that are kept for the parts behind the table.
BEHIND_TABLE = 75


Network = Callable[[], Any]


@dataclass
class Bench:
    """Where the bench runs, how much of it, and where its text goes."""

    out: Path
    device: torch.device
    tiny: bool
    ends: float

    @property
    def batches(self) -> tuple[int, int]:
        """Images of a step."""
        return (8, 16) if self.tiny else (128, 512)

    @property
    def side(self) -> int:
        """Side of the images."""
        return 16 if self.tiny else 32

    def say(self, text: str = "") -> None:
        """Print a line, and keep it."""
        print(text, flush=True)
        with (self.out / "gpu.txt").open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")

    @property
    def captured(self) -> Compute:
        """Captured steps, or on a CPU all of them but the capturing."""
        return Compute(cuda_graph="auto" if self.device.type == "cuda" else "rehearse")

    def images(self, steps: int, batch: int, side: int = 0) -> ImageSet:
        """Return random images for some steps, for two when all is tiny."""
        side, count = side or self.side, batch * (2 if self.tiny else steps)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (count, 3, side, side), generator=generator).byte()
        labels = torch.randint(0, 10, (count,), generator=generator)
        return ImageSet(pixels, labels, (0.491, 0.482, 0.447), (0.247, 0.243, 0.262))

    def rate(self, work: Callable[[], object], images: int) -> float:
        """Return images/s of the best of two runs after one that does not count."""
        work()
        best = 0.0
        for _ in range(1 if self.tiny else 2):
            self.wait()
            begun = time.perf_counter()
            work()
            self.wait()
            best = max(best, images / (time.perf_counter() - begun))
        return best

    def wait(self) -> None:
        """Wait for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def memory(self) -> float:
        """Return the peak of reserved memory in MiB since the last call; forget what is free."""
        if self.device.type != "cuda":
            return 0.0
        peak = torch.cuda.max_memory_reserved() / 2**20
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return peak

    def part(self, name: str, work: Callable[[Bench], None]) -> None:
        """Run a part, in its time; tell what it raises."""
        begun = time.monotonic()
        if begun > self.ends:
            self.say(f"{name}: left out, the time is over")
            return
        try:
            work(self)
        except Exception:
            self.say(f"{name}: FAILED\n{traceback.format_exc()}")
        self.say(f"[{name}: {time.monotonic() - begun:.0f} s]\n")
        self.memory()


def networks(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Yield ResNet-56 and the networks of a sampling tree of ResNet-20, untrained."""
    torch.manual_seed(0)
    dense = build("resnet20", num_classes=10, image_size=bench.side)
    yield "ResNet-20", dense
    changes = [{"width": 0.45}, {"resolution": 0.5}, None]
    changes += [c for c in training.TREE if c and c not in changes]
    order = ["layer1.0", "layer1.1", "layer2.2", "layer3.1", "layer1.2", "layer2.1", "layer3.2"]
    for change in changes[:2] if bench.tiny else changes:
        if change is None:
            yield "ResNet-56", build("resnet56", num_classes=10, image_size=bench.side)
            continue
        label = " ".join(f"{axis} {level:g}" for axis, level in change.items())
        try:
            yield label, prune(dense, removal_order=order, **change)
        except Exception as error:
            bench.say(f"  {label:<18} left out: {type(error).__name__}: {error}")


def plain(bench: Bench, network: Network, data: ImageSet, batch: int) -> Any:
    """Return an epoch as in torchvision's tutorials."""
    workers = min(8, training.threads())
    return training.plain(network(), data, bench.device, workers, batch, bench.side)


def ours(bench: Bench, network: Network, data: ImageSet, batch: int, compute: Compute) -> Any:
    """Return an epoch of prune3d's training."""
    model = network()
    recipe = Recipe(epochs=10**4, batch_size=batch, learning_rate=1e-3, shift=4, flip=True)
    trainer = Trainer(Task(model, data, recipe, 0, compute=compute), bench.device)
    progress = Progress(recipe.epochs, 0, len(data))

    def epoch() -> None:
        with trainer._plan.repeatable():
            trainer.epoch(0, progress)

    return epoch


def bare(bench: Bench, network: Network, data: ImageSet, batch: int, captured: bool) -> Any:
    """Return forward and backward passes on one resident batch, one for each batch of the data."""
    model = network()
    plan = make_plan(Compute(), bench.device)
    model.to(bench.device)
    model.to(memory_format=plan.memory_format)
    model.train()
    inputs = data.normalize(data.images[:batch].to(bench.device), get_spec(model).side)
    inputs = inputs.contiguous(memory_format=plan.memory_format)
    labels = data.labels[:batch].to(bench.device)

    def once() -> None:
        with plan.autocast():
            logits = model(inputs)
        F.cross_entropy(logits.float(), labels).backward()
        for parameter in model.parameters():
            parameter.grad = None

    run: Callable[[], object] = once
    graph: Any = None
    with plan.repeatable():
        if captured and bench.device.type == "cuda":
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    once()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                once()
            run = graph.replay

    def passes(read: object = once) -> None:  # what a graph reads must stay referenced
        with plan.repeatable():
            for _ in range(len(data) // batch):
                run()

    return passes


def table(bench: Bench) -> None:
    """Compare over the networks of a sampling tree."""
    few, many = (bench.images(steps, max(bench.batches)) for steps in (12, 40))
    gains: dict[int, list[float]] = {batch: [] for batch in bench.batches}
    parts: dict[int, list[float]] = {batch: [] for batch in bench.batches}
    side = f"{bench.side}x{bench.side}"
    bench.say(f"images/s, resident images of {side}; plain: torchvision's loop with workers")
    head = ("plain", "eager", "captured", "bare", "bare captured")
    bench.say(f"  {'network, batch':<24}" + "".join(f"{name:>15}" for name in head))
    for label, model in networks(bench):
        if time.monotonic() > bench.ends - BEHIND_TABLE:
            bench.say(f"  {label} and further networks: left out, the time is over")
            break
        for batch in bench.batches:
            short = few if batch == max(bench.batches) else subset(few, len(few) // 2)
            network = partial(copy, model)
            eager = Compute(cuda_graph="never")
            works: list[tuple[Callable[[], Any], ImageSet]] = [
                (partial(plain, bench, network, short, batch), short),
                (partial(ours, bench, network, short, batch, eager), short),
                (partial(ours, bench, network, many, batch, bench.captured), many),
                (partial(bare, bench, network, short, batch, False), short),
                (partial(bare, bench, network, many, batch, True), many),
            ]
            rates, memory = [], []
            for make, data in works:
                bench.memory()
                work = make()
                rates.append(bench.rate(work, len(data)))
                del work
                memory.append(bench.memory())
            theirs, slow, found, _, best = rates
            shown = "".join(f"{rate:>15,.0f}" for rate in rates)
            bench.say(
                f"  {label + f', {batch}':<24}{shown}   {found / theirs:.2f} x plain, "
                f"{found / slow:.2f} x eager, {100 * found / best:.0f} % of bare captured; "
                f"MiB: plain {memory[0]:.0f}, eager {memory[1]:.0f}, captured {memory[2]:.0f}"
            )
            if label != "ResNet-56":
                gains[batch].append(found / theirs)
                parts[batch].append(found / best)
    for batch, goal in zip(bench.batches, GOALS, strict=True):
        if not gains[batch]:
            continue
        gain = statistics.geometric_mean(gains[batch])
        part = statistics.geometric_mean(parts[batch])
        bench.say(
            f"  batch {batch}, geometric means over {len(gains[batch])} of ResNet-20's tree: "
            f"{gain:.2f} x plain (goal {goal:g}), {100 * part:.1f} % of bare captured passes "
            "(goal 95)"
        )


def compiled(bench: Bench) -> None:
    """Have torch.compile inside the captured step."""
    data = bench.images(60, max(bench.batches))
    dense = build("resnet20", num_classes=10, image_size=bench.side)
    for batch in bench.batches[: 1 if bench.tiny else 2]:
        begun = time.perf_counter()
        epoch = ours(
            bench, partial(copy, dense), data, batch, replace(bench.captured, compile=True)
        )
        epoch()
        bench.wait()
        seconds = time.perf_counter() - begun
        rate = bench.rate(epoch, len(data))
        plain = bench.rate(
            ours(bench, partial(copy, dense), data, batch, bench.captured), len(data)
        )
        bench.say(
            f"ResNet-20, {batch}: compiled and captured {rate:,.0f} images/s, captured "
            f"{plain:,.0f}; {seconds:.0f} s until the first epoch was over"
        )


def width(bench: Bench) -> None:
    """Compare the arithmetic done in a second with cifar10-airbench's, on wide networks too."""
    for name in ("cifar_mobilenet_v2",) if bench.tiny else ("resnet110", "cifar_vgg16_bn"):
        batch = 8 if bench.tiny else 1024
        data = bench.images(50, batch)
        model = build(name, num_classes=10, image_size=bench.side)
        rate = bench.rate(ours(bench, lambda m=model: m, data, batch, bench.captured), len(data))
        # A MAC is two operations; backward passes take twice as many as forward passes.
        teraflops = 3 * 2 * cost(model).macs * rate / 1e12
        bench.say(
            f"{name}, batch {batch}: {rate:,.0f} images/s, {teraflops:.1f} TFLOP/s; "
            f"airbench94 on an A100: {training.AIRBENCH_TERAFLOPS:.0f} TFLOP/s"
        )


def variants(bench: Bench) -> None:
    """Time what the step's time depends on: bare captured passes and whole captured steps."""
    data = bench.images(60, max(bench.batches))
    dense = build("resnet20", num_classes=10, image_size=bench.side)
    uncounted = copy(dense)
    for module in uncounted.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.num_batches_tracked = None
    for batch in bench.batches[: 1 if bench.tiny else 2]:
        found = {
            "bare": bare(bench, partial(copy, dense), data, batch, True),
            "bare, batch norms that do not count": bare(
                bench, partial(copy, uncounted), data, batch, True
            ),
        }
        for name, change in {
            "step": {},
            "step, channels first": {"channels_last": "never"},
            "step, float32": {"precision": "float32", "channels_last": "never"},
        }.items():
            compute = replace(bench.captured, **change)
            found[f"{name}"] = ours(bench, partial(copy, dense), data, batch, compute)
        for name, work in found.items():
            bench.say(f"ResNet-20, {batch}, {name}: {bench.rate(work, len(data)):,.0f} images/s")
        recipe = Recipe(epochs=10**4, batch_size=batch, learning_rate=1e-3, shift=4, flip=True)
        task = Task(copy(dense), data, recipe, 0, compute=bench.captured)
        trainer = Trainer(task, bench.device)
        progress = Progress(recipe.epochs, 0, len(data))
        rate = bench.rate(lambda t=trainer, p=progress: t.epoch(0, p), len(data))
        bench.say(f"ResNet-20, {batch}, step, any algorithm of cuDNN: {rate:,.0f} images/s")


def decoders(bench: Bench) -> None:
    """Time decoders of JPEG pictures of ImageNet's usual size, the GPU's among them."""
    count = 4 if bench.tiny else PICTURES
    bench_decoders(bench.say, count)
    if bench.device.type != "cuda":
        return
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2.functional import resized_crop

    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), count)

        def on_gpu() -> None:
            data = [read_file(str(path)) for path in paths]
            found = decode_jpeg(data, mode=ImageReadMode.RGB, device=bench.device)
            for seed, image in enumerate(found):
                left, top, right, bottom = (round(v) for v in box_of(seed))
                part = (top, left, bottom - top, right - left)
                resized_crop(image, *part, size=[224, 224], antialias=True)

        try:
            rate = bench.rate(on_gpu, count)
            bench.say(f"  random part, resized to 224: the GPU and one core {rate:,.0f}")
        except Exception as error:
            bench.say(f"  the GPU: {type(error).__name__}: {error}")


def profile(bench: Bench) -> None:
    """Tell which kernels a step spends its time in."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    on_gpu = bench.device.type == "cuda"
    dense = build("resnet20", num_classes=10, image_size=bench.side)
    for batch in bench.batches[: 1 if bench.tiny else 2]:
        data = bench.images(10, batch)
        epoch = ours(bench, partial(copy, dense), data, batch, Compute(cuda_graph="never"))
        epoch()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profiler(activities=activities) as seen:
            epoch()
            bench.wait()
        key = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        text = seen.key_averages().table(sort_by=key, row_limit=40, max_name_column_width=70)
        (bench.out / f"profile{batch}.txt").write_text(text)
        bench.say(f"profile of 10 eager steps of {batch}: profile{batch}.txt")


def subset(data: ImageSet, count: int) -> ImageSet:
    """Return the first images."""
    return replace(data, images=data.images[:count], labels=data.labels[:count])


def copy(model: Any) -> Any:
    """Return a copy of a network on the CPU."""
    import copy

    return copy.deepcopy(model)


def main() -> None:
    """Run the parts that are asked for."""
    import gpu_checks
    import gpu_sharing

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/bench-gpu"))
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=[p for p in PARTS if p != ASKED_FOR]
    )
    parser.add_argument("--minutes", type=float, default=4.7, help="no part begins later")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not given.tiny:
        sys.exit("There is no GPU; --tiny tries the bench on a CPU.")
    torch.set_num_threads(training.threads())
    bench = Bench(given.out, device, given.tiny, time.monotonic() + 60 * given.minutes)
    card = torch.cuda.get_device_name() if device.type == "cuda" else "a CPU"
    bench.say(f"{card}, torch {torch.__version__}, {training.threads()} cores")
    known = {"checks": gpu_checks.checks, "table": table, "compiled": compiled, "width": width}
    known |= {"variants": variants, "decoders": decoders, "profile": profile}
    known |= {"sharing": gpu_sharing.sharing}
    for name in PARTS:
        if name in given.only:
            bench.part(name, known[name])


if __name__ == "__main__":
    main()

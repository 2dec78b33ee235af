"""Time the parts that must be fast, each against something known in the same run: `make bench`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decoders import bench_decoders
from training import bench_training

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


def median_seconds(work: Callable[[], object], runs: int = 5) -> float:
    """Return the median of several runs after one that does not count."""
    work()
    return statistics.median(seconds(work) for _ in range(runs))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of one run."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def show(what: str, took: float, limit: float | None = None) -> None:
    """Print one measurement and its goal."""
    goal = "" if limit is None else f"   goal {limit:g} s: {'met' if took < limit else 'MISSED'}"
    print(f"{what:<62}{took * 1000:>10.1f} ms{goal}")


def bench_predictor() -> None:
    """Fit 64 samples, beside tensorly's CP regression; a thousand refits."""
    import tensorly
    from tensorly.regression import CPRegressor

    from prune3d.predictor import LowRankPolynomialRegressor, PolynomialRegressor, bootstrap

    rng = np.random.default_rng(0)
    X = rng.uniform(0.2, 1, (64, 3))
    y = 0.9 - 0.1 * ((1 - X) ** 2).sum(1) + rng.normal(0, 0.003, 64)
    powers = (2 * X - 1.2)[:, :, None] ** np.arange(4)  # about [-1, 1], as monomials like it
    tensors = np.einsum("ni,nj,nk->nijk", *powers.swapaxes(0, 1))
    tensorly.set_backend("numpy")
    full = PolynomialRegressor()
    show("fit the full polynomial to 64 samples", median_seconds(lambda: full.fit(X, y)), 0.2)
    for rank in (1, 2, 3):
        ours = LowRankPolynomialRegressor(rank=rank)
        show(
            f"fit rank {rank}, eight starts, to 64 samples",
            median_seconds(lambda ours=ours: ours.fit(X, y)),
            0.2,
        )
        theirs = CPRegressor(rank, tol=1e-9, reg_W=1e-2, n_iter_max=500, random_state=0, verbose=0)
        took = median_seconds(lambda theirs=theirs: theirs.fit(tensors, y), 1)
        show(f"  tensorly's CPRegressor, rank {rank}, one start", took)
        show(
            f"  1,000 bootstrap refits of rank {rank}",
            median_seconds(lambda ours=ours: bootstrap(ours, X, y), 1),
            30.0,
        )
    show("1,000 bootstrap refits of the full one", median_seconds(lambda: bootstrap(full, X, y), 1))


def bench_search() -> None:
    """Search a million networks, beside scipy's brute force on the same surface."""
    import resource

    from scipy.optimize import brute

    from prune3d.costs.lattice import Lattice
    from prune3d.optimize import maximize
    from prune3d.predictor import LowRankPolynomialRegressor, bootstrap

    rng = np.random.default_rng(0)
    X = rng.uniform(0.2, 1, (64, 3))
    y = 0.9 - 0.1 * ((1 - X) ** 2).sum(1) + rng.normal(0, 0.003, 64)
    predictor = LowRankPolynomialRegressor().fit(X, y)
    refits = bootstrap(predictor, X, y)
    depth, width, side = np.linspace(0.1, 1, 50), np.linspace(0.05, 1, 400), np.linspace(0.1, 1, 50)
    macs = (1e9 * depth[:, None, None] * width[:, None] ** 2 * side**2).astype(np.int64)
    lattice = Lattice(
        depth=depth,
        width=np.tile(width, (50, 1)),
        resolution=side,
        macs=macs,
        params=np.ones((50, 400), dtype=np.int64),
        dense_macs=10**9,
    )
    every = median_seconds(lambda: maximize(predictor, lattice, 1.0, floor=0.0), 3)
    show("search a lattice of 1,000,000 networks", every, 5.0)
    show(
        "  within a quarter of the MACs, with ties over 1,000 refits",
        median_seconds(lambda: maximize(predictor, lattice, 0.25, refits=refits), 3),
        5.0,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"  memory at most, scikit-learn and all: {peak:.2f} GB")
    grid = tuple(slice(0.1, 1.0, 20j) for _ in range(3))
    took = median_seconds(
        lambda: brute(lambda x: -float(predictor.predict(x[None])[0]), grid, finish=None), 1
    )
    show("  scipy's brute force over 8,000 points", took)
    print(f"  a point by point takes {took / 8000 / (every / 1e6):,.0f} times as long")


def bench_lattice() -> None:
    """Compose the costs of a lattice, against measuring one network at a time."""
    import torch

    from prune3d import build, cost, prune
    from prune3d.costs.structure import enumerate_lattice
    from prune3d.pruning.analyze import analyze
    from prune3d.pruning.dense import present_blocks

    torch.set_num_threads(1)
    model = build("resnet56", num_classes=10, image_size=32)
    order = [block.name for block in present_blocks(model) if block.removable]
    structure = analyze(model)
    widths = np.linspace(0.008, 1, 125)
    shape = enumerate_lattice(structure, order, widths, structure.sides).macs.shape
    composed = median_seconds(lambda: enumerate_lattice(structure, order, widths, structure.sides))
    show(f"compose the costs of {np.prod(shape):,} networks of ResNet-56", composed, 2.0)
    one = median_seconds(lambda: cost(prune(model, width=0.5, removal_order=order)), 3)
    show("prune and measure one of them", one)
    ratio = one * np.prod(shape) / composed
    print(f"  measured one by one, all would take {ratio:,.0f} times as long")


def bench_resnet50() -> None:
    """Prune ResNet-50 at 224x224 to a budget, and compose all that pruning can give."""
    import os

    import torch

    from prune3d import build, cost, prune
    from prune3d.optimize.policies import LatticeOptions, enumerate_candidates
    from prune3d.pruning.analyze import analyze

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = build("resnet50", num_classes=1000, image_size=224)
    small: list[torch.nn.Module] = []
    took = seconds(lambda: small.append(prune(model, macs=0.5)))
    show("prune ResNet-50 at 224x224 to half of its MACs, first time", took, 20.0)
    reached = cost(small[0]).macs / cost(model).macs
    print(
        f"  it has {reached:.4f} of the MACs   goal 1 %: {'met' if reached > 0.495 else 'MISSED'}"
    )
    structure = analyze(model)
    show("  find its legal image sides and all layers' positions", seconds(lambda: analyze(model)))
    order = list(structure.removable)
    options = LatticeOptions(width_step=0.001, side_step=1)
    macs = enumerate_candidates(structure, order, options).lattice.macs
    took = median_seconds(lambda: enumerate_candidates(structure, order, options), 3)
    show(f"  compose the costs of all its {macs.size:,} networks", took, 5.0)


def bench_start() -> None:
    """Start a job that trains and one that fits, against the imports they need."""
    interpreter = sys.executable

    def run(code: str) -> None:
        subprocess.run([interpreter, "-c", code], check=True, cwd=ROOT / "scripts")

    load = (
        "import torch; from prune3d import build, prune, save, load; "
        "m = build('resnet32', 10, 8, in_channels=1); p = prune(m, width=0.5); "
        "import tempfile, pathlib; f = pathlib.Path(tempfile.mkdtemp()) / 'm.safetensors'; "
        "save(p, f); load(f); f.unlink(); f.parent.rmdir()"
    )
    run(load)
    pairs = [(seconds(lambda: run("import torch")), seconds(lambda: run(load))) for _ in range(5)]
    show("start Python and import torch", statistics.median(a for a, _ in pairs))
    show(
        "the same, and build, prune, save and load ResNet-32",
        statistics.median(b for _, b in pairs),
    )
    show("  more than the import, pair by pair", statistics.median(b - a for a, b in pairs), 0.5)


def bench_optimizer() -> None:
    """Make an optimizer and take its first step, in a fresh process each."""
    head = "import torch, time; m = torch.nn.Linear(9, 9); m(torch.ones(1, 9)).sum().backward(); "
    ours = (
        "t = time.perf_counter(); from prune3d.train.sgd import NesterovSGD; "
        "NesterovSGD(m, 0.9, 0.0).step(0.1); print(time.perf_counter() - t)"
    )
    theirs = (
        "t = time.perf_counter(); o = torch.optim.SGD(m.parameters(), 0.1, 0.9, nesterov=True); "
        "o.step(); print(time.perf_counter() - t)"
    )
    for what, code in (
        ("prune3d's SGD: first step", ours),
        ("torch.optim.SGD: first step", theirs),
    ):
        done = subprocess.run(
            [sys.executable, "-c", head + code],
            check=True,
            cwd=ROOT / "scripts",
            capture_output=True,
            text=True,
        )
        show(what, float(done.stdout))


def bench_data() -> None:
    """Draw glyphs, and decode picture files."""
    from prune3d.data.glyphs import TRAIN, draw
    from prune3d.data.settings import GlyphSettings

    how = GlyphSettings()
    show("draw 1,000 glyphs of 32x32", median_seconds(lambda: draw(how, 32, TRAIN, 0, 1000)))
    bench_decoders()


if __name__ == "__main__":
    for bench in (
        bench_data,
        bench_predictor,
        bench_search,
        bench_lattice,
        bench_resnet50,
        bench_start,
        bench_optimizer,
        bench_training,
    ):
        bench()

"""Which convolutions torch computes wrongly on this CPU, or dies of.

`python tests/bench/scan_convolutions.py [--quick] [--mended]`: outputs and gradients are compared
with those in float64, at every instruction set that ONEDNN_MAX_CPU_ISA allows, one thread and two,
in both orders of memory. `--mended` asks for gradients as prune3d's trainings do. Batches of cases
share a process; where one dies or hangs, each of its cases gets a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ISAS = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_BF16",
    "ALL",
)
DEBUG_LIBRARY = Path("/usr/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")
TOLERANCE = {"float32": 1e-4, "bfloat16": 3e-2}  # of the largest value
BATCH = 10
# Before it counts as hanging; the first case of a process alone takes seconds on a busy machine.
SECONDS = {"batch": 120.0, "case": 60.0}
# A case takes milliseconds then. Without AVX-512 a product in bfloat16 takes about a nanosecond.
MOST_PRODUCTS = 10_000_000
REPEATS = 3


@dataclass(frozen=True)
class Case:
    """A convolution; `groups` divides both numbers of channels."""

    kernel: int
    stride: int
    inputs: int
    outputs: int
    groups: int
    side: int
    images: int
    dtype: str
    last: bool

    @property
    def products(self) -> int:
        """Multiplications of one forward pass."""
        pixels = self.images * ((self.side - 1) // self.stride + 1) ** 2
        return pixels * self.outputs * self.inputs // self.groups * self.kernel**2


def cases(seed: int = 0) -> Iterator[Case]:
    """Yield random cases, few channels and channels-last order more often than the others."""
    draw = random.Random(seed)
    for i in itertools.count():
        groups = draw.choice((1, 1, 1, 2, 4, 8))
        widest = draw.choice((8, 16, 64)) // groups
        inputs, outputs = (groups * draw.randint(1, max(1, widest)) for _ in range(2))
        if i % 8 == 7:  # depthwise
            groups = outputs = inputs
        case = Case(
            kernel=draw.choice((1, 1, 3)),
            stride=draw.randint(1, 4),
            inputs=inputs,
            outputs=outputs,
            groups=groups,
            side=draw.choice((1, 2, 4, 7, 8, 14, 28, draw.randint(1, 56))),
            images=draw.choice((2, 17, 32)),
            dtype=draw.choice(("float32", "float32", "bfloat16")),
            last=draw.random() < 0.8,
        )
        few = max(1, case.images * MOST_PRODUCTS // max(case.products, MOST_PRODUCTS))
        yield replace(case, images=few)


def verdict(case: Case) -> str:
    """Return ``right``, ``not computed``, or what is wrong."""
    import torch
    import torch.nn.functional as F

    dtype = getattr(torch, case.dtype)
    layout = torch.channels_last if case.last else torch.contiguous_format
    torch.manual_seed(0)
    shape = (case.outputs, case.inputs // case.groups, case.kernel, case.kernel)
    padding = case.kernel // 2
    for _ in range(REPEATS):
        x = torch.randn(case.images, case.inputs, case.side, case.side).to(dtype)
        x = x.to(memory_format=layout).requires_grad_()
        w = torch.randn(shape).to(dtype).to(memory_format=layout).requires_grad_()
        xd, wd = (t.detach().double().requires_grad_() for t in (x, w))
        exact = F.conv2d(xd, wd, None, case.stride, padding, 1, case.groups)
        weights = torch.randn(exact.shape).to(dtype)
        exact.backward(weights.double())
        try:
            found = F.conv2d(x, w, None, case.stride, padding, 1, case.groups)
            found.backward(weights.to(memory_format=layout))
        except RuntimeError:
            return "not computed"
        pairs = {"output": (found, exact), "input": (x.grad, xd.grad), "weight": (w.grad, wd.grad)}
        for what, (ours, theirs) in pairs.items():
            assert ours is not None and theirs is not None
            off = float((ours - theirs).detach().abs().max())
            if not off <= TOLERANCE[case.dtype] * max(float(theirs.detach().abs().max()), 1e-6):
                return f"wrong {what}"
    return "right"


def _in_child(batch: list[Case], threads: int, seconds: float) -> tuple[list[str], str]:
    """Judge cases in a fork of this process; return verdicts and how it ended, empty if well."""
    import torch

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        torch.set_num_threads(threads)
        for case in batch:
            os.write(writer, (verdict(case) + "\n").encode())
        os._exit(0)
    os.close(writer)
    said, end = b"", time.monotonic() + seconds
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(reader, 65536)
        if not part:
            break
        said += part
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    how = (
        "hangs"
        if number == signal.SIGKILL
        else f"dies of {signal.Signals(number).name}"
        if number
        else ""
    )
    return said.decode().splitlines(), how


def scan(count: int, threads: int, mended: bool, seconds: float) -> None:
    """Judge as many cases as time allows; print faults and counts as lines of JSON."""
    sys.path.insert(0, str(ROOT / "scripts"))
    if mended:
        from prune3d.train.convolutions import avoid_faulty_kernel

        avoid_faulty_kernel()
    drawn, counts, end = (
        itertools.islice(cases(), count),
        Counter[str](),
        time.monotonic() + seconds,
    )
    while time.monotonic() < end and (batch := list(itertools.islice(drawn, BATCH))):
        found, ended = _in_child(batch, threads, SECONDS["batch"])
        if ended:
            found = []
            for case in batch:
                said, how = _in_child([case], threads, SECONDS["case"])
                found.append(how or said[0])
        for case, what in zip(batch, found, strict=True):
            counts[what] += 1
            if what not in ("right", "not computed"):
                print(json.dumps({"case": asdict(case), "what": what}), flush=True)
    print(json.dumps({"counts": counts}), flush=True)


def run_scan(
    isa: str, threads: int, count: int, mended: bool, seconds: float
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Scan in a process of its own with one instruction set; return faults and counts."""
    limits = {"ONEDNN_MAX_CPU_ISA": isa, "OMP_NUM_THREADS": str(threads)}
    limits |= {"OMP_WAIT_POLICY": "passive", "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    if DEBUG_LIBRARY.exists():
        limits["LD_PRELOAD"] = str(DEBUG_LIBRARY)
    command = [sys.executable, __file__, "--child", str(threads)]
    command += ["--count", str(count), "--seconds", str(seconds)]
    done = subprocess.run(
        [*command, *(["--mended"] if mended else [])],
        env={**os.environ, **limits},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    *faults, last = [json.loads(line) for line in done.stdout.splitlines()]
    return faults, last["counts"]


def main() -> int:
    """Scan; return 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few cases, AVX2 and all instructions")
    parser.add_argument("--mended", action="store_true", help="as prune3d's trainings do")
    parser.add_argument("--count", type=int, help="cases of an instruction set and thread count")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, for each")
    parser.add_argument("--isa", choices=ISAS, nargs="+", help="by default all that there are")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    count = given.count or (150 if given.quick else 3000)
    if given.child:
        scan(count, given.child, given.mended, given.seconds)
        return 0
    wrong = 0
    for isa in given.isa or (("AVX2", "ALL") if given.quick else ISAS):
        for threads in (1, 2):
            faults, counts = run_scan(isa, threads, count, given.mended, given.seconds)
            wrong += len(faults)
            told = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
            print(f"{isa}, threads {threads}: {told}", flush=True)
            for fault in faults:
                print(f"  {fault['what']}: {Case(**fault['case'])}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

"""A run of the workflow on a cluster, simulated: how long it would take, and what bounds it.

The jobs and what they wait for are those of a dry run; their durations are recorded ones. Jobs that
need a GPU share so many of them, those of the login node share its cores, and all others run as
soon as they can.
"""

from __future__ import annotations

import csv
import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from prune3d.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GPU, LOGIN, OTHER = "gpu", "login", "other"


@dataclass(frozen=True)
class SimulatedJob:
    """A job of a dry run.

    Attributes
    ----------
    rule
        Its rule.
    pool
        `GPU`, `LOGIN` or `OTHER`: what it takes one of while it runs.
    needs
        Indices of the jobs whose files it reads; all smaller than its own.
    experiment
        Its experiment, where it is of one.
    """

    rule: str
    pool: str
    needs: tuple[int, ...]
    experiment: str = ""


@dataclass(frozen=True)
class Outcome:
    """A simulated run.

    Attributes
    ----------
    makespan
        Seconds from the first job's start to the last one's end.
    gpu_seconds
        Sum over the jobs that need a GPU.
    bound
        The longest chain of jobs in seconds: no number of GPUs makes it shorter.
    critical_path
        The rules of that chain in order.
    """

    makespan: float
    gpu_seconds: float
    bound: float
    critical_path: tuple[str, ...]


def parse_dry_run(text: str, login_rules: Iterable[str] = ()) -> list[SimulatedJob]:
    """Read the jobs that ``snakemake -n`` lists, each after those that it needs.

    Parameters
    ----------
    text
        What Snakemake printed, without ``--quiet``.
    login_rules
        Rules that the login node runs itself.

    Raises
    ------
    UserError
        If no job is listed.
    """
    login = set(login_rules)
    blocks = re.split(r"\n(?=(?:local)?rule )", text)
    found: list[tuple[str, str, list[str], str]] = []
    maker: dict[str, int] = {}
    for block in blocks:
        name = re.match(r"(?:local)?rule (\w+):", block)
        if name is None:
            continue
        rule = name.group(1)
        pool = LOGIN if rule in login else GPU if re.search(r"\bgpu=[1-9]", block) else OTHER
        maker.update(dict.fromkeys(_files(block, "output"), len(found)))
        experiment = re.search(r"^    wildcards: .*?\bexperiment=([^,\n]+)", block, re.MULTILINE)
        named = experiment.group(1) if experiment else ""
        found.append((rule, pool, _files(block, "input"), named))
    if not found:
        raise UserError("the dry run lists no job; give snakemake -n --forceall, without --quiet.")
    needs = [sorted({maker[f] for f in files if f in maker}) for _, _, files, _ in found]
    order = _topological(needs)
    place = {old: new for new, old in enumerate(order)}
    return [
        SimulatedJob(
            found[i][0], found[i][1], tuple(sorted(place[n] for n in needs[i])), found[i][3]
        )
        for i in order
    ]


def read_durations(path: Path) -> dict[str, float]:
    """Read the mean seconds of a job of each rule from a ``results/tables/resources.csv``."""
    with path.open(encoding="utf-8") as stream:
        return {row["rule"]: float(row["seconds_mean"]) for row in csv.DictReader(stream)}


def simulate(
    jobs: Sequence[SimulatedJob],
    seconds: Mapping[str, float],
    gpus: int,
    login_cores: int = 2,
    wait: float = 0.0,
) -> Outcome:
    """Run all jobs, those that have been ready for longest first.

    Parameters
    ----------
    jobs
        Each after those that it needs.
    seconds
        Duration of a job of each rule; a rule without one takes none.
    gpus, login_cores
        How many there are.
    wait
        Seconds in the queue before each job that does not run on the login node.
    """
    free = {GPU: gpus, LOGIN: login_cores, OTHER: len(jobs)}
    queues: dict[str, list[tuple[float, int]]] = {GPU: [], LOGIN: [], OTHER: []}
    missing = [len(job.needs) for job in jobs]
    followers: dict[int, list[int]] = defaultdict(list)
    for i, job in enumerate(jobs):
        for needed in job.needs:
            followers[needed].append(i)
        if not job.needs:
            heapq.heappush(queues[job.pool], (0.0, i))
    ends: list[tuple[float, int]] = []
    now = 0.0
    while True:
        for pool, queue in queues.items():
            while queue and free[pool]:
                _, i = heapq.heappop(queue)
                free[pool] -= 1
                heapq.heappush(ends, (now + _length(jobs[i], seconds, wait), i))
        if not ends:
            break
        now, i = heapq.heappop(ends)
        free[jobs[i].pool] += 1
        for follower in followers[i]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(queues[jobs[follower].pool], (now, follower))
    path, bound = longest_chain(jobs, seconds, wait)
    spent = sum(seconds.get(job.rule, 0.0) for job in jobs if job.pool == GPU)
    return Outcome(now, spent, bound, tuple(jobs[i].rule for i in path))


def longest_chain(
    jobs: Sequence[SimulatedJob], seconds: Mapping[str, float], wait: float = 0.0
) -> tuple[list[int], float]:
    """Return the chain of jobs that takes longest, in order, and its seconds."""
    end: list[float] = []
    before: list[int] = []
    for job in jobs:
        latest = max(job.needs, key=end.__getitem__, default=-1)
        begun = end[latest] if latest >= 0 else 0.0
        before.append(latest)
        end.append(begun + _length(job, seconds, wait))
    last = max(range(len(jobs)), key=end.__getitem__)
    path = []
    i = last
    while i >= 0:
        path.append(i)
        i = before[i]
    return path[::-1], end[last]


def in_short(path: Sequence[str]) -> str:
    """Return a chain of rules with repeated parts counted: ``a, 3 x (b, c), d``."""
    parts: list[tuple[str, ...]] = []
    i = 0
    while i < len(path):
        pair = tuple(path[i : i + 2])
        repeats = 1
        while tuple(path[i + 2 * repeats : i + 2 * repeats + 2]) == pair:
            repeats += 1
        if repeats > 1 and len(set(pair)) == 2:
            parts += [pair] * repeats
            i += 2 * repeats
        else:
            parts.append((path[i],))
            i += 1
    words = []
    for part, same in groupby(parts):
        count = len(list(same))
        text = ", ".join(part)
        words.append(text if count == 1 and len(part) == 1 else f"{count} x ({text})")
    return ", ".join(words)


def draw_makespans(runs: Mapping[str, Mapping[int, Outcome]]) -> Figure:
    """Draw makespan over the number of GPUs, and below what it cannot fall.

    Parameters
    ----------
    runs
        For each name, the outcome on each number of GPUs.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 4.0), layout="constrained")
    for name, outcomes in runs.items():
        gpus = list(outcomes)
        (line,) = axes.plot(
            gpus, [o.makespan / 3600 for o in outcomes.values()], marker="o", label=name
        )
        bound = outcomes[gpus[0]].bound / 3600
        axes.axhline(bound, color=line.get_color(), linestyle=":", linewidth=1)
        axes.annotate(
            f"longest chain of {name}: {bound:.1f} h", (gpus[0], bound), fontsize=8, va="bottom"
        )
    axes.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="makespan in hours")
    axes.set_xticks(gpus, [str(n) for n in gpus])
    low, high = axes.get_ylim()
    steps = [step * 10**power for power in range(-2, 6) for step in (1, 2, 5)]
    ticks = [tick for tick in steps if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


def _length(job: SimulatedJob, seconds: Mapping[str, float], wait: float) -> float:
    return seconds.get(job.rule, 0.0) + (0.0 if job.pool == LOGIN else wait)


def _files(block: str, kind: str) -> list[str]:
    line = re.search(rf"^    {kind}: (.*)$", block, flags=re.MULTILINE)
    return line.group(1).split(", ") if line else []


def _topological(needs: Sequence[Sequence[int]]) -> list[int]:
    missing = [len(needed) for needed in needs]
    followers: dict[int, list[int]] = defaultdict(list)
    for i, needed in enumerate(needs):
        for n in needed:
            followers[n].append(i)
    ready = [i for i, count in enumerate(missing) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for follower in followers[i]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, follower)
    return order

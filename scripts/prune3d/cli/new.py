"""``prune3d new``: a config for one's own pictures and network, after looking at them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from prune3d.cli.networks import AsJson, Given, Side, is_model_file, open_network
from prune3d.cli.output import show
from prune3d.errors import UserError
from prune3d.models.registry import is_own, own_file, own_name
from prune3d.optimize.rounds import ROUNDS, RerankOptions
from prune3d.sampling.tree import AXES

if TYPE_CHECKING:
    from torch import nn

    from prune3d.costs.prunable import Prunable

LEVELS = 4  # of each dimension
USUAL_MULTIPLE = 8  # as in config/config.yaml
EPOCHS = {"dense": 30, "finetune": 10, "final": 30}
LOOKED_AT, TIMED = 200, 32
TRIALS = RerankOptions(candidates=2, keep=2, part=0.2)  # as in config/config.yaml
# Jobs: made once, for each sample, and for each policy that prunes.
ONCE, PER_SAMPLE, PER_POLICY = 24, 2, 6


def new(
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="Class folders.")],
    network: Annotated[
        str, typer.Argument(metavar="NETWORK", help="Name, or path/to/file.py:function.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Config to write.")],
    side: Side = None,
    macs: Annotated[float, typer.Option(help="Budget: ratio of the dense MACs.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Write a config for your own pictures and network.

    It looks at both first. The side of the images is, unless given, the middle one of the
    pictures' shorter sides, at most 224 pixels.

    \b
    Examples:
      prune3d new pictures resnet20 --side 32 -o mine.yaml
      prune3d new pictures resnet8 --side 16 --macs 0.25 -o quarter.yaml --json
    """  # noqa: D301
    from prune3d.costs.levels import auto_levels
    from prune3d.costs.prunable import Prunable
    from prune3d.files import write_text
    from prune3d.pruning.analyze import analyze

    if not 0 < macs < 1:
        raise UserError(f"--macs is {macs}; allowed is above 0 and below 1.")
    if output.exists():
        raise UserError(f"{output} exists; name another file, or move it away.")
    if is_model_file(network):
        raise UserError(
            f"{network} is a model file; give the name of its network, and its weights, as a "
            "state_dict, under model.checkpoint of the config."
        )
    found = _look_at(pictures)
    chosen = side or min(found["shorter_side"], 224)
    model = open_network(network, Given(found["classes"], chosen))
    structure = analyze(model)
    prunable = Prunable.of_structure(structure)
    round_to = _multiple(macs, prunable)
    levels = {axis: list(auto_levels(axis, LEVELS, macs, prunable, round_to)) for axis in AXES}
    hours = _hours(model, found["training"], levels, macs)
    jobs = _jobs(levels)
    starts = jobs * _start() / 3600
    told = [
        f"{found['classes']} classes, {found['training']} training and {found['test'] or 'no'} "
        f"test pictures; the smallest class has {found['fewest']}",
        f"shorter sides of the pictures: {found['shorter_side']} pixels in the middle",
        f"{network}: {structure.summary()}",
        f"its trainings take about {_about(hours)} a seed on one core of this machine, no GPU, and "
        f"the starts of its {jobs} jobs about {_about(starts)}",
    ]
    # Elsewhere than in the checkout, where the command is to be given, names must be whole.
    if not Path("Snakefile").is_file():
        pictures, output = pictures.resolve(), output.resolve()
        if is_own(network):
            network = f"{own_file(network).resolve()}:{own_name(network)}"
    lines = _lines(_name(output), pictures, network, chosen, macs, round_to, levels, told)
    write_text(output, "\n".join(lines) + "\n")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    command = f"snakemake --cores {cores or 1} --rerun-incomplete --configfile {quote(str(output))}"
    value = {
        **found,
        "side": chosen,
        "hours": hours + starts,
        "jobs": jobs,
        "config": str(output),
        "command": command,
    }
    show(
        value, as_json, *told, f"{output} is written; now, in the folder of the Snakefile:", command
    )


def _name(output: Path) -> str:
    """Return the name of the experiment: the file's, as far as it can be one."""
    from prune3d.workflow.paths import RESERVED

    name = "".join(c if c.isalnum() and c.isascii() else "-" for c in output.stem).strip("-")
    return f"{name}-run" if name in RESERVED else name or "mine"


def _multiple(macs: float, prunable: Prunable) -> int:
    """Return the multiple to keep channels in: the usual one, or 1 where layers are too narrow."""
    from prune3d.costs.levels import auto_levels

    usual, fine = (
        auto_levels("width", LEVELS, macs, prunable, multiple) for multiple in (USUAL_MULTIPLE, 1)
    )
    return USUAL_MULTIPLE if len(usual) == len(fine) else 1


def _look_at(pictures: Path) -> dict[str, int]:
    """Return counts of classes and pictures, and the middle of the shorter sides in pixels."""
    from PIL import Image

    from prune3d.cli.pictures import parts_of
    from prune3d.data.folders import class_names, list_pictures

    train, test = parts_of(pictures)
    classes = class_names(train)
    listed = list_pictures(train, train, classes)
    count = len(listed.names)
    sides = []
    for i in range(0, count, max(1, count // LOOKED_AT)):
        try:
            with Image.open(listed.path(i)) as picture:
                sides.append(min(picture.size))
        except OSError as error:
            raise UserError(f"{listed.path(i)} cannot be read as a picture ({error}).") from None
    per_class = [int((listed.labels == label).sum()) for label in range(len(classes))]
    return {
        "classes": len(classes),
        "training": count,
        "test": len(list_pictures(test, test, classes).names) if test else 0,
        "fewest": min(per_class),
        "shorter_side": int(statistics.median(sides)),
    }


def _hours(model: nn.Module, images: int, levels: Mapping[str, list[float]], macs: float) -> float:
    """Return the time of all trainings from that of some steps, by multiply-accumulates."""
    import torch

    from prune3d.models.assembly import get_spec
    from prune3d.pruning.timing import LatencyOptions, threads_of

    spec = get_spec(model)
    batch = torch.zeros(TIMED, spec.in_channels, spec.side, spec.side)
    model.train()
    taken = []
    with threads_of(LatencyOptions(threads=1)):
        for _ in range(4):
            # Of the processor, which a busy machine does not lengthen.
            begun = time.process_time()
            model(batch).sum().backward()
            taken.append(time.process_time() - begun)
    powers = {"depth": 1, "width": 2, "resolution": 2}
    # The dense network is a sample and, as a control, trained as final networks are.
    samples = 1 + sum(level ** powers[axis] for axis, some in levels.items() for level in some)
    trials = sum(TRIALS.places(name) * TRIALS.part_of(name) for name in ROUNDS)
    finals = 1 + (len(_pruning_policies(levels)) + trials) * macs
    passes = EPOCHS["dense"] + EPOCHS["finetune"] * samples + EPOCHS["final"] * finals
    return images * passes * min(taken) / TIMED / 3600


def _jobs(levels: Mapping[str, list[float]]) -> int:
    """Return how many jobs a run of one seed has, see `prune3d.workflow.plan`."""
    samples, policies = sum(map(len, levels.values())), len(_pruning_policies(levels))
    trials = sum(map(TRIALS.places, ROUNDS))
    return ONCE + PER_SAMPLE * samples + PER_POLICY * policies + trials


def _start() -> float:
    """Return the processor's seconds in which a job's process starts, most of them torch's."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import torch"], check=False)
    after = os.times()
    return after.children_user + after.children_system - sum(before[2:4])


def _pruning_policies(levels: Mapping[str, list[float]]) -> list[str]:
    """Return the method and the policies of single dimensions that the network can be pruned in."""
    return ["dwr", *(axis for axis, some in levels.items() if some)]


def _about(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(60 * hours))} minutes"


def _lines(
    name: str,
    pictures: Path,
    network: str,
    side: int,
    macs: float,
    round_to: int,
    levels: Mapping[str, list[float]],
    told: list[str],
) -> Iterator[str]:
    import json

    yield "# Written by prune3d new. It is laid over config/config.yaml; keys: config/README.md."
    yield from (f"# {' '.join(line.split())}" for line in told)
    quoted = json.dumps(name)  # YAML would take some names for numbers, dates or truth values
    yield f"run: [{quoted}]"
    yield "seeds: [0]                  # judge policies by three: [0, 1, 2]"
    yield "experiments:"
    yield f"  {quoted}:"
    yield f"    data: {{name: imagefolder, root: {json.dumps(str(pictures))}, side: {side}}}"
    yield "    model:"
    yield f"      name: {json.dumps(network)}"
    yield "      checkpoint: null        # a file of weights, instead of training"
    for section, epochs in EPOCHS.items():
        yield f"    {section}: {{epochs: {epochs}, flip: false}}  # true: mirrored"
    yield f"    pruning: {{round_to: {round_to}}}    # channels in multiples, see docs/models.md"
    yield "    sampling:                 # what this network can be pruned to"
    yield from (f"      {axis}: {some}" for axis, some in levels.items())
    yield "      holdout: []"
    shortest = min((len(some) for some in levels.values() if some), default=1)
    yield f"    predictor: {{degree: {min(3, shortest)}}}"
    yield f"    budgets: [{{name: small, macs: {macs}}}]"
    yield f"    policies: [{', '.join(['dense_longer', *_pruning_policies(levels)])}]"

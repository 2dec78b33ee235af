"""How many known networks can be pruned, beside torch-pruning.

`python tests/bench/known_networks.py` runs them.

Each network has a process of its own, with limits on time and memory. A line of JSON for each
goes to the file given by --out as soon as it is there, and what is there already is not done again;
a later line of a network adds to the earlier ones. --table prints the summary of a file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
TORCHVISION = """import torchvision


def build(num_classes):
    return torchvision.models.get_model("{name}", num_classes=num_classes)
"""
# Of one core, for the analysis and for each pruning.
SECONDS = 60.0
TRANSFORMERS = ("vit", "swin", "maxvit")
# One or two of each family of convolutional networks.
TIMM = """
botnet26t_256 halonet26t lambda_resnet26t eca_resnext26ts gcresnext26ts gernet_s repvgg_a0 resnet26t
resnext26ts seresnext26ts mobileone_s0 bat_resnext26ts convmixer_768_32 convnext_atto
convnext_atto_ols convnext_atto_rms convnextv2_atto csatv2 cs3darknet_s cs3darknet_focus_s
cspresnet50 cspresnext50 cspdarknet53 darknet17 darknet53 darknetaa53 cspnext_tiny densenet121
densenetblur121d dla34 dla60_res2net dpn48b dpn68 edgenext_xx_small efficientformer_l1
efficientformerv2_s0 efficientnet_b0 efficientnet_b0_gn efficientnet_b0_g8_gn efficientnet_es
efficientnet_lite0 efficientnet_blur_b0 efficientnet_cc_b0_4e efficientnetv2_s mnasnet_100
mobilenetv1_100 mobilenetv2_100 mixnet_s fbnetc_100 spnasnet_100 tinynet_e tf_efficientnet_b0
efficientvit_b0 efficientvit_m0 fasternet_t0 fastvit_t8 ghostnet_100 ghostnetv2_100 ghostnetv3_100
hardcorenas_a hgnet_tiny hgnetv2_b0 hrnet_w18_small inception_next_atto inception_resnet_v2
inception_v3 inception_v4 lcnetv2_small lcnet_050 fbnetv3_b mobilenetv3_small_100
mobilenetv4_conv_small mobilevit_xxs mobilevitv2_050 mambaout_femto nasnetalarge dm_nfnet_f0
nfnet_l0 nf_resnet26 nf_regnet_b0 poolformer_s12 convformer_s18 poolformerv2_s12 pnasnet5large
rdnet_tiny regnetx_002 regnety_002 regnetz_b16 regnetv_040 repghostnet_050 repvit_m0_9
res2net50_26w_4s res2net50_14w_8s res2next50 resnest14d resnest26d resnet10t resnet18 resnet50
resnet50d resnet50s resnetaa50 resnetblur18 ecaresnet26t ecaresnetlight seresnet18
seresnext26d_32x4d resnetrs50
wide_resnet50_2 resnext50_32x4d resnetv2_18 resnetv2_50x1_bit resnetv2_50t rexnet_100
rexnetr_100 selecsls42b legacy_seresnet18 legacy_seresnext26_32x4d shvit_s1 skresnet18
skresnext50_32x4d starnet_s1 starnet_s050 swiftformer_xs tresnet_m vgg11 vgg11_bn ese_vovnet19b_dw
ese_vovnet39b eca_vovnet39b legacy_xception xception41 xception41p visformer_tiny
""".split()  # noqa: SIM905 - a list of names is read more easily so


def names() -> list[str]:
    """Return the networks of the list: those of torchvision, small ones first, then timm's."""
    import torchvision

    def size(name: str) -> int:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        return int(weights.meta["num_params"])

    listed = torchvision.models.list_models(module=torchvision.models)
    convolutional = sorted((n for n in listed if not n.startswith(TRANSFORMERS)), key=size)
    # In an order drawn once, so that the first of them are a sample.
    drawn = random.Random(0).sample(TIMM, len(TIMM))
    return [f"torchvision/{n}" for n in convolutional] + [f"timm/{n}" for n in drawn]


def built(name: str) -> Any:
    """Build a network at the smallest side in the list that it takes."""
    import torch

    import prune3d

    if name.startswith("torchvision/"):
        file = Path(tempfile.mkdtemp()) / "network.py"
        file.write_text(TORCHVISION.format(name=name.partition("/")[2]))
        name = f"{file}:build"
    error: Exception | None = None
    for side in (96, 128, 192, 224, 256, 299, 331):
        torch.manual_seed(0)
        try:
            return prune3d.build(name, 10, side).eval()
        except prune3d.errors.UserError as refused:
            error = refused
    raise error if error else AssertionError


class Late(BaseException):
    """A piece of work took too long; not an Exception, which the work itself may catch."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Stop what takes more of a core than some seconds."""

    def stop(*_: Any) -> None:
        raise Late(f"more than {seconds:.0f} s of a core")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def told(work: Callable[[], Any]) -> Any:
    """Return what a piece of work gives, or why it failed."""
    try:
        with limit(SECONDS):
            return work()
    except (Exception, Late) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


def judge(name: str) -> dict[str, Any]:
    """Prune a network along each dimension; say what went."""
    import numpy as np

    import prune3d
    from prune3d.costs.count import counted_by_torch
    from prune3d.costs.structure import dense_macs, enumerate_lattice
    from prune3d.pruning import PruningOptions
    from prune3d.pruning.analyze import analyze
    from prune3d.pruning.channels.compare import liven

    model = built(name)
    liven(model)
    side = model.spec.image_size
    found: dict[str, Any] = {"name": name, "side": side}
    begun = time.process_time()
    structure = told(lambda: analyze(model, [side]))
    found["seconds"] = round(time.process_time() - begun, 1)
    if isinstance(structure, str):
        return {**found, "width": structure, "depth": structure, "resolution": structure}
    found["torch_macs"] = told(lambda: counted_by_torch(model) == dense_macs(structure))
    options = PruningOptions(block_criterion="random", channel_criterion="random")

    def width() -> Any:
        if not structure.groups:
            return structure.no_width or "no groups"
        small = prune3d.prune(model, width=0.5, options=options)
        train(small)
        return prune3d.cost(small).params < prune3d.cost(model).params

    def depth() -> Any:
        if structure.fewest_blocks == structure.blocks:
            return "no block can be removed"
        order = list(structure.removable)
        ratio = (structure.blocks - 1) / structure.blocks
        small = prune3d.prune(model, depth=ratio, options=options, removal_order=order)
        lattice = enumerate_lattice(structure, order, np.array([1.0]), [side])
        return bool(prune3d.cost(small).macs == lattice.macs[1, 0, 0])

    def resolution() -> Any:
        for ratio in (0.75, 0.9, 2 / 3, 0.5):  # some take few sides
            with suppress(prune3d.errors.PruningError):
                small = prune3d.prune(model, resolution=ratio)
                train(small)
                return small.spec.side == round(ratio * side)
        return "none of the ratios of the side is taken"

    macs = {la.name: la.positions[0] * _weights(la, structure.groups) for la in structure.layers}
    free = sum(macs[la.name] for la in structure.layers if la.inputs or la.outputs)
    found["free_macs"] = round(free / max(1, sum(macs.values())), 4)
    found.update(width=told(width), depth=told(depth), resolution=told(resolution))
    found["frozen"] = sorted({f"{f.name}: {f.reason}"[:200] for f in structure.frozen})[:5]
    return found


def train(model: Any) -> None:
    """Take one step of training."""
    import torch

    images = torch.randn(2, model.spec.in_channels, model.spec.side, model.spec.side)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    outputs = model.train()(images)
    logits = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    optimizer.step()
    model.eval()


def _weights(layer: Any, groups: dict[str, int]) -> int:
    inputs = layer.fixed_inputs + sum(n * groups[g] for g, n in layer.inputs.items())
    outputs = layer.fixed_outputs + sum(n * groups[g] for g, n in layer.outputs.items())
    return int(layer.weights_per_pair * inputs * outputs)


def torch_pruning(name: str) -> Any:
    """Prune the same network to half of its channels by torch-pruning; tell whether it runs."""
    import torch
    import torch_pruning as tp

    import prune3d

    model = built(name)
    image = torch.randn(2, 3, model.spec.side, model.spec.side)
    before = prune3d.cost(model)
    writes = ("out_features", "out_channels")
    last = [m for m in model.modules() if 10 in (getattr(m, key, None) for key in writes)]
    pruner = tp.pruner.MagnitudePruner(
        model, image, tp.importance.RandomImportance(), pruning_ratio=0.5, ignored_layers=last
    )
    pruner.step()
    with torch.no_grad():
        runs = model(image).shape == (2, 10)
    params = sum(p.numel() for p in model.parameters())
    return bool(runs) and params < 0.6 * before.params


def read(out: Path) -> dict[str, dict[str, Any]]:
    """Return what is known of each network."""
    known: dict[str, dict[str, Any]] = {}
    for line in out.read_text().splitlines() if out.exists() else ():
        found = json.loads(line)
        known.setdefault(found["name"], {}).update(found)
    return known


def run_all(
    out: Path, chosen: list[str], work: Callable[[str], dict[str, Any]], limits: tuple[int, float]
) -> None:
    """Do a piece of work for each network that lacks it, each in a process of its own."""
    import timm  # noqa: F401 - before the processes part, so that each starts at once
    import torch_pruning  # noqa: F401
    import torchvision  # noqa: F401

    import prune3d.pruning.analyze  # noqa: F401

    memory, minutes = limits
    key = "torch_pruning" if work is rival else "width"
    known, begun = read(out), time.monotonic()
    parts = multiprocessing.get_context("fork")
    for name in chosen:
        if {key, "died"} & set(known.get(name, {})) or time.monotonic() - begun > minutes * 60:
            continue
        receiver, sender = parts.Pipe(duplex=False)
        child = parts.Process(target=_part, args=(work, name, memory, sender), daemon=True)
        child.start()
        sender.close()
        try:
            found = receiver.recv() if receiver.poll(900) else "more than 15 minutes"
        except EOFError:
            child.join()
            found = f"ended with {child.exitcode}"
        child.kill()
        child.join()
        failed = {"name": name, "torch_pruning" if work is rival else "died": found}
        line = json.dumps(found if isinstance(found, dict) else failed)
        with out.open("a") as file:
            file.write(line + "\n")
        print(line[:240], flush=True)


def rival(name: str) -> dict[str, Any]:
    """Prune a network by torch-pruning; say whether that went."""
    return {"name": name, "torch_pruning": told(lambda: torch_pruning(name))}


def _part(work: Callable[[str], dict[str, Any]], name: str, memory: int, sender: Any) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory << 30, memory << 30))
    try:
        sender.send(work(name))
    except Exception as error:
        sender.send(f"{type(error).__name__}: {' '.join(str(error).split())}"[:400])


def table(out: Path) -> str:
    """Return the summary of a file as a table, and every refusal under it.

    Networks along width count with equal outputs and a step of training.
    """
    found = list(read(out).values())
    rows = [
        "| networks | width | MACs 80 % free | depth | resolution | two of three | torch-pruning |"
    ]
    rows.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for family in ("torchvision", "timm"):
        part = [f for f in found if f["name"].startswith(family)]
        counts = [
            sum(f.get("width") is True for f in part),
            sum(f.get("width") is True and f["free_macs"] >= 0.8 for f in part),
            sum(f.get("depth") is True for f in part),
            sum(f.get("resolution") is True for f in part),
            sum(sum(f.get(k) is True for k in ("width", "depth", "resolution")) > 1 for f in part),
            sum(f.get("torch_pruning") is True for f in part),
        ]
        rows.append(f"| {len(part)} of {family} | " + " | ".join(map(str, counts)) + " |")
    for entry in found:
        for key in ("died", "torch_macs", "width", "depth", "resolution"):
            if isinstance(entry.get(key), str) or entry.get(key) is False:
                rows.append(f"- {entry['name']}, {key}: {entry[key]}")
    slowest = max(found, key=lambda f: f.get("seconds", 0))
    rows.append(f"Slowest analysis: {slowest['name']}, {slowest.get('seconds')} s of one core.")
    return "\n".join(rows)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("networks.jsonl"))
    parser.add_argument("--only", default="", help="a part of the names")
    parser.add_argument("--memory", type=int, default=8, help="GB for each network")
    parser.add_argument("--minutes", type=float, default=1e9, help="none begins after these")
    parser.add_argument("--limit", type=int, help="how many networks at most")
    parser.add_argument("--part", choices=("ours", "torch-pruning"), help="by default both")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print(table(given.out))
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
        chosen = [name for name in names() if given.only in name][: given.limit]
        for part, work in (("ours", judge), ("torch-pruning", rival)):
            if given.part in (None, part):
                run_all(given.out, chosen, work, (given.memory, given.minutes))


if __name__ == "__main__":
    main()

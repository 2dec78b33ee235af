"""The workflow's JSON and CSV files, and what its scripts do with them.

Each target reads a file as the scripts do, goes on to what they make of it, and is right if the
file was refused or means what the sound one did. The targets ``forged_...`` are given the digest
and format of a sound file: what is accepted then may differ, but must not make anything fail.
"""

from __future__ import annotations

import csv
import io
import json
import random
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from campaign import Target
from mutate import Damage, damaged_csv, damaged_json
from prune3d.costs.rounding_file import ROUNDING
from prune3d.costs.structure import Structure
from prune3d.costs.structure_file import BLOCKS, STRUCTURE, read_removal_order, read_structure
from prune3d.costs.work import Work
from prune3d.errors import ConfigError, UserError
from prune3d.optimize import Budget
from prune3d.optimize.policies import (
    LatticeOptions,
    OptimumOptions,
    enumerate_candidates,
    optimal_target,
)
from prune3d.optimize.predictor_file import PREDICTOR, VALIDATION, read_predictor
from prune3d.optimize.rerank import choose, propose
from prune3d.optimize.rivals import Question, rival_target
from prune3d.optimize.surrogate import KINDS as KINDS_OF_FIT
from prune3d.optimize.surrogate import Settings, chosen, fit_both, refit
from prune3d.optimize.target_file import (
    CANDIDATES,
    OPTIMUM,
    TARGET,
    TIED,
    TRIALS,
    read_target,
    write_tied,
)
from prune3d.pruning.latency import LATENCIES, read_latencies
from prune3d.records import JsonKind, TableKind
from prune3d.report import int8, latencies
from prune3d.report.ablation_tables import FITS, SCRATCH
from prune3d.report.claims import judge_all, read_claims, readable
from prune3d.report.failures import FAILED, sentence
from prune3d.report.figures import (
    Style,
    draw_predictions,
    draw_surface,
)
from prune3d.report.forecast_table import FORECASTS
from prune3d.report.int8 import INT8
from prune3d.report.latencies import SUMMARY as LATENCY_SUMMARY
from prune3d.report.latencies import TIMED
from prune3d.report.measures import Measured
from prune3d.report.policies import LEFT_OUT, POLICIES, RUNS
from prune3d.report.policy_figures import (
    draw_accuracy_over_latency,
    draw_latencies,
    draw_policies,
)
from prune3d.report.predictors import predictor_rows
from prune3d.report.warnings import WARNINGS, Pair, judge, lead
from prune3d.sampling.metrics_file import METRICS, TEST, read_metrics
from prune3d.sampling.table import (
    HOLDOUT,
    SAMPLES,
    Samples,
    read_holdout,
    read_samples,
    sample_row,
)
from prune3d.workflow.provenance import PROVENANCE, job_seconds

STYLE = Style((3.0, 2.0), 30)
OPTIONS = LatticeOptions(width_step=0.1)
SETTINGS = Settings("low_rank", 1, 1, 1e-2)
ORDER = ["b1", "b0"]
Read = Callable[[Path], Any]


def structure() -> Structure:
    """Return a small network of two removable blocks on a stream."""
    layers = [
        ("stem", None, 9, {}, 3, {"stream": 1}, 0, 0),
        ("norm", None, 0, {}, 0, {"stream": 1}, 0, 2),
        *(
            layer
            for block in ("b0", "b1")
            for layer in (
                (f"{block}.one", block, 9, {"stream": 1}, 0, {f"{block}.one": 1}, 0, 0),
                (f"{block}.two", block, 9, {f"{block}.one": 1}, 0, {"stream": 1}, 0, 0),
            )
        ),
        ("fc", None, 1, {"stream": 1}, 0, {}, 10, 1),
    ]
    names = ("name", "block", "weights_per_pair", "inputs", "fixed_inputs", "outputs")
    keys = (*names, "fixed_outputs", "params_per_output")
    rows = {"norm": "0 0 0 0", "fc": "1 1 1 1"}
    texts = ["0 0 0 0", "1 1 1 1", "16 25 36 64"]
    plain = [
        {
            **dict(zip(keys, layer, strict=True)),
            "positions": texts.index(rows.get(layer[0], texts[-1])),
            "stored": True,
            "fixed_params": 0,
        }
        for layer in layers
    ]
    nothing: dict[str, Any] = {"joins": [], "drops": None}
    return Structure.from_dict(
        {
            "blocks": 3,
            "removable": {"b0": nothing, "b1": {**nothing, "joins": [["stream", "stream"]]}},
            "groups": [{"name": n, "channels": 16} for n in ("stream", "b0.one", "b1.one")],
            "multiples": {"stream": 2},
            "sides": [4, 5, 6, 8],
            "layers": plain,
            "positions": texts,
            "no_width": None,
            "no_depth": None,
            "no_onnx": None,
            "frozen": [],
        }
    )


def metrics(ratios: Sequence[float], top1: float, **more: Any) -> dict[str, Any]:
    """Return the metrics of a network."""
    judged = {"top1": top1, "top5": 1.0, "loss": 0.5, "images": 100}
    return {
        **dict(zip(("depth", "width", "resolution"), ratios, strict=True)),
        "macs": int(1e6 * float(np.prod(ratios))),
        "macs_ratio": float(np.prod(ratios)),
        "params": 2000,
        "image_passes": 300,
        "cost_macs": 10**11,
        "selection": judged,
        "test": judged,
        **more,
    }


def rows(points: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Return the rows of samples at some ratios."""
    found = []
    for point in points:
        name = "d{:g}_w{:g}_r{:g}".format(*(100 * ratio for ratio in point))
        found.append(sample_row(name, metrics(point, 1 - 0.2 * (3 - sum(point)) ** 2 / 3)))
    return found


FITTED = [(1.0, 1.0, 1.0)] + [
    tuple(level if axis == i else 1.0 for i in range(3))
    for axis in range(3)
    for level in (0.8, 0.4)
]
HELD = [(0.8, 0.6, 0.8), (0.6, 0.8, 0.4)]


def sound(folder: Path) -> dict[str, Path]:
    """Write a sound file of each kind and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    known = structure()
    paths = {
        name: folder / f"{name}.{'csv' if isinstance(kind, TableKind) else 'json'}"
        for name, kind in KINDS.items()
    }
    STRUCTURE.write(paths["structure"], known.to_dict())
    BLOCKS.write(paths["blocks"], {"removal_order": ORDER, "image_passes": 10, "cost_macs": 10**10})
    METRICS.write(paths["metrics"], metrics((0.5, 0.5, 1.0), 0.9))
    TEST.write(paths["test"], metrics((1, 1, 1), 0.9)["test"])
    SAMPLES.write(paths["samples"], rows(FITTED))
    HOLDOUT.write(paths["holdout"], rows(HELD))
    grid = [(d, w, s) for d in (1 / 3, 1.0) for w in (0.2, 1.0) for s in (4, 8)]
    known_of_all = {"device": "a CPU", "threads": 1, "batch_size": 1, "runs": 3}
    LATENCIES.write(
        paths["latency"],
        [
            {
                "role": role,
                "depth": d,
                "width": w,
                "side": s,
                "latency_ms": 0.1 + d * w * s,
                **known_of_all,
            }
            for role, points in (("grid", grid), ("check", [(2 / 3, 0.5, 6)]))
            for d, w, s in points
        ],
    )
    multiple = {"round_to": 8, "budget": 0.5, "macs_ratio": 0.49, "latency_ratio": 0.52}
    where = {"runtime": "torch", "device": "a CPU", "threads": 1, "runs": 3}
    ROUNDING.write(paths["rounding"], {"round_to": 8, "measured": [multiple], **where})
    samples = read_samples(paths["samples"])
    fitted = fit_both(samples, SETTINGS)
    PREDICTOR.write(paths["predictor"], fitted)
    errors = {"n": 3, "mae": 0.01, "rmse": 0.02, "spearman": None, "kendall": 1.0}
    ends = dict.fromkeys(("mae", "rmse", "spearman", "kendall"))
    judged = {**errors, "intervals": {**ends, "mae": [0.01, 0.015]}}
    known = {"coefficients": 6, "determined": True, "holdout": judged, "leave_one_out": judged}
    VALIDATION.write(
        paths["validation"],
        {
            "samples": 7,
            "left_out": [],
            "held_out": 2,
            "predictors": dict.fromkeys(KINDS_OF_FIT, known),
        },
    )
    candidates = enumerate_candidates(structure(), ORDER, OPTIONS)
    budget = Budget.of({"macs": 0.5})
    predictor = chosen(fitted)
    refits = refit(predictor, samples, 10, 0)
    optimum = optimal_target(predictor, samples, candidates, budget, OptimumOptions(), refits)
    members = optimum.pop("members")
    write_tied(paths["tied"], members)
    proposed = propose(optimum, members, candidates, budget, predictor, 2)
    CANDIDATES.write(paths["candidates"], {"limits": optimum["limits"], "networks": proposed})
    trials = [read_metrics(paths["metrics"])] * len(proposed)
    TRIALS.write(paths["trials"], choose(optimum, proposed, trials, trials[:1])[1])
    OPTIMUM.write(paths["optimum"], optimum)
    TARGET.write(paths["target"], rival_target("width", Question(candidates, budget, ("width",))))
    seconds = {"seconds": {"job": 2.5, "training": 2.0}, "steps": {}, "rule": "prune_final"}
    PROVENANCE.write(
        paths["provenance"], {**seconds, "rule": "finetune", "steps": {"prune_final": seconds}}
    )
    averages = dict.fromkeys(POLICIES.columns[4:], 0.5)
    POLICIES.write(
        paths["policies"],
        [
            {"experiment": "digits", "budget": b, "policy": p, "seeds": 2, **averages}
            for b, p in ((None, "dense"), ("half", "dwr"), ("half", "width"))
        ],
    )
    named = {"experiment": "digits", "seed": 0, "budget": "half"}
    run = {**dict.fromkeys(RUNS.columns, 0.5), **named, "macs": 5, "params": 5}
    costs = {"search_cost_macs": 40, "training_cost_macs": 10}
    RUNS.write(paths["runs"], [{**run, **costs, "policy": p} for p in ("dwr", "width")])
    LEFT_OUT.write(paths["left_out"], [{**named, "policy": "depth", "reason": "too large"}])
    foretold = {**dict.fromkeys(FORECASTS.columns, 0.5), **named, "long_labels": 3, "within": 1}
    FORECASTS.write(paths["forecasts"], [foretold, {**foretold, "seed": 1}])
    fit = {"setting": "full", "seed": 0, "samples": 6, "coefficients": 64, "cost_macs": 1.5}
    errors = {"rest_rmse": 0.02, "holdout_spearman": -0.5}
    FITS.write(paths["fits"], [{**fit, **errors}, {**fit, "setting": "low_rank", **errors}])
    pair = {**dict.fromkeys(SCRATCH.columns, 0.5), "seed": 0}
    pair |= {"pruned_cost_macs": 2, "scratch_cost_macs": 9}
    SCRATCH.write(
        paths["scratch"], [{**pair, "depth": d, "pruned_accuracy": d} for d in (0.5, 1.0)]
    )
    TIMED.write(
        paths["timed"],
        [
            {
                "experiment": "digits",
                "seed": 0,
                "budget": budget,
                "policy": policy,
                "macs_ratio": ratio,
                "params": 2000,
                "test_top1": 0.9,
                "latency_ms": 2.0 * ratio,
                "throughput_ms": 30.0 * ratio,
                "throughput_batch_size": 32,
                "runtime": "torch",
                **known_of_all,
            }
            for budget, policy, ratio in ((None, "dense", 1.0), ("half", "dwr", 0.5))
        ],
    )
    LATENCY_SUMMARY.write(
        paths["latencies"], latencies.summarize(latencies.read_timed([paths["timed"]]))
    )
    measured = {"top1": 0.9, "bytes": 4000, "latency_ms": 0.5}
    INT8.write(paths["int8"], {"float": measured, "int8": measured, "images": 360})
    gained = judge("digits", [], [lead("dense_longer", [Pair(0.9, 0.97, 1000)])])
    WARNINGS.write(paths["warnings"], [gained])
    guessing = {**named, "policy": "width", "test_top1": 0.1, "reason": "as guessing"}
    FAILED.write(paths["failed"], [guessing])
    return paths


KINDS: dict[str, JsonKind | TableKind] = {
    kind.name: kind
    for kind in (
        STRUCTURE,
        BLOCKS,
        METRICS,
        TEST,
        SAMPLES,
        HOLDOUT,
        LATENCIES,
        ROUNDING,
        PREDICTOR,
        VALIDATION,
        OPTIMUM,
        TARGET,
        TIED,
        CANDIDATES,
        TRIALS,
        PROVENANCE,
        POLICIES,
        TIMED,
        LATENCY_SUMMARY,
        INT8,
        WARNINGS,
        FAILED,
        RUNS,
        LEFT_OUT,
        FITS,
        SCRATCH,
        FORECASTS,
    )
}


ABLATED = ((FITS, "fits"), (SCRATCH, "scratch"))
CLAIMED = ("runs", "left_out", "fits", "scratch", "forecasts")


def readers(paths: dict[str, Path]) -> dict[str, Read]:
    """Return for each kind what reads its file and uses it as scripts do."""
    known = read_structure(paths["structure"])
    samples = read_samples(paths["samples"])
    held = read_holdout(paths["holdout"], samples)
    fitted = read_predictor(paths["predictor"])
    optimum, tied = read_target(paths["optimum"], "dwr"), TIED.read(paths["tied"])
    half = Budget.of({"macs": 0.5})

    def of_structure(path: Path) -> Any:
        found = read_structure(path)
        candidates = enumerate_candidates(found, list(found.removable), OPTIONS)
        rival_target("width", Question(candidates, half, ("width",)))
        return found

    def of_blocks(path: Path) -> Any:
        order = read_removal_order(str(path), known)
        candidates = enumerate_candidates(known, order, OPTIONS)
        rival_target("depth", Question(candidates, half, ("depth",)))
        return order, BLOCKS.read(path)["cost_macs"]

    def of_latency(path: Path) -> Any:
        table = read_latencies(path, Work(known, ORDER, OPTIONS.round_to))
        candidates = enumerate_candidates(known, ORDER, OPTIONS, table)
        slow = Budget.of({"latency": 0.9})
        optimal_target(chosen(fitted), samples, candidates, slow)
        return [values.tolist() for values in (table.depth, table.width, table.latency_ms)]

    def of_samples(path: Path) -> Any:
        found = read_samples(path)
        fit_both(found, SETTINGS)
        return comparable(found)

    def of_holdout(path: Path) -> Any:
        found = read_holdout(path, samples)
        if seldom(path):
            draw_predictions([samples], [found], [fitted], STYLE)
        return comparable(found)

    def of_predictor(path: Path) -> Any:
        found = read_predictor(path)
        predictor = chosen(found)
        candidates = enumerate_candidates(known, ORDER, OPTIONS)
        refits = refit(predictor, samples, 10, 0)
        optimal_target(predictor, samples, candidates, half, refits=refits)
        if seldom(path):
            draw_predictions([samples], [held], [found], STYLE)
        return found

    def of_validation(path: Path) -> Any:
        named = path.parent / "results/digits/seed0/predictor"
        named.mkdir(parents=True, exist_ok=True)
        copy = named / path.name
        copy.write_bytes(path.read_bytes())
        return predictor_rows([str(copy)])

    def of_optimum(path: Path) -> Any:
        found = read_target(path, "dwr")
        if seldom(path):
            draw_surface(samples, fitted, found, tied, STYLE)
        return found

    def of_tied(path: Path) -> Any:
        found = TIED.read(path)
        if seldom(path):
            draw_surface(samples, fitted, optimum, found, STYLE)
        return found

    def of_policies(path: Path) -> Any:
        found = POLICIES.read(path)
        if seldom(path):
            draw_policies(found, STYLE)
        return found

    def of_latencies(path: Path) -> Any:
        found = LATENCY_SUMMARY.read(path)
        latencies.readable(found)
        if seldom(path):
            draw_latencies(found, STYLE)
            draw_accuracy_over_latency(found, STYLE)
        return found

    def of_int8(path: Path) -> Any:
        named = path.parent / "results/digits/seed0/budgets/half/dwr"
        named.mkdir(parents=True, exist_ok=True)
        copy = named / path.name
        copy.write_bytes(path.read_bytes())
        return int8.readable(int8.summarize([copy]))

    def of_claims(**changed: Any) -> Any:
        own = {name: paths[name] for name in CLAIMED} | changed
        fits, scratch = ({"digits": kind.read(own[name])} for kind, name in ABLATED)
        tables = RUNS.read(own["runs"]), LEFT_OUT.read(own["left_out"])
        claims, foretold = read_claims(), FORECASTS.read(own["forecasts"])
        return readable(claims, judge_all(claims, Measured(*tables, fits, scratch, foretold)))

    def of_warnings(path: Path) -> Any:
        found = WARNINGS.read(path)
        if seldom(path):
            read = POLICIES.read(paths["policies"])
            draw_policies(read, STYLE, [row["warning"] for row in found])
        return found

    return {
        **{name: lambda path, name=name: of_claims(**{name: path}) for name in CLAIMED},
        "timed": lambda path: latencies.readable(latencies.summarize(latencies.read_timed([path]))),
        "latencies": of_latencies,
        "int8": of_int8,
        "warnings": of_warnings,
        "failed": lambda path: list(map(sentence, FAILED.read(path))),
        "structure": of_structure,
        "blocks": of_blocks,
        "metrics": lambda path: (read_metrics(path), sample_row("a", read_metrics(path))),
        "test": TEST.read,
        "samples": of_samples,
        "holdout": of_holdout,
        "latency": of_latency,
        "rounding": lambda path: ROUNDING.read(path)["round_to"],
        "predictor": of_predictor,
        "validation": of_validation,
        "optimum": of_optimum,
        "target": lambda path: read_target(path, "width"),
        "tied": of_tied,
        "candidates": CANDIDATES.read,
        "trials": TRIALS.read,
        "provenance": job_seconds,
        "policies": of_policies,
    }


def seldom(path: Path) -> bool:
    """Tell for one of eight contents that its figure is to be drawn, which takes long."""
    return zlib.crc32(path.read_bytes()) % 8 == 0


def comparable(samples: Samples) -> Any:
    """Return samples as values that can be compared."""
    arrays = (samples.ratios, samples.accuracy, samples.cost_macs)
    return samples.names, [array.tolist() for array in arrays]


def honest(name: str, folder: Path) -> Target:
    """Return the target of a kind: whatever is not the sound content is refused."""
    paths = sound(folder / "sound")
    read = readers(paths)[name]
    content = paths[name].read_bytes()
    expected = read(paths[name])
    damage = damaged_json if isinstance(KINDS[name], JsonKind) else damaged_csv
    path = folder / paths[name].name
    return Target(path, (content,), damage, read, lambda found, _: found == expected)


def forged(name: str, folder: Path) -> Target:
    """Return the target of a kind whose damaged files have a right digest."""
    paths = sound(folder / "sound")
    kind, by_kind = KINDS[name], readers(paths)[name]

    def read(path: Path) -> Any:
        try:
            return by_kind(path)
        except ConfigError as error:
            # Whole samples that suit no polynomial: the config's design is what is named.
            raise UserError(f"{path.name}: {error}") from None

    path = folder / paths[name].name
    if isinstance(kind, JsonKind):
        content, damage = _plain_json(paths[name]), _sealed_json(kind)
    else:
        content, damage = _plain_csv(paths[name]), _sealed_csv(kind)
    return Target(path, (content,), damage, read, lambda found, _: True)


def _plain_json(path: Path) -> bytes:
    value = json.loads(path.read_text())
    del value["digest"], value["format"]
    return json.dumps(value).encode()


def _sealed_json(kind: JsonKind) -> Damage:
    def damage(content: bytes, rng: random.Random) -> bytes:
        changed = damaged_json(content, rng)
        try:
            return json.dumps(kind.sealed(json.loads(changed))).encode()
        except (ValueError, TypeError, RecursionError):
            return changed

    return damage


def _plain_csv(path: Path) -> bytes:
    return _csv([row[:-1] for row in csv.reader(io.StringIO(path.read_text()))])


def _sealed_csv(kind: TableKind) -> Damage:
    def damage(content: bytes, rng: random.Random) -> bytes:
        changed = damaged_csv(content, rng)
        try:
            header, *rows = csv.reader(io.StringIO(changed.decode(), newline=""), strict=True)
            name = "digest" if rows else f"digest {kind.seal(rows)}"
            return _csv([[*header, name], *([*row, kind.seal(rows)] for row in rows)])
        except (ValueError, csv.Error):
            return changed

    return damage


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")

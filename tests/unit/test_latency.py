"""Latencies: foretold from the work of layers, and real networks timed."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from torch import nn

import prune3d
from prune3d.costs.work import TERMS, Work
from prune3d.errors import UserError
from prune3d.export import export
from prune3d.export.classifier import open_session
from prune3d.models.spec import NetworkSpec
from prune3d.pruning.analyze import analyze
from prune3d.pruning.latency import (
    LATENCIES,
    WIDTHS,
    LatencyTable,
    measure_table,
    read_latencies,
)
from prune3d.pruning.options import PruningOptions
from prune3d.pruning.runtimes import TENSORRT
from prune3d.pruning.timing import (
    AT_ONCE,
    WARM_UP,
    LatencyOptions,
    Network,
    Pass,
    latencies_in_turns,
    latencies_of_files,
    latency,
    where_measured,
)


def rows(values: np.ndarray, levels: list[list[float]]) -> list[dict[str, object]]:
    known = {"device": "this one", "threads": 1, "batch_size": 1, "runs": 3}
    return [
        {"role": "grid", "depth": d, "width": w, "side": s, "latency_ms": values[i, j, k], **known}
        for (i, d), (j, w), (k, s) in itertools.product(*map(enumerate, levels))
    ]


@pytest.fixture(scope="module")
def work() -> Work:
    """Of a network with a depthwise block, so that every term is there."""
    dense = prune3d.build("cifar_mobilenet_v2", 10, 32)
    structure = analyze(dense)
    return Work(structure, list(structure.removable), 8)


def table_of(work: Work, times: Callable[[np.ndarray], np.ndarray]) -> LatencyTable:
    """Return a table of latencies that follow from the work at the levels of a real one."""
    blocks, order = work.structure.blocks, work.removal_order
    depth = np.array([(blocks - k) / blocks for k in (len(order), len(order) // 2, 0)])
    levels = depth, np.array([0.25, 0.5, 0.75, 1.0]), np.array([8.0, 16.0, 32.0])
    found = rows(times(work.at(*levels)), [axis.tolist() for axis in levels])
    return LatencyTable.from_rows(found, work)


def everywhere(work: Work) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return levels between those of the table and beyond them."""
    blocks = work.structure.blocks
    return np.arange(1, blocks + 1)[::-4] / blocks, np.linspace(0.1, 1, 9), np.array([4.0, 13, 29])


def test_work_is_that_of_the_layers_of_a_pruned_network(work: Work) -> None:
    dense = prune3d.build("cifar_mobilenet_v2", 10, 32)
    gone, width, side = 3, 0.6, 24
    options = PruningOptions(channel_criterion="l1", round_to=work.round_to)
    depth = (work.structure.blocks - gone) / work.structure.blocks
    pruned = prune3d.prune(dense, depth, width, options=options, removal_order=work.removal_order)
    expected, lanes = np.zeros(len(TERMS)), lambda channels: 16 * -(-channels // 16)

    def count(layer: nn.Module, given: Any, made: torch.Tensor) -> None:
        weight, pixels = layer.weight, made[0, 0].numel() if made.ndim == 4 else 1
        (out, read), area = weight.shape[:2], weight[0, 0].numel()
        if read == 1:
            expected[4] += pixels * area * lanes(out)
        else:
            first = 0 if area == 1 else 2
            expected[first] += pixels * area * out * read
            expected[first + 1] += pixels * area * lanes(out) * lanes(read)
        expected[5:] += pixels * out, weight.numel(), 1

    for layer in pruned.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    pruned.eval()(torch.zeros(1, 3, side, side))
    assert (expected > 0).all()
    found = work.at(np.array([depth]), np.array([width]), np.array([float(side)]))
    np.testing.assert_array_equal(found[0, 0, 0], expected)


def test_latencies_that_follow_from_the_work_are_foretold_everywhere(work: Work) -> None:
    rng = np.random.default_rng(0)
    largest = work.at(np.ones(1), np.ones(1), np.array([32.0]))[0, 0, 0]
    ms = rng.uniform(0.1, 1, len(TERMS)) / largest
    table = table_of(work, lambda terms: terms @ ms)
    asked = everywhere(work)
    np.testing.assert_allclose(table.at(*asked), work.at(*asked) @ ms, rtol=1e-6)


def test_what_the_work_does_not_explain_is_interpolated_and_held_beyond_the_ends(
    work: Work,
) -> None:
    rng = np.random.default_rng(0)
    table = table_of(work, lambda terms: rng.uniform(1, 5, terms.shape[:3]))
    known = table.depth, table.width, table.side
    np.testing.assert_allclose(table.at(*known), table.latency_ms)
    factor = RegularGridInterpolator(known, table.latency_ms / table._explained(work, *known))
    asked = everywhere(work)
    held = (np.clip(a, k[0], k[-1]) for a, k in zip(asked, known, strict=True))
    expected = factor(np.stack(np.meshgrid(*held, indexing="ij"), axis=-1))
    np.testing.assert_allclose(table.at(*asked) / table._explained(work, *asked), expected)
    check = {"role": "check", "depth": 1.0, "width": 1.0, "side": 32}
    check["latency_ms"] = table.latency_ms[-1, -1, -1] / 2
    assert table.error_at([check]) == pytest.approx(1.0)


def test_one_measured_network_gives_latencies_above_zero_for_all(work: Work) -> None:
    levels = np.ones(1), np.ones(1), np.array([32.0])
    found = rows(np.full((1, 1, 1), 3.0), [axis.tolist() for axis in levels])
    table = LatencyTable.from_rows(found, work)
    assert table.at(*levels)[0, 0, 0] == pytest.approx(3)
    assert (table.at(*everywhere(work)) > 0).all()


def test_real_networks_are_timed_and_read_back(tmp_path: Path) -> None:
    dense = prune3d.build("resnet8", 10, 16)
    told: list[str] = []
    options = LatencyOptions(batch_size=2, runs=3)
    structure = analyze(dense)
    found = measure_table(dense, ["layer1.0"], 3, structure.sides, 1, options, told.append)
    LATENCIES.write(tmp_path / "latency.csv", found)
    work = Work(structure, ["layer1.0"], 1)
    table = read_latencies(tmp_path / "latency.csv", work)
    assert table.depth.tolist() == [2 / 3, 1.0]
    assert table.width.tolist() == sorted(WIDTHS)
    assert (table.side.min(), table.side.max()) == (4, 16)
    assert np.all(table.latency_ms > 0)
    assert table.error is not None
    assert table.device and len(told) == 2
    smaller = Work(replace(structure, sides=structure.sides[:-1]), ["layer1.0"], 1)
    with pytest.raises(UserError, match=r"latency\.csv has images of 16 pixels, which the network"):
        read_latencies(tmp_path / "latency.csv", smaller)


@pytest.mark.slow
def test_a_table_says_what_ran_the_networks() -> None:
    dense = prune3d.build("resnet8", 10, 16)
    options = LatencyOptions(runs=1, runtime="onnxruntime", threads=2)
    found = measure_table(dense, [], 3, range(15, 17), 1, options, lambda told: None)
    assert {row["threads"] for row in found} == {2}
    assert all(row["device"].endswith("ONNX Runtime") for row in found)


def test_a_latency_is_the_median_of_the_passes_after_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes: list[int] = []
    model = prune3d.build("resnet8", 10, 16)
    model.register_forward_hook(lambda *call: passes.append(len(call[1][0])))
    seconds = [0.004, 0.002, 7.0]
    ticks = iter([tick for took in seconds for tick in (0.0, took)])
    monkeypatch.setattr("prune3d.pruning.timing.time.perf_counter", lambda: next(ticks))
    found = latency(model, 16, LatencyOptions(batch_size=2, runs=3))
    assert found == pytest.approx(4.0)
    assert passes == [2] * (WARM_UP + len(seconds))


def test_speed_ups_do_not_drift_with_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass takes the machine 0.1 % longer than the one before."""
    took = {"dense": 4.0, **{f"n{i}": 3.0 - i / 8 for i in range(20)}}
    now, passes = 0.0, 0

    def pass_of(model: str, side: int, options: LatencyOptions) -> Pass:
        def act() -> None:
            nonlocal now, passes
            now, passes = now + took[model] / 1000 * 1.001**passes, passes + 1

        return act

    monkeypatch.setattr("prune3d.pruning.timing.time.perf_counter", lambda: now)
    monkeypatch.setattr("prune3d.pruning.timing.ready", pass_of)
    monkeypatch.setattr(
        "prune3d.models.assembly.get_spec", lambda model: NetworkSpec("", 2, 8, 3, 8)
    )
    networks = [Network(partial(str, name), 1.0) for name in took]
    found = latencies_in_turns(networks, LatencyOptions(runs=9))
    assert passes > 9 * len(took) and 1.001**passes > 1.2
    for ms, expected in zip(found, took.values(), strict=True):
        assert ms / found[0] == pytest.approx(expected / took["dense"], rel=0.01)
    assert found[0] > took["dense"]


def test_real_networks_are_timed_in_turns_a_few_at_a_time() -> None:
    open_now: list[weakref.ref] = []
    most = 0

    def load() -> nn.Module:
        nonlocal most
        model = prune3d.build("resnet8", 10, 16).eval()
        open_now.append(weakref.ref(model))
        most = max(most, sum(one() is not None for one in open_now))
        return model

    sizes = [300.0, 1.0, 100.0, 100.0, 100.0, 300.0, *[1.0] * 9]
    networks = [Network(load, megabytes) for megabytes in sizes]
    found = latencies_in_turns(networks, LatencyOptions(runs=1, runtime="torch", threads=1))
    assert len(found) == len(sizes) and min(found) > 0
    assert len(open_now) == len(sizes) and most == 1 + AT_ONCE
    assert len(latencies_in_turns(networks[:1], LatencyOptions(runs=1, threads=1))) == 1


def test_onnx_files_run_on_the_threads_that_torch_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[onnxruntime.InferenceSession] = []

    def recorded(*given: Any) -> onnxruntime.InferenceSession:
        opened.append(open_session(*given))
        return opened[-1]

    monkeypatch.setattr("prune3d.export.classifier.open_session", recorded)
    export(prune3d.build("resnet8", 10, 16).eval(), tmp_path / "model.onnx")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for threads in (None, 2):
            options = LatencyOptions(runs=1, runtime="onnxruntime", threads=threads)
            latencies_of_files([tmp_path / "model.onnx"] * 2, options)
    finally:
        torch.set_num_threads(before)
    found = [session.get_session_options() for session in opened]
    assert [one.intra_op_num_threads for one in found] == [3, 3, 2, 2]
    # Idle ones do not spin, and 8-bit products do not overflow.
    for name in ("session.force_spinning_stop", "session.x64quantprecision"):
        assert {one.get_session_config_entry(name) for one in found} == {"1"}


needs_tensorrt = pytest.mark.skipif(
    TENSORRT not in onnxruntime.get_available_providers() or not torch.cuda.is_available(),
    reason="no TensorRT here",
)


@needs_tensorrt
def test_tensorrt_times_networks_on_the_gpu() -> None:
    model = prune3d.build("resnet8", 10, 16)
    options = LatencyOptions(runs=3, runtime="tensorrt")
    assert latency(model, 16, options) > 0
    assert where_measured(options, torch.device("cpu"))["device"] == torch.cuda.get_device_name()


def test_tensorrt_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    model = prune3d.build("resnet8", 10, 16)
    with pytest.raises(UserError, match="install onnxruntime-gpu in its place"):
        latency(model, 16, LatencyOptions(runtime="tensorrt"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_tensorrt_without_a_gpu_is_refused_before_anything_is_named_or_timed() -> None:
    with pytest.raises(UserError, match="where there is a GPU"):
        where_measured(LatencyOptions(runtime="tensorrt"), torch.device("cpu"))


def test_tensorrt_that_cannot_be_loaded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where onnxruntime-gpu is installed without TensorRT's libraries: it falls back."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT])
    model = prune3d.build("resnet8", 10, 16)
    with pytest.raises(UserError, match="cannot load here"):
        latency(model, 16, LatencyOptions(runtime="tensorrt"))

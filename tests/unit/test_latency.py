"""Latencies: interpolation by hand, and real networks timed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

import prune3d
from prune3d.errors import UserError
from prune3d.pruning.latency import (
    LATENCIES,
    WIDTHS,
    LatencyTable,
    measure_table,
    read_latencies,
)
from prune3d.pruning.runtimes import TENSORRT
from prune3d.pruning.timing import WARM_UP, LatencyOptions, latency, where_measured


def rows(values: np.ndarray, levels: list[list[float]]) -> list[dict[str, object]]:
    known = {"device": "this one", "threads": 1, "batch_size": 1, "runs": 3}
    return [
        {"role": "grid", "depth": d, "width": w, "side": s, "latency_ms": values[i, j, k], **known}
        for (i, d), (j, w), (k, s) in itertools.product(*map(enumerate, levels))
    ]


def test_latencies_are_interpolated_linearly_and_held_beyond_the_ends() -> None:
    rng = np.random.default_rng(0)
    levels = [[0.25, 0.5, 1.0], [0.1, 1.0], [8.0, 16.0, 32.0]]
    values = rng.uniform(1, 5, (3, 2, 3))
    table = LatencyTable.from_rows(rows(values, levels))
    asked = [np.array([0.3, 0.5, 0.9]), np.array([0.1, 0.47]), np.array([8.0, 13.0, 32.0, 20.0])]
    expected = RegularGridInterpolator(levels, values)(
        np.stack(np.meshgrid(*asked, indexing="ij"), axis=-1)
    )
    np.testing.assert_allclose(table.at(*asked), expected)
    below = table.at(np.array([0.1]), np.array([0.01]), np.array([4.0]))
    assert below[0, 0, 0] == values[0, 0, 0]
    check = {**rows(values, levels)[0], "role": "check", "latency_ms": values[0, 0, 0] / 2}
    assert LatencyTable.from_rows([*rows(values, levels), check]).error == pytest.approx(1.0)


def test_real_networks_are_timed_and_read_back(tmp_path: Path) -> None:
    dense = prune3d.build("resnet8", 10, 16)
    told: list[str] = []
    options = LatencyOptions(batch_size=2, runs=3)
    found = measure_table(dense, ["layer1.0"], 3, range(1, 17), 1, options, told.append)
    LATENCIES.write(tmp_path / "latency.csv", found)
    table = read_latencies(tmp_path / "latency.csv")
    assert table.depth.tolist() == [2 / 3, 1.0]
    assert table.width.tolist() == sorted(WIDTHS)
    assert (table.side.min(), table.side.max()) == (4, 16)
    assert np.all(table.latency_ms > 0)
    assert table.error is not None
    assert table.device and len(told) == 2


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

"""A dense network that its pruned networks beat: told beyond the noise, and not within it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from prune3d.optimize.target_file import TARGET
from prune3d.report import policies
from prune3d.report.figures import Style
from prune3d.report.policy_figures import draw_policies
from prune3d.report.sparse_training import find_unsparse
from prune3d.report.warnings import WARNINGS, Pair, find_warnings, judge, lead
from prune3d.sampling.metrics_file import METRICS, TEST
from prune3d.sampling.table import SAMPLES, sample_row
from prune3d.train.history import HISTORY
from prune3d.workflow.provenance import PROVENANCE


def leads(networks: list[list[Pair]]) -> list[Any]:
    return [lead(f"n{i}", pairs) for i, pairs in enumerate(networks)]


def warns(*networks: list[Pair]) -> bool:
    return judge("e", leads(list(networks))) is not None


def test_the_standard_error_is_that_of_a_difference_of_two_parts() -> None:
    one = lead("n", [Pair(0.5, 0.6, 10_000)])
    assert one.difference == pytest.approx(0.1)
    assert one.error == pytest.approx((0.5 * 0.5 / 1e4 + 0.6 * 0.4 / 1e4) ** 0.5, rel=1e-3)
    # Four seeds whose differences spread by 0.1: the half of it, beside the images'.
    seeds = lead("n", [Pair(0.5, 0.5 + d, 10**9) for d in (0.0, 0.0, 0.2, 0.2)])
    assert seeds.error == pytest.approx(np.std([0, 0, 0.2, 0.2], ddof=1) / 2, rel=1e-3)


def test_a_run_that_tells_nothing_is_told() -> None:
    assert warns([Pair(0.129, 0.241, 1000)], [Pair(0.129, 0.20, 1000)])
    assert warns([Pair(0.129, 0.20, 1000)] * 3, [Pair(0.129, 0.05, 1000)] * 3)


@pytest.mark.parametrize(
    "networks",
    [
        [],
        [[Pair(0.97, 0.95, 360)]],
        # A point ahead on 360 images is chance.
        [[Pair(0.95, 0.96, 360)]],
        [[Pair(1.0, 1.0, 10)]],
        [[Pair(0.0, 0.0, 10)]],
        # Far ahead in one seed, far behind in another.
        [[Pair(0.5, 0.8, 10_000), Pair(0.5, 0.25, 10_000)]],
    ],
)
def test_what_may_be_noise_is_no_warning(networks: list[list[Pair]]) -> None:
    assert not warns(*networks)


def test_dense_networks_as_good_as_all_others_are_seldom_blamed() -> None:
    """Of runs in which all networks are as accurate, about one in a hundred may be told."""
    generator = np.random.default_rng(0)
    images, told, runs = 500, 0, 400
    for _ in range(runs):
        dense = generator.binomial(images, 0.9, 2) / images
        pruned = generator.binomial(images, 0.9, (12, 2)) / images
        told += warns(*[list(map(Pair, dense, row, (images, images))) for row in pruned])
    assert told <= 0.03 * runs


def test_fine_tuning_alone_may_gain_two_standard_errors() -> None:
    """Two independent parts of 1,000 images at 90 %: a standard error of 1.34 points."""
    leads_of = [lead("n", [Pair(0.9, 0.85, 1000)])]
    for gain, told in ((0.025, False), (0.03, True)):
        row = judge("e", leads_of, [lead("dense_longer", [Pair(0.9, 0.9 + gain, 1000)])])
        assert (row is not None) == told
    assert row is not None and "fine-tuning alone improves it" in row["warning"]
    assert (row["network"], row["networks"], row["better"]) == ("dense_longer", 1, 1)


def tree(
    root: Path, dense: float, final: float, sample: float, again: float, longer: float
) -> tuple[list[str], list[str], list[str]]:
    """Write what the tables read of one run; return the paths of final, dense, longer metrics."""
    run = root / "mine/seed0"

    def write(name: str, value: dict[str, Any]) -> str:
        path = run / name
        kinds = {"metrics.json": METRICS, "test.json": TEST, "provenance.json": PROVENANCE}
        kinds[path.name].write(path, value)
        return str(path)

    part = {"top5": 1.0, "loss": 1.0, "images": 2000}
    about = dict.fromkeys(("depth", "width", "resolution", "macs", "macs_ratio", "params"), 1)
    known = {**about, "image_passes": 1, "cost_macs": 1, "selection": {**part, "top1": dense}}
    seconds = {"seconds": {"job": 1.0, "training": 1.0}, "steps": {}}
    found = write("dense/metrics.json", known)
    write("dense/test.json", {**part, "top1": dense})
    write("dense/provenance.json", seconds)
    HISTORY.write(run / "dense/history.csv", [])
    longer_metrics = [write("dense/longer/metrics.json", known)]
    write("dense/longer/test.json", {**part, "top1": longer})
    write("dense/longer/provenance.json", seconds)
    HISTORY.write(run / "dense/longer/history.csv", [])
    finals = [write("budgets/half/width/metrics.json", {**known, "test": {**part, "top1": final}})]
    limit = {"policy": "width", "limits": {"macs": 1}, "budget_macs": 1, "width_asked": 1}
    TARGET.write(run / "budgets/half/width/target.json", {**about, **limit})
    write("budgets/half/width/provenance.json", seconds)
    HISTORY.write(run / "budgets/half/width/history.csv", [])
    finals.append(write("budgets/half/depth/metrics.json", {"unreachable": "no."}))
    rows = [
        {**sample_row(name, known), "accuracy": accuracy}
        for name, accuracy in (("d100_w100_r100", again), ("d50_w100_r100", sample))
    ]
    SAMPLES.write(run / "samples.csv", rows)
    return finals, [found], longer_metrics


@pytest.mark.parametrize(
    ("final", "sample", "again", "longer", "network"),
    [
        (0.24, 0.1, 0.129, 0.129, "budget half, policy width"),
        (0.1, 0.24, 0.129, 0.129, "sample d50_w100_r100"),
        (0.1, 0.1, 0.17, 0.129, "sample d100_w100_r100"),
        (0.1, 0.1, 0.129, 0.17, "dense_longer"),
        (0.13, 0.12, 0.13, 0.13, None),
    ],
)
def test_tables_and_figure_hold_the_warning(
    tmp_path: Path, final: float, sample: float, again: float, longer: float, network: str | None
) -> None:
    root = tmp_path / "results"
    finals, dense, more = tree(root, 0.129, final, sample, again, longer)
    warnings = find_warnings(finals, dense, [root / "mine/seed0/samples.csv"], more)
    assert [row["network"] for row in warnings] == ([network] if network else [])
    names = {"runs": "r.csv", "csv": "p.csv", "left_out": "l.csv", "md": "p.md", "tex": "p.tex"}
    more_names = {"warnings": "w.csv", "failed": "f.csv"}
    output = SimpleNamespace(**{key: tmp_path / name for key, name in (names | more_names).items()})
    policies.write_tables(policies.compare(finals, dense, more), warnings, [], output)
    notes = [row["warning"] for row in WARNINGS.read(output.warnings)]
    figure = draw_policies(policies.POLICIES.read(output.csv), Style((5.0, 4.0), 50), notes)
    written = (figure.get_supxlabel() or "").replace("\n", " ")
    for text in (output.md.read_text(), output.tex.read_text(), written):
        for part in ("not trained to the end", "not to be trusted: raise dense.epochs"):
            assert (part in text) == (network is not None)
    if network:
        assert WARNINGS.read(output.warnings) == warnings
        # Within the figure, and below its panels.
        figure.savefig(tmp_path / "a.png")
        box = figure._supxlabel.get_window_extent()  # type: ignore[attr-defined]
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
        assert box.y1 <= figure.axes[0].get_window_extent().y0


def test_tables_that_are_no_inputs_are_not_read(tmp_path: Path) -> None:
    finals, dense, _ = tree(tmp_path, 0.1, 0.3, 0.1, 0.1, 0.1)
    # As an earlier config of the same experiment may have left it.
    assert (tmp_path / "mine/seed0/samples.csv").exists()
    assert [row["networks"] for row in find_warnings(finals, dense, [])] == [1]


@pytest.mark.parametrize(
    ("policy", "parts", "where"),
    [
        ("slimming", [{"batchnorm_l1": 0.0}, {"batchnorm_l1": 0.3}], "1 of 2"),
        ("group_norm", [{"group_norm": 0.0}, {"group_norm": 0.0}], "2 of 2"),
        ("slimming", [{"batchnorm_l1": 0.1}, {"batchnorm_l1": 0.3}], None),
        # Weights from a file, of which more is known; and what no penalty is needed for.
        ("slimming", [{"batchnorm_l1": 0.2, "group_norm": 0.0}], None),
        ("width", [{"batchnorm_l1": 0.0}], None),
        ("slimming", [{}], None),
    ],
)
def test_a_policy_that_needs_sparse_training_is_warned_of_where_nothing_is_sparse(
    tmp_path: Path, policy: str, parts: list[dict[str, float]], where: str | None
) -> None:
    about = dict.fromkeys(("depth", "width", "resolution", "macs", "macs_ratio", "params"), 1)
    known = {**about, "image_passes": 1, "cost_macs": 1}
    known["selection"] = {"top1": 0.9, "top5": 1.0, "loss": 1.0, "images": 100}
    dense, finals = [], []
    for seed, near_zero in enumerate(parts):
        run = tmp_path / f"results/mine/seed{seed}"
        dense.append(run / "dense/metrics.json")
        METRICS.write(dense[-1], {**known, "near_zero": near_zero})
        finals += [run / f"budgets/{budget}/{policy}/metrics.json" for budget in ("half", "few")]
    rows = find_unsparse(finals, dense)
    assert len(rows) == (where is not None)
    WARNINGS.write(tmp_path / "w.csv", rows)
    for row in WARNINGS.read(tmp_path / "w.csv"):
        assert row["experiment"] == "mine" and row["network"] is None
        assert f"policy {policy} prunes" in row["warning"] and f"in {where} dense" in row["warning"]

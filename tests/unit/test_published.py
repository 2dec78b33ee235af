"""Published figures and ours side by side."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from prune3d.data.registry import DATASETS
from prune3d.errors import UserError
from prune3d.report.policies import POLICIES
from prune3d.report.published import (
    BESIDE,
    DATA_SETS,
    PUBLISHED,
    put_beside,
    read_published,
    readable,
)


def policy(
    name: str, experiment: str, top1: float, ratio: float, dense: float = 125.5e6
) -> dict[str, Any]:
    """Return a row of policies.csv, of a network of so many MACs before it was pruned."""
    row: dict[str, Any] = dict.fromkeys(POLICIES.columns)
    budget = None if name.startswith("dense") else "half"
    own = {"experiment": experiment, "budget": budget, "policy": name, "seeds": 3}
    means = {"test_top1_mean": top1, "test_top1_std": 0.002, "macs_ratio_mean": ratio}
    return {**row, **own, **means, "macs_mean": dense * ratio}


def summary(experiment: str, dense: float = 125.5e6) -> list[dict[str, Any]]:
    networks = [("dense", 0.935, 1.0), ("dense_longer", 0.936, 1.0)]
    networks += [("dwr", 0.932, 0.495), ("width", 0.929, 0.48)]
    return [policy(name, experiment, top1, ratio, dense) for name, top1, ratio in networks]


def test_every_published_figure_is_in_the_table_as_its_source_has_it() -> None:
    with PUBLISHED.open(newline="") as stream:
        source = list(csv.DictReader(stream))
    rows = put_beside(read_published(), summary("digits"), [["digits", "digits", "resnet56"]])
    assert len(rows) == len(source) > 50
    told = {(r["data_set"], r["method"], r["network"], r["macs_ratio"], r["macs"]): r for r in rows}
    for one in source:
        ratio, macs = (float(one[key]) if one[key] else None for key in ("macs_ratio", "macs"))
        row = told[one["data_set"], one["method"], one["network"], ratio, macs]
        assert row["top1"] == pytest.approx(float(one["top1_percent"]) / 100)
        assert row["source"] == one["source"] and (row["note"] or "") == one["note"]
        assert row["whose"] == "published"
        if one["base_top1_percent"]:
            change = float(one["top1_percent"]) - float(one["base_top1_percent"])
            assert 100 * row["change"] == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize(
    ("data", "model"), [("glyphs", "resnet56"), ("cifar100", "resnet32"), ("cifar10", "resnet20")]
)
def test_nothing_of_ours_is_there_for_what_was_not_run(data: str, model: str) -> None:
    rows = put_beside(read_published(), summary("mine"), [["mine", data, model]])
    assert {row["whose"] for row in rows} == {"published"}
    assert "No row is ours" in readable(rows)


def test_ours_stand_among_those_of_the_same_network_and_data_set() -> None:
    own = [*summary("c56"), *summary("g56")]
    networks = [["c56", "cifar10", "resnet56"], ["g56", "glyphs", "resnet56"]]
    rows = put_beside(read_published(), own, networks)
    ours = [row for row in rows if row["whose"] == "ours"]
    assert [(r["data_set"], r["network"], r["method"]) for r in ours] == [
        ("CIFAR-10", "resnet56", "dwr"),
        ("CIFAR-10", "resnet56", "width"),
    ]
    assert [r["change"] for r in ours] == pytest.approx([-0.003, -0.006])
    assert [(r["base_top1"], r["seeds"]) for r in ours] == [(0.935, 3)] * 2
    group = [row for row in rows if (row["data_set"], row["network"]) == ("CIFAR-10", "resnet56")]
    ratios = [row["macs_ratio"] for row in group]
    assert ratios == sorted(ratios, reverse=True)
    text = readable(rows)
    assert "| CIFAR-10 | resnet56 | ours | dwr | 3 | 93.50 | 93.20 ± 0.20 | -0.30 | 49.5 |" in text
    assert text.startswith("| data set |") and "2 rows are ours" in text


def test_networks_of_which_only_macs_are_told_stand_among_those_of_their_size() -> None:
    """The dense networks have 4.09 and 0.30 G in the papers' and torchvision's own tables."""
    for ours, networks in (([], []), (summary("r", 4.09e9), [["r", "imagenet", "resnet50"]])):
        rows = put_beside(read_published(), ours, networks)
        for network, dense in (("resnet50", 4.09e9), ("mobilenet_v2", 0.301e9)):
            own = [r for r in rows if (r["data_set"], r["network"]) == ("ImageNet", network)]
            assert {(r["macs_ratio"] is None, r["macs"] is None) for r in own} >= {
                (True, False),
                (False, True),
            }
            parts = [r["macs_ratio"] or (r["macs"] or 0.0) / dense for r in own]
            assert parts == sorted(parts, reverse=True)
    # Of a network that is not registered: by what is told.
    macs = [r["macs"] for r in rows if r["network"] == "ofa-resnet50d"]
    assert macs == sorted(macs, reverse=True) and len(macs) > 1


def test_networks_of_timm_are_those_of_the_same_name() -> None:
    networks = [["r", "imagenet", "timm/resnet50"]]
    rows = put_beside(read_published(), summary("r"), networks)
    assert {r["network"] for r in rows if r["whose"] == "ours"} == {"resnet50"}


def test_the_figures_of_the_paper_keep_their_proviso(tmp_path: Path) -> None:
    rows = [row for row in read_published() if "Wang et al." in row["method"]]
    assert len(rows) == 2
    for row in rows:
        assert "as reported by" in row["method"] and "with some doubt" in row["note"]
    assert "not certain" in readable(rows)
    BESIDE.write(tmp_path / "p.csv", put_beside(rows, [], []))
    assert all("with some doubt" in row["note"] for row in BESIDE.read(tmp_path / "p.csv"))


def test_data_sets_are_registered() -> None:
    assert set(DATA_SETS) <= set(DATASETS)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("93.18", "193.18", "line 2: 'base_top1_percent'"),
        ("https://", "ftp://", "line 2: 'source'"),
    ],
)
def test_a_line_that_is_wrong_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "published.csv"
    path.write_text(PUBLISHED.read_text().replace(old, new))
    with pytest.raises(UserError) as refused:
        read_published(path)
    assert told in str(refused.value)
    assert "delete it" not in str(refused.value)  # which nothing makes anew

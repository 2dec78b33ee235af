"""What others have published beside our own results, of the same networks on the same data sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from prune3d.data.registry import facts as data_facts
from prune3d.data.settings import DataSettings
from prune3d.errors import UserError
from prune3d.files import read_text
from prune3d.models.registry import all_facts
from prune3d.optimize.registry import DENSE_LONGER
from prune3d.records import (
    AtLeastOne,
    Fraction,
    Name,
    Positive,
    Ratio,
    Record,
    TableKind,
    first_wrong,
)
from prune3d.report.text import markdown, percent, points, scaled

PUBLISHED = Path(__file__).with_name("published.csv")
# What the data sets are called in papers.
DATA_SETS = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny-imagenet": "TinyImageNet",
    "imagenet": "ImageNet",
}
Percent = Annotated[float, Field(ge=0, le=100)]
Row = dict[str, Any]


class PublishedRow(Record):
    """A published figure, as published.csv has it."""

    data_set: Name
    network: Name
    method: Name
    dimensions: Name
    base_top1_percent: Percent | None = None
    top1_percent: Percent
    macs_ratio: Ratio | None = None
    macs: Positive | None = None
    note: Name | None = None
    source: Annotated[str, Field(pattern="^https://")]


class BesideRow(Record):
    """A figure, published or ours."""

    data_set: Name
    network: Name
    whose: Annotated[str, Field(pattern="^(published|ours)$")]
    method: Name
    dimensions: Name | None = None
    seeds: AtLeastOne | None = None
    base_top1: Fraction | None = None
    top1: Fraction
    top1_std: float | None = None
    change: float | None = None
    macs_ratio: Positive | None = None
    macs: Positive | None = None
    note: Name | None = None
    source: Name | None = None


BESIDE = TableKind("beside_published", 1, BesideRow)


def read_published(path: str | Path = PUBLISHED) -> list[Row]:
    """Return the published figures as rows of `BESIDE`.

    Raises
    ------
    UserError
        If the file is missing or a line is not as it should be.
    """
    rows = []
    for line, cells in enumerate(csv.DictReader(io.StringIO(read_text(path))), 2):
        given = {name: cell for name, cell in cells.items() if cell}
        try:
            row = PublishedRow.model_validate_strings(given).model_dump()
        except ValidationError as error:
            raise UserError(f"{path} is wrong in line {line}: {first_wrong(error)}.") from None
        base, top1 = row.pop("base_top1_percent"), row.pop("top1_percent")
        parts = {
            "base_top1": None if base is None else base / 100,
            "top1": top1 / 100,
            "change": None if base is None else (top1 - base) / 100,
        }
        told = {name: None if part is None else round(part, 6) for name, part in parts.items()}
        rows.append({**dict.fromkeys(BESIDE.columns), **row, "whose": "published", **told})
    return rows


def put_beside(
    published: Sequence[Row],
    summary: Iterable[Mapping[str, Any]],
    networks: Iterable[Sequence[str]],
) -> list[Row]:
    """Put our own results beside published ones.

    Parameters
    ----------
    published
        See `read_published`.
    summary
        Rows of `prune3d.report.policies.POLICIES`.
    networks
        Experiment, data set and model of all that were run.

    Returns
    -------
    list of dict
        Rows of `BESIDE`, by data set and network in the order of the published ones, the largest
        part of the dense network's MACs first, and last those of which it is not known. Ours
        are only of data sets and networks of which there are published ones.
    """
    known = {
        experiment: (DATA_SETS.get(data), model.removeprefix("timm/"))
        for experiment, data, model in networks
    }
    rows = list(summary)
    places = dict.fromkeys((row["data_set"], row["network"]) for row in published)
    beside = []
    for place in places:
        group = [row for row in published if (row["data_set"], row["network"]) == place]
        for experiment in (name for name, network in known.items() if network == place):
            group += _ours(place, [row for row in rows if row["experiment"] == experiment])
        dense = _dense_macs(place, group)
        beside += sorted(group, key=lambda row: _size(row, dense), reverse=True)
    return beside


def _ours(place: tuple[str, str], rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    base = next((row["test_top1_mean"] for row in rows if row["policy"] == "dense"), None)
    return [
        {
            "data_set": place[0],
            "network": place[1],
            "whose": "ours",
            "method": row["policy"],
            "dimensions": None,
            "seeds": row["seeds"],
            "base_top1": base,
            "top1": row["test_top1_mean"],
            "top1_std": row["test_top1_std"],
            "change": None if base is None else row["test_top1_mean"] - base,
            "macs_ratio": row["macs_ratio_mean"],
            "macs": row["macs_mean"],
            "note": f"experiment {row['experiment']}, budget {row['budget']}",
            "source": None,
        }
        for row in rows
        if row["policy"] not in ("dense", DENSE_LONGER)
    ]


def _dense_macs(place: tuple[str, str], rows: Iterable[Row]) -> float | None:
    """Return the MACs of a data set's dense network, of which rows may give a part or an amount.

    They are those of a row that has both, else those of the registered network of the same name,
    if the data set's images have the side at which that was counted.
    """
    for row in rows:
        if row["macs"] and row["macs_ratio"]:
            return row["macs"] / row["macs_ratio"]
    data_set, network = place
    known = all_facts().get(network)
    names = [name for name, title in DATA_SETS.items() if title == data_set]
    sides = [data_facts(DataSettings(name)).side for name in names]
    return known.macs if known and known.image_size in sides else None


def _size(row: Row, dense: float | None) -> tuple[float, float]:
    """Return the part of the dense MACs, 0 where that is not known, then the MACs."""
    macs = row["macs"] or 0.0
    return row["macs_ratio"] or (macs / dense if dense else 0.0), macs


def readable(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table for people, in Markdown, with what it does not tell."""
    header = ["data set", "network", "whose", "method", "seeds", "dense top-1 %", "top-1 %"]
    header += ["change", "MACs %", "MACs", "note", "source"]
    cells = [
        [
            row["data_set"],
            row["network"],
            row["whose"],
            row["method"],
            str(row["seeds"] or "-"),
            "-" if row["base_top1"] is None else percent(row["base_top1"]),
            percent(row["top1"], row["top1_std"]),
            points(row["change"]),
            "-" if row["macs_ratio"] is None else percent(row["macs_ratio"], digits=1),
            "-" if row["macs"] is None else scaled(row["macs"]),
            row["note"] or "",
            row["source"] or "",
        ]
        for row in rows
    ]
    ours = sum(row["whose"] == "ours" for row in rows)
    notes = [
        f"{ours} rows are ours: of the networks and data sets that this run holds, and no others."
        if ours
        else "No row is ours: this run holds none of these networks on these data sets.",
        "Published figures are as their sources give them: other recipes, other dense networks, "
        "other networks of the same name, mostly one run, and MACs or FLOPs as counted there. "
        "Compare the change rather than the accuracy. Ours are trained without the selection "
        "images (data.selection_fraction of the training images), most others with all of them, "
        "and some report the best epoch by the test images.",
        "The two rows of Wang et al., the paper whose method this is, are quoted by a later paper "
        "whose reference to it is not certain; see their note.",
    ]
    return markdown(header, cells) + "".join(f"\n- {note}" for note in notes) + "\n"

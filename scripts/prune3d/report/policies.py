"""The table of all policies: one row a run, and their mean and spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune3d.files import read_json, write_csv, write_text
from prune3d.report.text import latex, markdown, mean_and_spread, percent, scaled
from prune3d.samples import read_samples

Row = dict[str, Any]

RUN_COLUMNS = (
    "experiment",
    "seed",
    "budget",
    "policy",
    "depth",
    "width",
    "resolution",
    "macs",
    "macs_ratio",
    "params",
    "selection_top1",
    "test_top1",
    "test_top5",
    "predicted_accuracy",
    "search_cost_macs",
    "finetune_cost_macs",
    "search_seconds",
    "finetune_seconds",
)
AVERAGED = RUN_COLUMNS[4:]
SUMMARY_COLUMNS = (
    "experiment",
    "budget",
    "policy",
    "seeds",
    *(f"{column}_{part}" for column in AVERAGED for part in ("mean", "std")),
)
LEFT_OUT_COLUMNS = ("experiment", "seed", "budget", "policy", "reason")


@dataclass(frozen=True)
class Comparison:
    """All runs of all policies.

    Attributes
    ----------
    runs
        Rows of `RUN_COLUMNS`: the dense networks, then every policy that reached its budget.
    left_out
        Rows of `LEFT_OUT_COLUMNS`: those that did not, and why.
    """

    runs: list[Row]
    left_out: list[Row]


def compare(root: str | Path, finals: Iterable[str], dense: Iterable[str]) -> Comparison:
    """Read the metrics of all networks.

    Parameters
    ----------
    root
        The folder ``results``.
    finals, dense
        Paths of the ``metrics.json`` of the final and of the dense networks.
    """
    runs = [dense_row(Path(path).parent) for path in dense]
    left_out = []
    for path in map(Path, finals):
        experiment, seed, _, budget, policy = path.parent.relative_to(root).parts
        names = {
            "experiment": experiment,
            "seed": int(seed.removeprefix("seed")),
            "budget": budget,
            "policy": policy,
        }
        metrics = read_json(path)
        if "unreachable" in metrics:
            left_out.append({**names, "reason": metrics["unreachable"]})
        else:
            runs.append({**names, **final_row(path.parent, policy, metrics)})
    return Comparison(runs, left_out)


def dense_row(folder: Path) -> Row:
    """Return the row of a dense network from its folder."""
    metrics, test = read_json(folder / "metrics.json"), read_json(folder / "test.json")
    return {
        "experiment": folder.parts[-3],
        "seed": int(folder.parts[-2].removeprefix("seed")),
        "budget": "",
        "policy": "dense",
        **_measured({**metrics, "test": test}),
        "predicted_accuracy": None,
        "search_cost_macs": 0,
        "finetune_cost_macs": 0,
        "search_seconds": 0.0,
        "finetune_seconds": 0.0,
    }


def final_row(folder: Path, policy: str, metrics: Mapping[str, Any]) -> Row:
    """Return the part of a row that comes from the folder of a final network.

    The method is billed with its samples and with the scoring of blocks, the policy ``depth`` with
    the scoring. The training of the dense network, common to all, and the held-out samples, which
    only judge the predictor, are not billed.
    """
    run = folder.parents[2]
    search_macs, search_seconds = 0.0, 0.0
    if policy in ("dwr", "depth"):
        search_macs += read_json(run / "dense/structure.json")["cost"]["cost_macs"]
    if policy == "dwr":
        fit = read_samples(run / "samples.csv")["fit"]
        search_macs += float(fit.cost_macs[1:].sum())
        search_seconds = sum(
            training_seconds(run / "samples" / name / "provenance.json") for name in fit.names[1:]
        )
    target = run / "budgets" / folder.parent.name / "optimum.json" if policy == "dwr" else None
    return {
        **_measured(metrics),
        "predicted_accuracy": read_json(target)["predicted_accuracy"] if target else None,
        "search_cost_macs": int(search_macs),
        "finetune_cost_macs": metrics["cost_macs"],
        "search_seconds": round(search_seconds, 1),
        "finetune_seconds": round(training_seconds(folder / "provenance.json"), 1),
    }


def training_seconds(path: Path) -> float:
    """Return the seconds of training that a provenance file records."""
    return float(read_json(path)["seconds"].get("training", 0.0))


def summarize(runs: Sequence[Row]) -> list[Row]:
    """Return mean and sample standard deviation over the seeds, a row a policy.

    Rows keep the order in which the policies first appear.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in runs:
        groups.setdefault((row["experiment"], row["budget"], row["policy"]), []).append(row)
    summary = []
    for (experiment, budget, policy), rows in groups.items():
        entry: Row = {"experiment": experiment, "budget": budget, "policy": policy}
        entry["seeds"] = len(rows)
        for column in AVERAGED:
            values = [row[column] for row in rows if row[column] is not None]
            mean, spread = mean_and_spread(values) if values else (None, None)
            entry[f"{column}_mean"], entry[f"{column}_std"] = mean, spread
        summary.append(entry)
    return summary


def write_tables(comparison: Comparison, output: Any) -> None:
    """Write the tables.

    Parameters
    ----------
    comparison
        All runs.
    output
        Paths ``runs``, ``csv``, ``left_out``, ``md`` and ``tex``.
    """
    summary = summarize(comparison.runs)
    write_csv(output.runs, comparison.runs, RUN_COLUMNS)
    write_csv(output.csv, summary, SUMMARY_COLUMNS)
    write_csv(output.left_out, comparison.left_out, LEFT_OUT_COLUMNS)
    header, rows = readable(summary)
    write_text(output.md, markdown(header, rows) + left_out_notes(comparison.left_out))
    write_text(output.tex, latex(header, rows))


def readable(summary: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells of the table for people."""
    header = ["experiment", "budget", "policy", "seeds", "test top-1 %", "MACs %", "MACs", "params"]
    header += ["depth", "width", "resolution", "search cost (MACs)", "fine-tuning cost (MACs)"]
    rows = [
        [
            row["experiment"],
            row["budget"] or "-",
            row["policy"],
            str(row["seeds"]),
            percent(row["test_top1_mean"], row["test_top1_std"]),
            percent(row["macs_ratio_mean"], digits=1),
            scaled(row["macs_mean"]),
            scaled(row["params_mean"]),
            *(f"{row[f'{axis}_mean']:.2f}" for axis in ("depth", "width", "resolution")),
            scaled(row["search_cost_macs_mean"]),
            scaled(row["finetune_cost_macs_mean"]),
        ]
        for row in summary
    ]
    return header, rows


def left_out_notes(left_out: Sequence[Row]) -> str:
    """Return a list of the policies that could not reach their budget, and why."""
    if not left_out:
        return ""
    lines = [
        f"- {row['experiment']}, seed {row['seed']}, budget {row['budget']}, policy "
        f"{row['policy']}: {row['reason']}\n"
        for row in left_out
    ]
    return "\nLeft out, since the budget cannot be reached:\n\n" + "".join(lines)


def _measured(metrics: Mapping[str, Any]) -> Row:
    columns = ("depth", "width", "resolution", "macs", "macs_ratio", "params")
    return {
        **{column: metrics[column] for column in columns},
        "selection_top1": metrics["selection"]["top1"],
        "test_top1": metrics["test"]["top1"],
        "test_top5": metrics["test"]["top5"],
    }

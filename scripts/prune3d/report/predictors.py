"""The table of the predictors' errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prune3d.files import write_csv, write_text
from prune3d.optimize.predictor_file import VALIDATION
from prune3d.report.text import latex, markdown
from prune3d.workflow.paths import run_of

ERRORS = ("n", "mae", "rmse", "spearman", "kendall")
INTERVALS = tuple(f"{error}_{end}" for error in ERRORS[1:] for end in ("low", "high"))
READABLE = ("experiment", "seed", "predictor", "coefficients", "determined", "judged_on", *ERRORS)
COLUMNS = (*READABLE, *INTERVALS, "left_out")
DETERMINED = {True: "yes", False: "by the ridge", None: None}


def predictor_rows(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return a row for each run, predictor and way of judging, from ``validation.json`` files."""
    rows = []
    for path in paths:
        run = run_of(path)
        validation = VALIDATION.read(path)
        left_out = " ".join(validation["left_out"]) or None
        for kind, found in validation["predictors"].items():
            for judged_on in ("holdout", "leave_one_out"):
                if found[judged_on] is not None:
                    rows.append(
                        {
                            "experiment": run.experiment,
                            "seed": run.seed,
                            "predictor": kind,
                            "coefficients": found["coefficients"],
                            "determined": DETERMINED[found["determined"]],
                            "judged_on": judged_on,
                            **{error: found[judged_on][error] for error in ERRORS},
                            **_ends(found[judged_on]["intervals"]),
                            "left_out": left_out,
                        }
                    )
    return rows


def write_tables(rows: Sequence[dict[str, Any]], output: Any) -> None:
    """Write the table to the paths ``csv``, ``md`` and ``tex``."""
    write_csv(output.csv, rows, COLUMNS)
    header = [column.replace("_", " ") for column in READABLE]
    cells = [[_cell(row[column]) for column in READABLE] for row in rows]
    write_text(output.md, markdown(header, cells))
    write_text(output.tex, latex(header, cells))


def _ends(intervals: Mapping[str, Sequence[float] | None]) -> dict[str, float | None]:
    ends = {}
    for error in ERRORS[1:]:
        low, high = intervals[error] or (None, None)
        ends[f"{error}_low"], ends[f"{error}_high"] = low, high
    return ends


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value).replace("_", " ")

"""The table of the predictors' errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prune3d.files import read_json, write_csv, write_text
from prune3d.report.text import latex, markdown

ERRORS = ("n", "mae", "rmse", "spearman", "kendall")
COLUMNS = ("experiment", "seed", "predictor", "coefficients", "determined", "judged_on", *ERRORS)


def predictor_rows(paths: Iterable[str]) -> list[dict[str, Any]]:
    """Return a row for each run, predictor and way of judging, from ``validation.json`` files."""
    rows = []
    for path in map(Path, paths):
        experiment, seed = path.parts[-4], int(path.parts[-3].removeprefix("seed"))
        for kind, found in read_json(path)["predictors"].items():
            for judged_on in ("holdout", "leave_one_out"):
                if found[judged_on] is not None:
                    rows.append(
                        {
                            "experiment": experiment,
                            "seed": seed,
                            "predictor": kind,
                            "coefficients": found["coefficients"],
                            "determined": "yes" if found["determined"] else "by the ridge",
                            "judged_on": judged_on,
                            **{error: found[judged_on][error] for error in ERRORS},
                        }
                    )
    return rows


def write_tables(rows: Sequence[dict[str, Any]], output: Any) -> None:
    """Write the table to the paths ``csv``, ``md`` and ``tex``."""
    write_csv(output.csv, rows, COLUMNS)
    header = [column.replace("_", " ") for column in COLUMNS]
    cells = [[_cell(row[column]) for column in COLUMNS] for row in rows]
    write_text(output.md, markdown(header, cells))
    write_text(output.tex, latex(header, cells))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value).replace("_", " ")

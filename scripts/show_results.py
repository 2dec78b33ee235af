"""Print the table of all policies and the time of each rule, and say where the results are.

Run by `make demo`.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

RESULTS = Path("results")
FILES = {
    "tables/policies.md": "the table above; also .csv and .tex",
    "tables/runs.csv": "the same, a row a seed",
    "tables/claims.md": "what is claimed of the method, and whether this run supports it",
    "tables/predictors.md": "errors of the accuracy predictors",
    "figures/policies.png": "accuracy against MACs of all policies; also .pdf",
    "figures/*_dimensions.png": "accuracy over depth, width and resolution",
    "figures/*_predictions.png": "predicted against measured accuracy",
    "*/seed*/budgets/*/dwr/model.safetensors": "the pruned networks; model.onnx beside them",
}


def times() -> str:
    """Return a Markdown table of the time that each rule took, from Snakemake's benchmark files."""
    seconds: dict[str, list[float]] = {}
    for path in sorted((RESULTS / "benchmarks").rglob("*.tsv")):
        parts = path.relative_to(RESULTS / "benchmarks").with_suffix("").parts
        # {experiment}/seed{seed}/{rule}[/{job}], {experiment}/{rule} or {rule}
        rule = parts[2] if len(parts) > 2 else parts[-1]
        with path.open(encoding="utf-8") as stream:
            row = next(csv.DictReader(stream, delimiter="\t"))
        seconds.setdefault(rule, []).append(float(row["s"]))
    rows = sorted(seconds.items(), key=lambda item: -sum(item[1]))
    lines = [f"| {rule} | {len(s)} | {sum(s) / len(s):.1f} | {sum(s):.0f} |" for rule, s in rows]
    head = ["| rule | jobs | seconds a job | seconds in all |", "| --- | ---: | ---: | ---: |"]
    return "\n".join([*head, *lines])


def main() -> None:
    """Print tables and places."""
    table = RESULTS / "tables/policies.md"
    if not table.exists():
        sys.exit(f"{table} does not exist: the run has not ended; run `make demo` again.")
    print(f"\n{table.read_text(encoding='utf-8')}")
    print(f"{times()}\n\nResults:")
    for pattern, what in FILES.items():
        for path in sorted(RESULTS.glob(pattern)):
            print(f"  {path}  {what}")


if __name__ == "__main__":
    main()

"""Print the table of all policies and say where the results are (run by `make demo`)."""

from __future__ import annotations

import sys
from pathlib import Path

RESULTS = Path("results")
FILES = {
    "tables/policies.md": "the table above; also .csv and .tex",
    "tables/runs.csv": "the same, a row a seed",
    "tables/predictors.md": "errors of the accuracy predictors",
    "figures/policies.png": "accuracy against MACs of all policies; also .pdf",
    "figures/*/dimensions.png": "accuracy over depth, width and resolution",
    "figures/*/predictions.png": "predicted against measured accuracy",
    "*/seed*/budgets/*/dwr/model.safetensors": "the pruned networks; model.onnx beside them",
}


def main() -> None:
    """Print table and places."""
    table = RESULTS / "tables/policies.md"
    if not table.exists():
        sys.exit(f"{table} does not exist: the run has not ended; run `make demo` again.")
    print(f"\n{table.read_text(encoding='utf-8')}\nResults:")
    for pattern, what in FILES.items():
        for path in sorted(RESULTS.glob(pattern)):
            print(f"  {path}  {what}")


if __name__ == "__main__":
    main()

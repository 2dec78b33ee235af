"""Simulate runs on a cluster: how long they would take on so many GPUs, and what bounds them.

    snakemake -n --forceall --configfile mine.yaml > mine.txt 2>&1
    python tests/bench/simulate_cluster.py mine.txt --seconds train_dense=1800 finetune_sample=300

Jobs, and what they wait for, are those of the dry runs given; durations are the means of a run's
results/tables/resources.csv, and what ``--seconds`` says instead.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from prune3d.errors import UserError
from simulation import (
    Outcome,
    draw_makespans,
    in_short,
    parse_dry_run,
    read_durations,
    simulate,
)

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Simulate, print a table for each dry run, and draw them."""
    options = arguments()
    seconds = read_durations(options.durations) if options.durations.exists() else {}
    seconds |= {rule: float(value) for rule, value in options.seconds}
    found: dict[str, dict[int, Outcome]] = {}
    for path in options.dry_runs:
        jobs = parse_dry_run(path.read_text(encoding="utf-8"), login_rules())
        unknown = sorted({job.rule for job in jobs} - set(seconds) - {"all"})
        if unknown:
            sys.exit(f"no duration is known of {', '.join(unknown)}; use --durations or --seconds.")
        found[path.stem] = {
            n: simulate(jobs, seconds, n, options.login_cores, options.wait) for n in options.gpus
        }
        print(f"\n{path.stem}: {len(jobs):,} jobs\n\n{table(found[path.stem])}")
        first = found[path.stem][options.gpus[0]]
        print(f"\nCritical path, {hours(first.bound)} h: {in_short(first.critical_path)}")
    if options.figure:
        draw_makespans(found).savefig(options.figure, dpi=150)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dry_runs", type=Path, nargs="+", help="what snakemake -n printed")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--durations", type=Path, default=Path("results/tables/resources.csv"))
    parser.add_argument(
        "--seconds", type=lambda text: text.split("=", 1), nargs="+", default=[], metavar="RULE=S"
    )
    parser.add_argument("--wait", type=float, default=0.0, help="seconds in the queue before a job")
    parser.add_argument("--login-cores", type=int, default=2)
    parser.add_argument("--figure", type=Path, help="where to draw the makespans")
    return parser.parse_args()


def login_rules() -> list[str]:
    """Return the rules that rules/common.smk leaves to the login node."""
    text = (ROOT / "rules/common.smk").read_text(encoding="utf-8")
    found = re.search(r"^localrules:\n((?:    .*\n)+)", text, flags=re.MULTILINE)
    return re.findall(r"\w+", found.group(1)) if found else []


def table(outcomes: dict[int, Outcome]) -> str:
    """Return a Markdown table, a row a number of GPUs."""
    lines = ["| GPUs | makespan h | GPU-hours | GPUs busy % |", "| ---: | ---: | ---: | ---: |"]
    for gpus, outcome in outcomes.items():
        busy = 100 * outcome.gpu_seconds / gpus / outcome.makespan
        cells = (hours(outcome.makespan), hours(outcome.gpu_seconds), f"{busy:.0f}")
        lines.append(f"| {gpus} | {' | '.join(cells)} |")
    return "\n".join(lines)


def hours(seconds: float) -> str:
    """Return hours with a digit after the point, or none from a hundred on."""
    return f"{seconds / 3600:,.0f}" if seconds >= 360000 else f"{seconds / 3600:.1f}"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))

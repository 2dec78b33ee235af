"""Damage many files of a kind: ``PYTHONPATH=scripts python tests/fuzz/run.py [KIND ...]``.

Prints what came of them and exits 1 where a fault was found; ``--keep NUMBER`` writes one damaged
file instead, to look at.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from campaign import content_of, run
from kinds import KINDS, target


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # Without choices: argparse would look for the empty list among them.
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; or all")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=int, metavar="NUMBER")
    given = parser.parse_args(arguments)
    if unknown := set(given.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are: {', '.join(KINDS)}")
    return given


def main() -> int:
    """Run the command and return its exit status."""
    given = parse(sys.argv[1:])
    # A fork waits for ever for the OpenMP threads that its parent had.
    torch.set_num_threads(1)
    faults = 0
    for kind in given.kinds or list(KINDS):
        with tempfile.TemporaryDirectory(prefix="prune3d-fuzz-") as folder:
            aim = target(kind, Path(folder))
            if given.keep is not None:
                kept = Path(f"{kind}-{given.seed}-{given.keep}{aim.path.suffix}")
                kept.write_bytes(content_of(aim, given.keep, given.seed))
                print(kept)
                continue
            findings = run(aim, given.count, given.seed)
            print(f"{kind}: {findings}", flush=True)
            faults += len(findings.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

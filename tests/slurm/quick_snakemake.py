"""Snakemake with its SLURM executor looking at its jobs every few seconds.

After a look at which nothing has ended the executor adds ten seconds to its pause, up to three
minutes, which would make a test of short jobs last an hour.
"""

from __future__ import annotations

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor, common_settings

SECONDS = 2
common_settings.init_seconds_before_status_checks = SECONDS


def _pause(executor: Executor) -> float:
    return min(SECONDS, executor.__dict__.get("_pause", SECONDS))


def _set_pause(executor: Executor, seconds: float) -> None:
    executor.__dict__["_pause"] = seconds


Executor.next_seconds_between_status_checks = property(_pause, _set_pause)

if __name__ == "__main__":
    sys.exit(main())

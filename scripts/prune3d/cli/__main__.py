"""``python -m prune3d.cli``, where the command is not installed."""

from prune3d.cli.main import run

run()

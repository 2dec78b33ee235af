"""The command ``prune3d``: prune, judge and export single networks, without a workflow."""

"""Data sets by name, their splits, and images in batches."""

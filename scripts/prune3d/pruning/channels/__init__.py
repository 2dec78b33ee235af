"""Channels followed element by element through a network's forward pass."""

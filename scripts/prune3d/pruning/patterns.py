"""Patterns of layers that are left alone. Needs no torch.

A pattern is a layer's name, in which ``*`` stands for any text and ``?`` for any sign, or the name
of a module, which stands for all layers inside.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate, islice


def matches(layer: str, pattern: str) -> bool:
    """Tell whether a pattern matches a layer or a module that it is in.

    >>> matches("layer3.0.conv1", "layer3"), matches("layer3.0.conv1", "layer?.*.conv2")
    (True, False)
    """
    names = accumulate(layer.split("."), lambda outer, inner: f"{outer}.{inner}")
    return any(fnmatchcase(name, pattern) for name in names)


def why_unmatched(patterns: Sequence[str], layers: Collection[str], network: str) -> str | None:
    """Return what is wrong with the first pattern that matches no layer, None if each does.

    Parameters
    ----------
    patterns
        What is to be left alone.
    layers
        Names of all layers with parameters.
    network
        Name of the network, for the message.
    """
    for pattern in patterns:
        if not any(matches(layer, pattern) for layer in layers):
            return (
                f"'{pattern}' matches no layer of {network}; its layers are named like "
                f"{', '.join(islice(layers, 6))}"
            )
    return None

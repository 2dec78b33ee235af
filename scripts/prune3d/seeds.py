"""All randomness of a run comes from one seed and the name of what it is for."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str) -> int:
    """Return a seed for one purpose, independent of the seeds of other purposes.

    Parameters
    ----------
    seed
        The run's seed, as in the config.
    *purpose
        Names of what the numbers are for, such as ``"batch order"`` and a sample's point.

    Returns
    -------
    int
        In [0, 2**32), taken from SHA-256: the same on every machine and Python version.
    """
    text = "\x1f".join((str(seed), *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")

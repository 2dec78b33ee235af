"""From the ratios that are asked for to whole blocks, channels and pixels. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from prune3d.errors import PruningError

Counts = NDArray[np.int64]


def kept_blocks(depth: float, blocks: int, fewest: int) -> int:
    """Return how many blocks a depth ratio keeps: the nearest number.

    Raises
    ------
    PruningError
        If the ratio is outside (0, 1] or would leave fewer blocks than the network can do with.
    """
    allowed = (
        f"allowed is {fewest / blocks:.4g} ({fewest} blocks, the others' input and output shapes "
        "differ) to 1."
    )
    if not 0 < depth <= 1:
        raise PruningError(f"depth is {depth}; {allowed}")
    kept = int(depth * blocks + 0.5)
    if kept < fewest:
        raise PruningError(f"depth {depth} would keep {kept} of {blocks} blocks; {allowed}")
    return kept


def kept_channels(
    groups: Mapping[str, int],
    widths: NDArray[np.float64],
    round_to: int = 1,
    multiples: Mapping[str, int] | None = None,
) -> dict[str, Counts]:
    """Return the channels that each group keeps at each width.

    All groups shrink by the same ratio. Rounding it the same way everywhere would make the cost
    jump, since groups of one size change together; so groups of one size round at staggered
    thresholds (ours): group j of n rounds up from the fraction 1 - (j + 1/2) / n, and the mean over
    the groups stays at the ratio.

    Parameters
    ----------
    groups
        Channels of each group in the dense network.
    widths
        Ratios in (0, 1], shape (W,).
    round_to
        Channels are kept in multiples of this, or of a divisor in small groups, see `step_of`; at
        least one multiple. A group keeps all of its channels at a ratio of 1.
    multiples
        For some groups, what the kept channels must be a multiple of beside that.

    Returns
    -------
    dict
        For each group, an integer array of shape (W,).
    """
    same_size: dict[tuple[int, int], list[str]] = {}
    for name, channels in groups.items():
        step = step_of(channels, round_to, (multiples or {}).get(name, 1))
        same_size.setdefault((channels, step), []).append(name)
    kept = {}
    for (channels, step), names in same_size.items():
        for j, name in enumerate(names):
            offset = (j + 0.5) / len(names)
            # 1e-9 keeps a ratio such as 0.3 * 10 from falling under its own threshold.
            units = np.floor(widths * channels / step + offset + 1e-9).astype(np.int64)
            whole = np.minimum(np.maximum(units, 1) * step, channels)
            kept[name] = np.where(widths >= 1, channels, whole)
    return {name: kept[name] for name in groups}


def step_of(channels: int, round_to: int, multiple: int = 1) -> int:
    """Return in multiples of what the channels of a group are kept.

    It is the multiple that is asked for, or the largest divisor of it of which the group has two:
    of a group of one multiple nothing could go.

    Parameters
    ----------
    channels
        Of the group in the dense network.
    round_to
        What is asked for.
    multiple
        What the kept channels must be a multiple of in any case.
    """
    divisors = (d for d in range(min(round_to, channels // 2), 0, -1) if round_to % d == 0)
    steps = (math.lcm(divisor, multiple) for divisor in divisors)
    return next((step for step in steps if 2 * step <= channels), multiple)


def side_of(resolution: float, image_size: int, smallest: int = 1) -> int:
    """Return the image side in pixels nearest to a resolution ratio.

    Raises
    ------
    PruningError
        If the ratio is outside (0, 1] or gives a side below the smallest.
    """
    allowed = f"allowed is {smallest / image_size:.4g} ({smallest} pixels) to 1."
    if not 0 < resolution <= 1:
        raise PruningError(f"resolution is {resolution}; {allowed}")
    side = int(resolution * image_size + 0.5)
    if side < smallest:
        raise PruningError(
            f"resolution {resolution} would make {side} pixels of {image_size}; {allowed}"
        )
    return side

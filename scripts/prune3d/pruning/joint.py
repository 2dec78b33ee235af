"""The pruning itself, on a copy: blocks, then the image side, then channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from prune3d.costs.count import cost, legal_sides, takes_side
from prune3d.costs.ratios import side_of
from prune3d.costs.structure import compose
from prune3d.data.images import ImageSplits
from prune3d.errors import PruningError, UserError, what_failed
from prune3d.models.assembly import dense_skeleton, get_spec, set_spec
from prune3d.models.foreign import copy_network
from prune3d.models.lineage import Step, add_step, get_lineage, set_lineage
from prune3d.pruning.allocate import prune_allocated
from prune3d.pruning.analyze import analyze
from prune3d.pruning.batchnorm import reestimate_statistics
from prune3d.pruning.dense import keep_layers
from prune3d.pruning.depth import prune_depth
from prune3d.pruning.options import PruningOptions
from prune3d.pruning.width import prune_width


@dataclass(frozen=True)
class PruningTarget:
    """Ratios to the dense network, each in (0, 1]; None leaves a dimension as it is.

    `macs` stands for the width with which the network has this ratio of the dense network's MACs.
    """

    depth: float | None = None
    width: float | None = None
    resolution: float | None = None
    macs: float | None = None


def prune_to(
    model: nn.Module,
    target: PruningTarget,
    options: PruningOptions,
    images: ImageSplits | None,
    removal_order: Sequence[str] | None,
) -> nn.Module:
    """Prune a copy of a network to a target; see `prune3d.prune`."""
    if target.width is not None and target.macs is not None:
        raise PruningError("width and macs are both given; macs is reached by choosing the width.")
    pruned = copy_network(model, get_spec(model).name)
    set_lineage(pruned, get_lineage(model))
    if options.keep:
        keep_layers(pruned, options.keep)
    if target.depth is not None:
        prune_depth(pruned, target.depth, options, images, removal_order)
    if target.resolution is not None:
        prune_resolution(pruned, target.resolution)
    width, most = target.width, None
    if target.macs is not None:
        width = width_for(pruned, target.macs, options)
        most = target.macs * cost_of_dense(pruned)
    if width is not None:
        try:
            if options.allocation == "global":
                counts = prune_allocated(pruned, width, options, images, most)
            else:
                counts = prune_width(pruned, width, options, images)
        except UserError:
            raise
        except Exception as error:
            raise PruningError(
                f"{get_spec(model).name} cannot be pruned along width ({what_failed(error)})."
            ) from error
        _check_cost(pruned, counts)
    if images is not None:
        passes = reestimate_statistics(pruned, images.train, options)
        add_step(pruned, Step("re-estimate batch norms", passes, cost(pruned).macs))
    return pruned


def prune_resolution(model: nn.Module, resolution: float) -> None:
    """Set the image side that the network is meant for to a ratio of the dense network's.

    Raises
    ------
    PruningError
        If the ratio is outside (0, 1], above what the network has now, or gives a side that the
        network cannot take.
    """
    spec = get_spec(model)
    side = side_of(resolution, spec.image_size)
    if side > spec.side:
        raise PruningError(
            f"resolution {resolution} is {side} pixels, above the {spec.side} that the network "
            "has now; pruning only makes smaller."
        )
    if not takes_side(model, side):
        legal = legal_sides(model)
        raise PruningError(
            f"resolution {resolution} would make {side} pixels of {spec.image_size}, which "
            f"{spec.name} cannot take; it takes {_ranges(legal)} pixels."
        )
    set_spec(model, replace(spec, side=side))


def width_for(model: nn.Module, macs: float, options: PruningOptions) -> float:
    """Return the largest width ratio with which a network has at most a ratio of the dense MACs.

    The network keeps the blocks and the image side that it has. Rounding to `round_to` is part of
    the search.

    Raises
    ------
    PruningError
        If even the narrowest network has more.
    """
    if not 0 < macs <= 1:
        raise PruningError(f"macs is {macs}; allowed is above 0 and at most 1.")
    spec = get_spec(model)
    structure = analyze(model, sorted({spec.side, spec.image_size}))
    widths = np.arange(1000, 0, -1) / 1000
    kept = structure.kept(widths, options.round_to)
    level = compose(structure, spec.removed_blocks, kept)
    ratios = structure.arrays.positions[0] @ level.weights / cost_of_dense(model)
    within = np.flatnonzero(ratios <= macs)
    if not len(within):
        raise PruningError(
            f"macs {macs} cannot be reached by width: {spec.name} with its present depth and "
            f"resolution has at least {float(ratios.min()):.4f} of the dense MACs."
        )
    return float(widths[within[0]])


def cost_of_dense(model: nn.Module) -> int:
    """Return the multiply-accumulates of the dense network of a network for one image."""
    return cost(dense_skeleton(get_spec(model).dense())).macs


def _check_cost(model: nn.Module, counts: Mapping[str, int]) -> None:
    """Compare what was measured with what was asked for: nothing may be left unpruned."""
    spec = get_spec(model)
    structure = analyze(model, [spec.side])
    kept = {name: np.array([count]) for name, count in counts.items()} or {"": np.array([1])}
    level = compose(structure, spec.removed_blocks, kept)
    expected = int((structure.arrays.positions[0] @ level.weights)[0]), int(level.params[0])
    measured = cost(model)
    if (measured.macs, measured.params) != expected:
        raise PruningError(
            f"{spec.name} pruned along width has {measured.macs} MACs and {measured.params} "
            f"parameters, but {expected[0]} and {expected[1]} were expected; this is a defect of "
            "prune3d, please report it with your model."
        )


def _ranges(sides: Sequence[int]) -> str:
    """Return ascending numbers as text such as ``16 to 31, 40``."""
    runs: list[list[int]] = []
    for side in sides:
        if runs and side == runs[-1][-1] + 1:
            runs[-1].append(side)
        else:
            runs.append([side])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)

"""Labels: for each element of a tensor the identities without which it would not be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from prune3d.pruning.channels.identities import NONE, Classes, Ids, merged

# Patterns are kept with the layers, and hold as long as this number. (Torch's own versions of
# tensors do not count within a dispatch mode.)
_writes = 0


@dataclass
class Labels:
    """Identities of a tensor's elements.

    Attributes
    ----------
    layers
        int64 tensors of the tensor's shape, mostly expanded ones; an element has an identity in
        each, or `NONE`. A filter's weight has one for its output and one for its input channel.
    computed
        Whether the tensor was computed from parameters and buffers alone.
    """

    layers: list[Tensor] = field(default_factory=list)
    computed: bool = False


@dataclass(frozen=True)
class Pattern:
    """A layer without the dimensions along which it does not vary.

    Attributes
    ----------
    ids
        As many dimensions as the layer, of size 1 where it does not vary.
    dims
        The dimensions along which it varies.
    """

    ids: Tensor
    dims: tuple[int, ...]


def pattern(layer: Tensor, classes: Classes | None = None) -> Pattern:
    """Return a layer's pattern; with classes, that of the roots of its identities."""
    if classes is None:
        state = _writes, layer.shape
        before, known = getattr(layer, "_pattern", (None, None))
        if known is None or before != state:
            known = _pattern(layer, None)
            layer._pattern = state, known  # type: ignore[attr-defined]
        return known
    return _pattern(layer, classes)


def write(layer: Tensor, new: Tensor) -> Tensor:
    """Write into a layer's memory, at which others may look; what was known of them is not."""
    global _writes
    _writes += 1
    return layer.copy_(new)


def _pattern(layer: Tensor, classes: Classes | None) -> Pattern:
    ids, dims = layer, []
    for dim, size in enumerate(layer.shape):
        if size > 1 and layer.stride(dim) == 0:
            ids = ids.narrow(dim, 0, 1)
    if classes is not None:
        ids = torch.from_numpy(classes.find(ids.numpy()))
    for dim, size in enumerate(ids.shape):
        if size > 1:
            first = ids.narrow(dim, 0, 1)
            if bool((ids == first).all()):
                ids = first
            else:
                dims.append(dim)
    return Pattern(ids, tuple(dims))


def named(layer: Tensor) -> bool:
    """Tell whether any element has an identity."""
    return bool((pattern(layer).ids != NONE).any())


def all_ids(labels: Labels) -> Ids:
    """Return every identity of a tensor."""
    parts = [pattern(layer).ids.flatten() for layer in labels.layers]
    found: Ids = torch.cat([*parts, torch.zeros(0, dtype=torch.int64)]).unique().numpy()
    return found


def vary_along(labels: Labels, dim: int) -> list[Pattern]:
    """Return the patterns of the layers that vary along a dimension."""
    found = [pattern(layer) for layer in labels.layers]
    return [p for p in found if dim in p.dims]


def along(labels: Labels, dim: int, size: int, classes: Classes) -> Ids:
    """Return the identities along a dimension, shape (size,), and join what lies in one place.

    Used where everything at one place of the dimension meets the same weights.
    """
    vectors = []
    for found in vary_along(labels, dim):
        table = found.ids.movedim(dim, 0).reshape(size, -1).numpy()
        first = merged(table.T, size)
        for column in table.T if table.shape[1] > 1 else ():
            classes.unite(first, column)
        vectors.append(first)
    for vector in vectors[1:]:
        classes.unite(vectors[0], vector)
    return merged(vectors, size)


def combine(parts: Sequence[Labels], shape: torch.Size, classes: Classes) -> Labels:
    """Return the labels of an elementwise result, and join the identities that meet.

    Layers meet where they vary along a common dimension; others stay beside each other, as the two
    of an outer product.
    """
    layers: list[Tensor] = []
    for part in parts:
        for layer in part.layers:
            layer = _expanded(layer, shape)
            found = pattern(layer)
            if not found.dims and not found.ids.any():
                continue
            for k, other in enumerate(layers):
                if set(pattern(other).dims) & set(found.dims):
                    layers[k] = meet(other, layer, classes)
                    break
            else:
                layers.append(layer)
    return Labels(layers, bool(parts) and all(part.computed for part in parts))


def meet(a: Tensor, b: Tensor, classes: Classes) -> Tensor:
    """Join the identities of two layers elementwise and return the layer of the result."""
    x, y = torch.broadcast_tensors(pattern(a).ids, pattern(b).ids)
    classes.unite(x.flatten().numpy(), y.flatten().numpy())
    return torch.where(x == NONE, y, x).expand(a.shape)


def _expanded(layer: Tensor, shape: torch.Size) -> Tensor:
    return layer if layer.shape == shape else layer.expand(shape)


def spread(ids: Ids, dim: int, shape: Sequence[int]) -> Tensor:
    """Return the layer of a shape whose identities are given along a dimension."""
    view = [1] * len(shape)
    view[dim] = len(ids)
    return torch.from_numpy(ids).view(view).expand(tuple(shape))

"""Products of activations with each other: attention, of which whole heads go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from prune3d.pruning.channels.heads import goes_evenly
from prune3d.pruning.channels.labels import Labels, combine, pattern
from prune3d.pruning.channels.moving import bind, first_of
from prune3d.pruning.channels.trace import Tracer


def batched_product(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Contract two batches of matrices; what goes along the batches, as heads do, goes on."""
    a, b = (args[1], args[2]) if func.overloadpacket.__name__ == "baddbmm" else args[:2]
    out = tracer.contract(func, args, kwargs, {len(args) - 2: 2})
    for tensor in (a, b):
        _keep_but_heads(tracer, tensor, 0)
    classes = tracer.classes
    for layer in tracer.labels(a).layers:
        found = pattern(layer)
        for other in tracer.labels(b).layers:
            facing = pattern(other)
            if 2 in found.dims and 1 in facing.dims:
                _contract(tracer, found.ids, facing.ids)
    layers = []
    for layer, dim in [(la, 2) for la in tracer.labels(a).layers] + [
        (la, 1) for la in tracer.labels(b).layers
    ]:
        found = pattern(layer, classes)
        if found.dims and dim not in found.dims:
            layers.append(Labels([found.ids.expand(out.shape)]))
    tracer.set(out, combine(layers, out.shape, classes))
    return out


def _keep_but_heads(tracer: Tracer, tensor: Tensor, heads: int) -> list[Tensor]:
    """Freeze identities that are multiplied with each other; return layers of whole heads."""
    layers = []
    for layer in tracer.labels(tensor).layers:
        found, raw = pattern(layer, tracer.classes), pattern(layer)
        if heads in raw.dims and len(raw.dims) > 1 and not tracer.checks:
            tracer.trace.heads.append(raw.ids.movedim(heads, 0).flatten(1).numpy())
        if found.dims == (heads,):
            layers.append(found.ids)
            tracer.trace.whole_heads.setdefault(tracer.module, []).append(
                found.ids.flatten().numpy()
            )
        elif raw.ids.any() and not goes_evenly(tracer):
            tracer.freeze(raw.ids.flatten().numpy(), "they are multiplied with each other")
    return layers


def attention(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Attend in one operator: whole heads go, or as many channels of each."""
    given = bind(func, args, kwargs)
    operands = [given[key] for key in ("query", "key", "value")]
    operands += [t for key in ("attn_mask", "attn_bias") if isinstance(t := given.get(key), Tensor)]
    out = tracer.contract(func, args, kwargs, {0: 3})
    result = first_of(out)
    parts = _contract_evenly(tracer, operands[:3], result) if goes_evenly(tracer) else []
    for tensor in operands:
        for ids in _keep_but_heads(tracer, tensor, 1):
            if ids.shape[1] == result.shape[1]:
                parts.append(Labels([ids.expand(result.shape)]))
            else:
                tracer.freeze(ids.flatten().numpy(), "several heads share them")
    tracer.set(result, combine(parts, result.shape, tracer.classes))
    return out


def _contract_evenly(tracer: Tracer, operands: list[Tensor], result: Tensor) -> list[Labels]:
    """Join the places in the heads of queries and keys; return those of values."""
    query, key, value = operands
    for one in _varying(tracer, query):
        for other in _varying(tracer, key):
            tracer.classes.unite(one.flatten().numpy().copy(), other.flatten().numpy().copy())
    return [Labels([ids.expand(result.shape)]) for ids in _varying(tracer, value)]


def _varying(tracer: Tracer, tensor: Tensor) -> list[Tensor]:
    """Return what varies along the last of four dimensions alone."""
    found = [pattern(layer, tracer.classes) for layer in tracer.labels(tensor).layers]
    return [p.ids for p in found if p.dims == (3,)]


def _contract(tracer: Tracer, a: Tensor, b: Tensor) -> None:
    """Join identities of shape (batch, rows, k) with those of shape (batch, k, columns)."""
    rows, columns = a.shape[1], b.shape[2]
    x = a.permute(1, 0, 2)  # rows, batch, k
    y = b.permute(2, 0, 1)  # columns, batch, k
    base_x, base_y = torch.broadcast_tensors(x[0], y[0])
    tracer.classes.unite(base_x.flatten().numpy(), base_y.flatten().numpy())
    for k in range(1, rows):
        tracer.classes.unite(x[0].flatten().numpy(), x[k].flatten().numpy())
    for k in range(1, columns):
        tracer.classes.unite(y[0].flatten().numpy(), y[k].flatten().numpy())

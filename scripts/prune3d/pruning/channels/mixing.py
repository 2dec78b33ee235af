"""Operators that read channels and make new ones, and those that normalize and pool."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune3d.pruning.channels.identities import NONE, Ids, merged
from prune3d.pruning.channels.labels import Labels, along, combine, named, pattern, spread
from prune3d.pruning.channels.moving import bind, elementwise, first_of
from prune3d.pruning.channels.trace import Size, SizeUse, Tracer


def convolution(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Read the identities along the channels and make those of the weight."""
    given = bind(func, args, kwargs)
    x, weight, bias, groups = given["input"], given["weight"], given["bias"], int(given["groups"])
    at = x.dim() - weight.dim() + 1
    reads, writes = (0, 1) if given["transposed"] else (1, 0)
    channels = along(tracer.labels(x), at, x.shape[at], tracer.classes)
    kind = tracer.choice("grouped", "whole") if groups > 1 else ""
    out = tracer.contract(func, args, kwargs, {} if kind == "whole" else {0: at})
    if kind == "even":
        made = _even(tracer, channels, weight, given["transposed"], groups)
    else:
        made = _made(tracer, weight, writes, out.shape[at], groups if given["transposed"] else 1)
        if groups == 1 or given["transposed"]:
            _meet_weight(tracer, weight, reads, channels)
        if groups > 1:
            made = _grouped(tracer, channels, made, groups)
    if bias is not None:
        tracer.classes.unite(made, along(tracer.labels(bias), 0, len(made), tracer.classes))
    layers = [spread(made, at, out.shape)]
    for layer in tracer.labels(x).layers:
        found = pattern(layer)
        if found.dims and at not in found.dims and named(layer):
            if max(found.dims) > at and set(weight.shape[2:]) != {1}:
                tracer.freeze(found.ids.flatten().numpy(), "a convolution runs along them")
            elif max(found.dims) < at:
                layers.append(found.ids.expand(out.shape))
            else:
                layers.append(found.ids.expand(out.shape))
    tracer.set(out, Labels(layers))
    return out


def _made(tracer: Tracer, weight: Tensor, dim: int, count: int, copies: int) -> Ids:
    """Return the identities that a weight makes, and note that it does."""
    labels = tracer.labels(weight)
    ids = along(labels, dim, weight.shape[dim], tracer.classes)
    axis = tracer.axis_of(ids) if labels.computed else None
    if axis is not None and copies == 1:
        tracer.trace.written.add(axis)
    if copies > 1:
        return np.zeros(count, dtype=np.int64)
    return ids


def _meet_weight(tracer: Tracer, weight: Tensor, dim: int, channels: Ids) -> None:
    """Join the identities that are read with the places of the weight that read them."""
    labels = tracer.labels(weight)
    ids = along(labels, dim, weight.shape[dim], tracer.classes)
    axis = tracer.axis_of(ids) if labels.computed else None
    if axis is not None:
        tracer.trace.read.add(axis)
    if len(ids) == len(channels):
        tracer.classes.unite(channels, ids)
        fixed = channels[ids == NONE]
        if len(ids) > 1 and (fixed != NONE).any():
            tracer.freeze(fixed, "a weight that is no parameter reads them")


def _grouped(tracer: Tracer, channels: Ids, made: Ids, groups: int) -> Ids:
    """Tie the inputs and the outputs of each group of a convolution; return the outputs."""
    inputs = channels.reshape(groups, -1)
    outputs = made.reshape(groups, -1)
    first = merged(np.concatenate([outputs, inputs], 1).T, groups)
    for table in (inputs, outputs):
        for column in table.T:
            tracer.classes.unite(first, column.copy())
    tracer.count(groups, first)
    if inputs.shape[1] > 1 or outputs.shape[1] > 1:
        tracer.trace.grouped[tracer.last_call("grouped")] = first
    return np.where(made == NONE, np.repeat(first, outputs.shape[1]), made)


def _even(tracer: Tracer, channels: Ids, weight: Tensor, transposed: bool, groups: int) -> Ids:
    """Tie the inputs of a convolution's groups place by place, and the outputs; return these."""
    inputs = _alike(tracer, channels, groups)
    if transposed:
        _meet_weight(tracer, weight, 0, channels)
        return np.tile(_made(tracer, weight, 1, weight.shape[1], 1), groups)
    _meet_weight(tracer, weight, 1, inputs)
    made = _made(tracer, weight, 0, weight.shape[0], 1)
    _alike(tracer, made, groups)
    return made


def _alike(tracer: Tracer, ids: Ids, groups: int) -> Ids:
    """Tie the identities of groups place by place; return those of one."""
    table = ids.reshape(groups, -1)
    first = merged(table, table.shape[1])
    for row in table:
        tracer.classes.unite(first, row.copy())
    return first


def matrix_product(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Contract the last dimension of one operand with the first of the other."""
    given = bind(func, args, kwargs)
    bias: Any = given.get("bias")
    names: list[str] = [
        name for name in given if isinstance(given[name], Tensor) and name != "bias"
    ]
    if len(names) == 3:  # what is added comes first
        bias, names = given["self"], names[1:]
    a, b = (given[name] for name in names[:2])
    reads = 1 if "weight" in given else 0
    ka = a.dim() - 1
    places = {_place(func, names[0]): ka}
    labels_a, labels_b = tracer.labels(a), tracer.labels(b)
    channels = along(labels_a, ka, a.shape[ka], tracer.classes)
    weights = along(labels_b, reads, b.shape[reads], tracer.classes)
    out = tracer.contract(func, args, kwargs, places)
    if labels_b.computed and not labels_a.computed:
        _meet_weight(tracer, b, reads, channels)
        if b.dim() > 1:
            _made(tracer, b, 1 - reads, b.shape[1 - reads], 1)
    elif labels_a.computed and not labels_b.computed:
        _meet_weight(tracer, a, ka, weights)
        if a.dim() > 1:
            _made(tracer, a, 0, a.shape[0], 1)
    else:
        tracer.classes.unite(channels, weights)
    layers = []
    for layer in labels_a.layers:
        found = pattern(layer)
        if found.dims and ka not in found.dims:
            shape = found.ids.squeeze(ka) if b.dim() == 1 else found.ids
            layers.append(shape.expand(out.shape))
    for layer in labels_b.layers:
        found = pattern(layer)
        if b.dim() > 1 and found.dims and reads not in found.dims:
            layers.append(found.ids.squeeze(reads).expand(out.shape))
    parts = [Labels([layer]) for layer in layers]
    if isinstance(bias, Tensor):
        parts.append(tracer.labels(bias))
    labels = combine(parts, out.shape, tracer.classes)
    labels.computed = labels_a.computed and labels_b.computed
    tracer.set(out, labels)
    return out


def _place(func: Any, name: str) -> int:
    return [argument.name for argument in func._schema.arguments].index(name)


def batch_norm(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Join channels with the parameters and statistics of each."""
    given = bind(func, args, kwargs)
    x = given["input"]
    # A weight that is standardized has the statistics of what is left of it.
    others = tuple(d for d in range(x.dim()) if d != 1) if given.get("training") else ()
    out = tracer.reduce(func, args, kwargs, others)
    channels = along(tracer.labels(x), 1, x.shape[1], tracer.classes)
    for key in ("weight", "bias", "running_mean", "running_var"):
        if given.get(key) is not None:
            part = along(tracer.labels(given[key]), 0, x.shape[1], tracer.classes)
            tracer.classes.unite(channels, part)
    _counts_features(tracer, "num_features", channels)
    tracer.set(first_of(out), tracer.labels(x))
    return out


def _counts_features(
    tracer: Tracer, attribute: str, channels: Ids, index: int | None = None
) -> None:
    layer = tracer.modules.get(tracer.module)
    size = getattr(layer, attribute, None)
    if size is not None and (index is not None or size == len(channels)):
        tracer.trace.uses.append(SizeUse(Size(tracer.module, attribute, index), channels))


def group_norm(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Join channels with their parameters; whole groups go, or as many channels of each."""
    given = bind(func, args, kwargs)
    x, groups = given["input"], int(given["group"])
    channels = along(tracer.labels(x), 1, x.shape[1], tracer.classes)
    for key in ("weight", "bias"):
        if given.get(key) is not None:
            part = along(tracer.labels(given[key]), 0, x.shape[1], tracer.classes)
            tracer.classes.unite(channels, part)
    table = channels.reshape(groups, -1)
    if groups > 1:
        kind = tracer.choice("groups", "whole" if groups >= table.shape[1] else "even")
        if not tracer.checks:
            alike = table.T if kind == "whole" else table
            for row in alike[1:]:
                tracer.classes.unite(alike[0].copy(), row.copy())
        tracer.count(groups, table[:, 0].copy())
        _counts_groups(tracer, groups, table[:, 0].copy())
    _counts_features(tracer, "num_channels", channels)
    out = tracer.reduce(func, args, kwargs, (1,))
    tracer.set(first_of(out), tracer.labels(x))
    return out


def _counts_groups(tracer: Tracer, groups: int, ids: Ids) -> None:
    layer = tracer.modules.get(tracer.module)
    if isinstance(layer, torch.nn.GroupNorm) and layer.num_groups == groups:
        tracer.trace.uses.append(SizeUse(Size(tracer.module, "num_groups"), ids))


def layer_norm(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Join channels with their parameters; the statistics are those of what is left."""
    given = bind(func, args, kwargs)
    x, shape = given["input"], list(given["normalized_shape"])
    dims = tuple(range(x.dim() - len(shape), x.dim()))
    out = tracer.reduce(func, args, kwargs, dims)
    parts = [tracer.labels(x)]
    parts += [tracer.labels(given[k]) for k in ("weight", "bias") if given.get(k) is not None]
    for index, dim in enumerate(dims):
        for layer in parts[0].layers:
            found = pattern(layer)
            if found.dims == (dim,):
                ids = found.ids.flatten().numpy().copy()
                tracer.count(shape[index], ids)
                if isinstance(tracer.modules.get(tracer.module), torch.nn.LayerNorm):
                    _counts_features(tracer, "normalized_shape", ids, index)
    tracer.set(first_of(out), combine(parts, x.shape, tracer.classes))
    return out


def weight_norm(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Join a weight with its lengths; they are those of what is left."""
    given = bind(func, args, kwargs)
    weight, lengths = given["v"], given["g"]
    others = tuple(d for d in range(weight.dim()) if d != int(given["dim"]) % weight.dim())
    out = tracer.reduce(func, args, kwargs, others)
    parts = [tracer.labels(weight), tracer.labels(lengths)]
    tracer.set(out[0], combine(parts, weight.shape, tracer.classes))
    tracer.set(out[1], parts[1])
    return out


def _dims(value: Any, count: int) -> tuple[int, ...]:
    if value is None or (isinstance(value, list | tuple) and not value):
        return tuple(range(count))
    return tuple(d % count for d in ([value] if isinstance(value, int) else value))


def statistic(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Reduce dimensions; what is reduced as a sum of tensors is joined like their elements."""
    given = bind(func, args, kwargs)
    x = given["self"]
    if isinstance(given.get("other"), Tensor):  # max and min of two tensors
        return elementwise(tracer, func, args, kwargs)
    dims = _dims(given.get("dim"), x.dim())
    out = tracer.reduce(func, args, kwargs, dims)
    layers = []
    for layer in tracer.labels(x).layers:
        found = pattern(layer, tracer.classes)
        inside, outside = set(found.dims) & set(dims), set(found.dims) - set(dims)
        ids = found.ids
        if inside and outside:
            rest = ids.movedim(tuple(sorted(inside)), tuple(range(len(inside))))
            rows = rest.flatten(0, len(inside) - 1).flatten(1).numpy()
            for row in rows[1:]:
                tracer.classes.unite(rows[0].copy(), row.copy())
        elif inside or not outside:
            continue
        for dim in dims:
            ids = ids.narrow(dim, 0, 1)
        layers.append(ids)
    for result in [out] if isinstance(out, Tensor) else out:
        if isinstance(result, Tensor):
            tracer.set(result, _shaped(layers, dims, result, x.dim(), tracer.labels(x).computed))
    return out


def _shaped(
    layers: list[Tensor], dims: tuple[int, ...], out: Tensor, count: int, computed: bool
) -> Labels:
    if out.dim() != count:
        kept = [d for d in range(count) if d not in dims]
        layers = [ids.permute(*kept, *dims).flatten(len(kept)).squeeze(-1) for ids in layers]
    return Labels([ids.expand(out.shape) for ids in layers], computed)


def normalized(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Keep labels through a softmax; it is one over what is left."""
    given = bind(func, args, kwargs)
    out = tracer.reduce(func, args, kwargs, _dims(given["dim"], args[0].dim()))
    tracer.set(out, tracer.labels(args[0]))
    return out


def pooled(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Pool or resize over space: what lies in one plane goes together."""
    x = args[0]
    out = tracer.run(func, args, kwargs)
    result = first_of(out)
    planes = _planes(func)
    space = set(range(x.dim() - planes, x.dim()))
    layers = []
    for layer in tracer.labels(x).layers:
        found = pattern(layer)
        ids = found.ids
        if found.dims and set(found.dims) <= space:
            tracer.freeze(ids.flatten().numpy(), "they are pooled or resized like pixels")
            continue
        if set(found.dims) & space:
            rows = ids.flatten(x.dim() - planes).movedim(-1, 0).flatten(1).numpy()
            for row in rows[1:]:
                tracer.classes.unite(rows[0].copy(), row.copy())
        for dim in space:
            ids = ids.narrow(dim, 0, 1)
        layers.append(ids.expand(result.shape))
    for tensor in [out] if isinstance(out, Tensor) else out:
        tracer.set(tensor, Labels(layers))
    return out


def _planes(func: Any) -> int:
    name = func.overloadpacket.__name__
    return next((n for n in (1, 2, 3) if f"{n}d" in name), 2)

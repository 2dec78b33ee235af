"""Operators that work on each element or move it: these are run on the identities themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prune3d.models.stand_ins import tensors
from prune3d.pruning.channels.heads import note_heads, tie_across
from prune3d.pruning.channels.identities import Ids
from prune3d.pruning.channels.labels import Labels, along, combine, named, pattern, write
from prune3d.pruning.channels.trace import Tracer


def bind(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return an operator's arguments by name, defaults included."""
    given: dict[str, Any] = {}
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            given[argument.name] = args[place]
        elif argument.name in kwargs:
            given[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            given[argument.name] = argument.default_value
    return given


def first_of(out: Any) -> Tensor:
    """Return the tensor, or the first of several, that an operator gave."""
    tensor: Tensor = out if isinstance(out, Tensor) else out[0]
    return tensor


def elementwise(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Join the identities of elements that meet."""
    given = [tracer.labels(t) for t in tensors((args, kwargs)) if t.dim()]
    out = tracer.run(func, args, kwargs)
    for result in tensors(out):
        fits = [part for part in given if _broadcasts(part, result.shape)]
        labels = combine(fits, result.shape, tracer.classes)
        if result is args[0] if args else False:
            labels = _written_into(tracer.labels(result), labels)
        tracer.set(result, labels)
    return out


def _broadcasts(labels: Labels, shape: torch.Size) -> bool:
    return all(
        layer.dim() <= len(shape)
        and all(a in (1, b) for a, b in zip(layer.shape[::-1], shape[::-1], strict=False))
        for layer in labels.layers
    )


def _written_into(old: Labels, new: Labels) -> Labels:
    """Keep the memory of what is written into, since other views may look at it."""
    for k, layer in enumerate(new.layers[: len(old.layers)]):
        if old.layers[k].shape == layer.shape and 0 not in old.layers[k].stride():
            new.layers[k] = write(old.layers[k], layer)
    return Labels(new.layers or old.layers, new.computed)


def moved(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Move identities as their elements are moved."""
    out = tracer.run(func, args, kwargs)
    sources = list(tensors((args, kwargs)))
    count = max(len(tracer.labels(t).layers) for t in sources)
    known = [labels for t in sources if (labels := tracer.labels(t)).layers]
    computed = all(labels.computed for labels in known)
    results = [out] if isinstance(out, Tensor) else list(out)
    layers: list[list[Tensor]] = [[] for _ in results]
    for k in range(count):
        part = _run_on_ids(func, *_replaced(tracer, (args, kwargs), k))
        for place, layer in enumerate([part] if isinstance(part, Tensor) else part):
            layers[place].append(layer)
    for result, found in zip(results, layers, strict=True):
        tracer.set(result, Labels(found, computed))
    return out


def padded(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Pad; along a dimension in which identities do not vary, what is added has them, too."""
    given = bind(func, args, kwargs)
    out = tracer.run(func, args, kwargs)
    labels, pad, last = tracer.labels(given["self"]), list(given["pad"]), out.dim() - 1
    layers = []
    for layer in labels.layers:
        found = pattern(layer)
        own = [n if last - k // 2 in found.dims else 0 for k, n in enumerate(pad)]
        layers.append(torch.nn.functional.pad(found.ids, own).expand(out.shape))
    tracer.set(out, Labels(layers, labels.computed))
    return out


def _run_on_ids(func: Any, args: Any, kwargs: Any) -> Any:
    try:
        return func(*args, **kwargs)
    except (RuntimeError, NotImplementedError):
        if func.overloadpacket.__name__ in ("view", "_unsafe_view", "_reshape_alias"):
            return args[0].reshape(args[1])
        args, kwargs = _as_floats((args, kwargs))
        out = func(*args, **kwargs)
        return out.long() if isinstance(out, Tensor) else [part.long() for part in out]


def _as_floats(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double()
    if isinstance(value, list | tuple):
        return type(value)(_as_floats(part) for part in value)
    if isinstance(value, dict):
        return {key: _as_floats(part) for key, part in value.items()}
    return value


def _replaced(tracer: Tracer, value: Any, k: int) -> Any:
    """Return arguments with the k-th layer of labels in the place of tensors."""
    if isinstance(value, Tensor):
        layers = tracer.labels(value).layers
        return (
            layers[k] if k < len(layers) else torch.zeros((), dtype=torch.int64).expand(value.shape)
        )
    if isinstance(value, list | tuple):
        return type(value)(_replaced(tracer, part, k) for part in value)
    if isinstance(value, dict):
        return {key: _replaced(tracer, part, k) for key, part in value.items()}
    return value


def view(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Reshape; where one axis of channels becomes several, what goes must be a whole row.

    Of the new axes the longest is pruned, since a number of groups or of pixels is mostly fixed.
    """
    source = args[0]
    before = [len(pattern(layer).dims) for layer in tracer.labels(source).layers]
    out = moved(tracer, func, args, kwargs)
    note_heads(tracer, out, before)
    for dims, layer in zip(before, tracer.labels(out).layers, strict=True):
        found = pattern(layer, tracer.classes)
        if dims == 1 and len(found.dims) > 1 and tracer.guess(found.ids.flatten().numpy()):
            longest = max(found.dims, key=lambda d: found.ids.shape[d])
            tie_across(tracer, found.ids, int(tracer.choice("axis", str(longest))))
        for dim in pattern(layer).dims:
            tracer.count(out.shape[dim], along_only(layer, dim))
    return out


def along_only(layer: Tensor, dim: int) -> Ids:
    """Return the identities of the first row along a dimension."""
    ids = pattern(layer).ids.movedim(dim, 0).reshape(layer.shape[dim], -1)[:, 0]
    row: Ids = ids.contiguous().numpy()
    return row


def shuffled(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Move channels into space: those of one new channel go together."""
    out = moved(tracer, func, args, kwargs)
    labels = tracer.labels(out)
    along(labels, out.dim() - 3, out.shape[-3], tracer.classes)
    return out


def gated(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Multiply one half by the other, elementwise."""
    given = bind(func, args, kwargs)
    out = tracer.run(func, args, kwargs)
    dim = int(given["dim"])
    halves = [layer.chunk(2, dim) for layer in tracer.labels(args[0]).layers]
    parts = [Labels([first]) for first, _ in halves] + [Labels([second]) for _, second in halves]
    tracer.set(out, combine(parts, out.shape, tracer.classes))
    return out


def _tie_apart(tracer: Tracer, ids: Ids, distance: int) -> None:
    """Tie identities that are a multiple of a distance apart, which divides their number."""
    sections = int(tracer.choice("sections", str(len(ids) // distance)))
    if sections > 1 and tracer.guess(ids):
        distance = max(1, len(ids) // sections)
        places = torch.arange(len(ids)) % distance
        tracer.classes.unite(ids[places.numpy()], ids)


def _axis(tracer: Tracer, tensor: Tensor, dim: int) -> list[Ids]:
    dim = dim % tensor.dim()
    layers = tracer.labels(tensor).layers
    return [along_only(la, dim) for la in layers if dim in pattern(la).dims]


def split(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Split; sizes that are attributes follow the channels, others keep their proportions."""
    given = bind(func, args, kwargs)
    sizes: Any = given.get("split_size", given.get("split_sizes"))
    for ids in _axis(tracer, given["self"], int(given["dim"])):
        if isinstance(sizes, Sequence):
            starts = [sum(sizes[:k]) for k in range(len(sizes))]
            parts = [ids[a : a + n] for a, n in zip(starts, sizes, strict=True)]
            told = [tracer.count(n, part) for n, part in zip(sizes, parts, strict=True)]
            equal = len(set(sizes)) < len(sizes)
            if not all(told) or equal:
                _tie_apart(tracer, ids, math.gcd(*map(int, sizes)))
        else:
            tracer.count(sizes, ids[: int(sizes)])
            _tie_apart(tracer, ids, math.gcd(int(sizes), len(ids)))
    return moved(tracer, func, args, kwargs)


def slice_(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Slice; bounds that are attributes follow the channels, others keep their proportions."""
    given = bind(func, args, kwargs)
    tensor, dim = given["self"], int(given["dim"])
    size, step = tensor.shape[dim], int(given.get("step") or 1)
    start = given.get("start") or 0
    end = given.get("end", start + given.get("length", size))
    end = size if end is None else end
    bounds = [min(b + size if b < 0 else b, size) for b in (int(start), int(end))]
    inner = [b for b in bounds if 0 < b < size]
    for ids in _axis(tracer, tensor, dim) if inner or step > 1 else ():
        told = [tracer.count(b, ids[:b]) for b in inner]
        if not all(told):
            _tie_apart(tracer, ids, math.gcd(size, *inner))
        if step > 1 and tracer.guess(ids):
            for k in range(1, step):
                rest = ids[k::step]
                tracer.classes.unite(ids[::step][: len(rest)], rest)
    return moved(tracer, func, args, kwargs)


def select(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Take slices by number: what could be counted otherwise stays."""
    given = bind(func, args, kwargs)
    tensor, dim = given["self"], int(given["dim"]) % given["self"].dim()
    for layer in tracer.labels(tensor).layers:
        found = pattern(layer, tracer.classes)
        if dim in found.dims:
            tracer.freeze(found.ids.flatten().numpy(), "they are taken by number")
    return moved(tracer, func, args, kwargs)


def indexed(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Take elements by a tensor of numbers."""
    given = bind(func, args, kwargs)
    tensor = given["self"]
    index: Any = given.get("indices", given.get("index"))
    if isinstance(index, Tensor):
        dims = [int(given["dim"]) % tensor.dim()]
    else:
        dims = [d for d, i in enumerate(index) if i is not None]
    for layer in tracer.labels(tensor).layers:
        found = pattern(layer, tracer.classes)
        if set(dims) & set(found.dims):
            tracer.freeze(found.ids.flatten().numpy(), "they are taken by an index")
    out = tracer.run(func, args, kwargs)
    key = "indices" if "indices" in given else "index"
    given[key] = _on_cpu(index)
    layers = []
    for layer in tracer.labels(tensor).layers:
        if named(layer):
            layers.append(func(*{**given, "self": layer}.values()))
    tracer.set(out, Labels(layers, tracer.labels(tensor).computed))
    return out


def _on_cpu(index: Any) -> Any:
    if isinstance(index, Tensor):
        return index.cpu()
    return [i if i is None else i.cpu() for i in index]

"""Follow the channels of a network: trace it, try what was found, and leave alone what fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.pruning.channels.cut import keep_channels, remaining
from prune3d.pruning.channels.groups import ChannelGraph, describe
from prune3d.pruning.channels.identities import NONE, Classes, Ids
from prune3d.pruning.channels.run import run_trace
from prune3d.pruning.channels.trace import Axis, Trace, TraceError, Tracer, new_trace

# More would mean that the networks' own arithmetic is not understood at all.
MOST_TRIALS = 60
NOBODY: Ids = np.zeros(0, dtype=np.int64)


def follow(model: nn.Module, choices: Mapping[str, str] | None = None) -> ChannelGraph:
    """Return the channels of a dense network, as far as its trace tells; see `follow_dense`.

    Raises
    ------
    PruningError
        If the network cannot be traced.
    """
    made = dict(choices or {})
    trace = _traced(model, new_trace(model, made))
    better = {**made, **head_axes(trace), **even_groups(trace)}
    if better != made:
        trace = _traced(model, new_trace(model, better))
    return describe(model, trace)


def follow_dense(model: nn.Module, choices: Mapping[str, str] | None = None) -> ChannelGraph:
    """Return the channels of a dense network that can go without anything falling out of step.

    Parts of the network are cut out by lot and the rest is traced with the identities of what is
    left: where some meet that do not belong together, or the network's code does not take the new
    sizes, those channels are left alone, and it is tried again. Where channels can be tied in more
    ways than one, some may be chosen before.

    Raises
    ------
    PruningError
        If the network cannot be traced.
    """
    graph = follow(model, choices)
    trace = graph.trace
    error = TraceError("", NOBODY, NOBODY, "too much of it does not take fewer channels")
    for _ in range(MOST_TRIALS):
        failed = _trial(model, graph, 0.5, 0) or _trial(model, graph, 0.75, 1)
        if failed is None:
            return graph
        error = failed
        ids = _to_freeze(model, trace, error)
        if not len(ids):
            ids = _failing_alone(model, graph)
            even = even_groups(trace, ids)
            if even:
                return follow_dense(model, {**trace.choices, **even})
        if not len(ids):
            break
        where = f"'{error.module}'" if error.module else "the network's own forward"
        trace.classes.freeze(ids, f"{where} does not take fewer of them ({_short(error.reason)})")
        _freeze_whole_axes(trace)
        graph = describe(model, trace)
    raise PruningError(
        f"{get_spec(model).name} cannot be pruned along width: without some channels "
        f"'{error.module or 'its forward pass'}' fails ({_short(error.reason)})."
    )


def head_axes(trace: Trace) -> dict[str, str]:
    """Return for reshapes that split channels into heads which of the new axes counts these.

    It is the one along which the head changes, and nothing else, where attention multiplies.
    """
    found: dict[str, str] = {}
    for rows in trace.heads:
        head_of = {i: row for row, ids in enumerate(rows.tolist()) for i in ids if i != NONE}
        for key, ids in trace.splits.items():
            if key in found:
                continue
            table = np.vectorize(lambda i, known=head_of: known.get(i, -1))(ids.numpy())
            for axis, size in enumerate(table.shape):
                lines = np.moveaxis(table, axis, 0).reshape(size, -1)
                some = [set(line.tolist()) - {-1} for line in lines]
                one_each = size > 1 and all(len(s) == 1 for s in some)
                if one_each and len(set().union(*some)) == size:
                    found[key] = str(axis)
    return found


def even_groups(trace: Trace, runs: Ids | None = None) -> dict[str, str]:
    """Return for convolutions that cannot lose whole groups that they lose as many of each.

    Those of which all groups could only go at once; or of whose groups some are among given runs.
    """
    stays, found = trace.classes.frozen(), {}
    for key, ids in trace.grouped.items():
        roots = np.unique(trace.classes.find(ids[ids != NONE]))
        alone = len(roots) == 1 and int(roots[0]) not in stays
        if alone or (runs is not None and np.isin(roots, runs).any()):
            found[key] = "even"
    return found


def leave_runs(model: nn.Module, graph: ChannelGraph) -> ChannelGraph:
    """Return a graph in which channels that go in runs of several stay."""
    reason = "they go in runs, and the network puts those in an order that their number changes"
    runs = [group.runs for group in graph.groups if group.multiple > 1]
    return leave_alone(model, graph, runs, reason)


def leave_alone(
    model: nn.Module, graph: ChannelGraph, ids: Iterable[Ids], reason: str
) -> ChannelGraph:
    """Return a graph in which some more channels stay."""
    for some in ids:
        graph.trace.classes.freeze(some, reason)
    _freeze_whole_axes(graph.trace)
    return describe(model, graph.trace)


def follow_pruned(model: nn.Module, dense: ChannelGraph) -> ChannelGraph:
    """Return the channels of a pruned network, whose dense network's are known."""
    trace = new_trace(model, dense.trace.choices)
    reasons = dense.trace.classes.frozen()
    for axis in dense.trace.written & set(trace.axes):
        roots = dense.trace.classes.find(dense.trace.axes[axis])
        found = next((reasons[r] for r in roots.tolist() if r in reasons), None)
        if found is not None:
            trace.classes.freeze(trace.axes[axis], found)
    return describe(model, _traced(model, trace))


def _traced(model: nn.Module, trace: Trace) -> Trace:
    training = model.training
    try:
        _run(model, trace)
    except TraceError as error:
        where = f" in '{error.module}'" if error.module else ""
        raise PruningError(
            f"{get_spec(model).name} cannot be pruned along width: its channels cannot be "
            f"followed{where} ({_short(error.reason)})."
        ) from error
    finally:
        model.train(training)
    _freeze_whole_axes(trace)
    return trace


def _run(model: nn.Module, trace: Trace, checks: bool = False) -> None:
    """Trace a network in evaluation mode, and while training where that runs other layers."""
    run_trace(Tracer(model.eval(), trace, checks), model, image_of(model))
    evaluated = set(trace.written)
    if not _leaves_out_layers(model, evaluated):
        return
    copied = copy_network(model, get_spec(model).name).train()
    with torch.random.fork_rng(devices=[]):
        run_trace(Tracer(copied, trace, checks), copied, image_of(copied, 2))
    for axis in trace.written - evaluated:
        trace.classes.freeze(trace.axes[axis], "they are there while training only")


def _leaves_out_layers(model: nn.Module, written: Set[Axis]) -> bool:
    """Tell whether some layer, such as an auxiliary head, made no channels."""
    return any(
        isinstance(module, nn.Linear | _ConvNd)
        and len(module.weight) > 1
        and "weight" in module._parameters
        and (f"{name}.weight", 1 if module.__dict__.get("transposed") else 0) not in written
        for name, module in model.named_modules()
    )


def _freeze_whole_axes(trace: Trace) -> None:
    """Let all channels of a layer stay where some do, so that its groups keep their names."""
    while True:
        reasons = trace.classes.frozen()
        before = len(reasons)
        for axis in trace.written:
            roots = trace.classes.find(trace.axes[axis])
            found = next((reasons[r] for r in roots.tolist() if r in reasons), None)
            if found is not None:
                trace.classes.freeze(trace.axes[axis], found)
        if len(trace.classes.frozen()) == before:
            return


def image_of(model: nn.Module, count: int = 1) -> Tensor:
    """Return images of noise, as many as asked for, on the network's device."""
    spec = get_spec(model)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, spec.in_channels, spec.side, spec.side, generator=generator)
    first = next(model.parameters())
    return images.to(first.device, first.dtype)


def by_lot(graph: ChannelGraph, width: float, seed: int) -> dict[str, Tensor]:
    """Return for each group channels to keep, in whole runs, at least one."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group in graph.groups:
        runs = len(group.runs)
        order = torch.randperm(runs, generator=generator)[: max(1, int(width * runs))]
        stay = torch.zeros(runs, dtype=torch.bool)
        stay[order] = True
        kept[group.name] = stay.repeat_interleave(group.multiple).nonzero().flatten()
    return kept


def _trial(model: nn.Module, graph: ChannelGraph, width: float, seed: int) -> TraceError | None:
    kept = by_lot(graph, width, seed)
    part = copy_network(model, get_spec(model).name)
    axes = remaining(graph, model, kept)
    keep_channels(part, graph, kept)
    return check_identities(part, axes, graph.trace)


def check_identities(model: nn.Module, axes: Mapping[Axis, Ids], dense: Trace) -> TraceError | None:
    """Return where identities meet that do not belong together, or the pass fails; else None."""
    classes = Classes(alike=dense.classes.frozen())
    classes.new(len(dense.classes))
    classes.strict = True
    ties = {key: kind for key, kind in dense.choices.items() if kind in ("whole", "even")}
    trace = Trace(dict(axes), classes, choices=ties)
    try:
        _run(model, trace, checks=True)
    except TraceError as error:
        return error
    return None


def _to_freeze(model: nn.Module, trace: Trace, error: TraceError) -> Ids:
    """Return what to leave alone after a failure: the likeliest that is not left alone already."""
    modules = dict(model.named_modules())
    kind = type(modules[error.module])
    alike = [
        ids
        for name, guesses in trace.guesses.items()
        if name == error.module or (type(modules[name]) is kind and error.module)
        for ids in guesses
    ]
    path = error.module.split(".")
    above = [".".join(path[:k]) for k in range(len(path) - 1, -1, -1)]
    around = [trace.guesses.get(name, []) for name in above]
    frozen = np.array(sorted(trace.classes.frozen()), dtype=np.int64)
    for candidates in (alike, [error.current], [error.ids], *around):
        ids = np.concatenate([NOBODY, *candidates])
        ids = trace.classes.find(ids[ids != NONE])
        ids = np.setdiff1d(ids, frozen)
        if len(ids):
            return ids
    return NOBODY


def _failing_alone(model: nn.Module, graph: ChannelGraph) -> Ids:
    """Return the runs of the groups of which half cannot go even where all others stay."""
    failing = [NOBODY]
    for group in graph.groups:
        alone = ChannelGraph((group,), (), graph.trace)
        if _trial(model, alone, 0.5, 0) is not None:
            failing.append(group.runs)
    return np.concatenate(failing)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."

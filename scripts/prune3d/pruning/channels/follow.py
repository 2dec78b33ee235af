"""Follow the channels of a network: trace it, try what was found, and leave alone what fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec
from prune3d.models.foreign import copy_network
from prune3d.pruning.channels.cut import keep_channels, remaining
from prune3d.pruning.channels.groups import ChannelGraph, describe
from prune3d.pruning.channels.heads import KINDS, attending, head_axes
from prune3d.pruning.channels.identities import NONE, Classes, Ids
from prune3d.pruning.channels.run import run_trace
from prune3d.pruning.channels.trace import Axis, Trace, TraceError, Tracer, new_trace

# More would mean that the networks' own arithmetic is not understood at all.
MOST_TRIALS = 60
# Its multiples, without what is before the point, are far apart one after the other.
GOLDEN = 0.618
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
    return leave_failing(model, follow(model, choices))


def leave_failing(model: nn.Module, graph: ChannelGraph) -> ChannelGraph:
    """Return a graph in which the channels stay without which the network fails.

    Raises
    ------
    PruningError
        If it fails whatever stays.
    """
    error = TraceError("", NOBODY, NOBODY, "too much of it does not take fewer channels")
    for _ in range(MOST_TRIALS):
        failed = first_failure(model, graph)
        if failed is None:
            return graph
        error = failed
        other = _other_heads(model, graph, error) or _even_where(model, graph, error)
        if other is not None:
            graph = other
            continue
        if not _freeze(model, graph.trace, error):
            ids = _failing_alone(model, graph)
            even = even_groups(graph.trace, ids)
            if even:
                return follow_dense(model, {**graph.trace.choices, **even})
            if not len(ids):
                break
            graph.trace.classes.freeze(ids, _reason(error.module, error))
        _freeze_whole_axes(graph.trace)
        graph = describe(model, graph.trace)
    raise PruningError(
        f"{get_spec(model).name} cannot be pruned along width: without some channels "
        f"'{error.module or 'its forward pass'}' fails ({_short(error.reason)})."
    )


def _reason(module: str, error: TraceError) -> str:
    where = f"'{module}'" if module else "the network's own forward"
    return f"{where} does not take fewer of them ({_short(error.reason)})"


def first_failure(model: nn.Module, graph: ChannelGraph) -> TraceError | None:
    """Return where the network fails with fewer channels, of each group another part.

    What is wide once is narrow in the other trial: numbers that fit each other by chance in one, as
    those of equal parts may, do not in both.
    """
    widths = [0.3 + 0.6 * (k * GOLDEN % 1) for k in range(len(graph.groups))]
    others = [1.2 - width for width in widths]
    return _trial(model, graph, by_lot(graph, widths, 0)) or _trial(
        model, graph, by_lot(graph, others, 1)
    )


def _other_heads(model: nn.Module, graph: ChannelGraph, error: TraceError) -> ChannelGraph | None:
    """Return the channels with other parts of attention's heads tied, if that helps.

    Where it does not, all that was tried is noted, and whole heads are left as they were.
    """
    choices = graph.trace.choices
    path = error.module.split(".")
    above = [".".join(path[:k]) for k in range(len(path), -1, -1)]
    heads = attending(graph.trace)
    module = next((name for name in above if name in heads), None)
    if module is None:
        return None
    modules = dict(model.named_modules())
    alike = [name for name in heads if type(modules[name]) is type(modules[module])]
    if f"{module}:attention:0" in choices:
        return None
    for kind in KINDS[1:]:
        tried = follow(model, {**choices, **{f"{name}:attention:0": kind for name in alike}})
        failed = first_failure(model, tried)
        if failed is None or not any(_within(failed.module, name) for name in alike):
            return tried
    choices.update({f"{name}:attention:0": KINDS[0] for name in alike})
    return None


def _even_where(model: nn.Module, graph: ChannelGraph, error: TraceError) -> ChannelGraph | None:
    """Return the channels with grouped convolutions that go evenly, if that helps at a failure."""
    guesses = graph.trace.guesses.get(error.module, [])
    met = np.concatenate([error.current, *guesses])
    even = even_groups(graph.trace, graph.trace.classes.find(met[met != NONE]))
    if not even:
        return None
    tried = follow(model, {**graph.trace.choices, **even})
    failed = first_failure(model, tried)
    return tried if failed is None or failed.module != error.module else None


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


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


def by_lot(graph: ChannelGraph, width: float | Sequence[float], seed: int) -> dict[str, Tensor]:
    """Return for each group channels to keep, in whole runs, at least one; of one width or many."""
    widths = [width] * len(graph.groups) if isinstance(width, float) else width
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group, part in zip(graph.groups, widths, strict=True):
        runs = len(group.runs)
        order = torch.randperm(runs, generator=generator)[: max(1, int(part * runs))]
        stay = torch.zeros(runs, dtype=torch.bool)
        stay[order] = True
        kept[group.name] = stay.repeat_interleave(group.multiple).nonzero().flatten()
    return kept


def _trial(model: nn.Module, graph: ChannelGraph, kept: Mapping[str, Tensor]) -> TraceError | None:
    part = copy_network(model, get_spec(model).name)
    axes = remaining(graph, model, kept)
    keep_channels(part, graph, kept)
    return check_identities(part, axes, graph.trace)


def check_identities(model: nn.Module, axes: Mapping[Axis, Ids], dense: Trace) -> TraceError | None:
    """Return where identities meet that do not belong together, or the pass fails; else None."""
    classes = Classes(alike=dense.classes.frozen())
    classes.new(len(dense.classes))
    classes.strict = True
    trace = Trace(dict(axes), classes, choices=dict(dense.choices))
    try:
        _run(model, trace, checks=True)
    except TraceError as error:
        return error
    return None


def _freeze(model: nn.Module, trace: Trace, error: TraceError) -> bool:
    """Leave alone after a failure the likeliest that is not left alone already, if any is."""
    modules = dict(model.named_modules())
    kind = type(modules[error.module])
    alike = [
        (name, ids)
        for name, guesses in trace.guesses.items()
        if name == error.module or (type(modules[name]) is kind and error.module)
        for ids in guesses
    ]
    path = error.module.split(".")
    above = [".".join(path[:k]) for k in range(len(path) - 1, -1, -1)]
    around = [[(name, ids) for ids in trace.guesses.get(name, [])] for name in above]
    guessed = np.concatenate([NOBODY, *(ids for part in around for _, ids in part)])
    here = trace.classes.find(error.current[error.current != NONE])
    met = here[np.isin(here, trace.classes.find(guessed))]
    known = len(trace.classes.frozen())
    own: list[list[tuple[str, Ids]]] = [
        [(error.module, ids)] for ids in (met, error.current, error.ids)
    ]
    for candidates in (alike, *own, *around):
        for name, ids in candidates:
            trace.classes.freeze(ids, _reason(name, error))
        if len(trace.classes.frozen()) > known:
            return True
    return False


def _failing_alone(model: nn.Module, graph: ChannelGraph) -> Ids:
    """Return the runs of the groups of which half cannot go even where all others stay."""
    failing = [NOBODY]
    for group in graph.groups:
        alone = ChannelGraph((group,), (), graph.trace)
        if _trial(model, alone, by_lot(alone, 0.5, 0)) is not None:
            failing.append(group.runs)
    return np.concatenate(failing)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else f"{line[:197]}..."

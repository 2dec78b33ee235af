"""The channel graph against brute force, torch-pruning and small networks of every kind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import prune3d
import prune3d.models.assembly as assembly
from prune3d.costs.structure import enumerate_lattice
from prune3d.models.assembly import set_spec
from prune3d.models.spec import NetworkSpec
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze
from prune3d.pruning.channels.compare import compare, expected_outputs, liven
from prune3d.pruning.channels.cut import keep_channels
from prune3d.pruning.channels.follow import by_lot, follow_dense, follow_pruned
from prune3d.pruning.channels.groups import ChannelGraph
from prune3d.pruning.channels.verify import follow_verified
from prune3d.pruning.dense import look_at_dense

SIDE = 8


NUMBERS = count()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], nn.Module]:
    """Make networks that are built by prune3d out of modules."""
    known: dict[str, nn.Module] = {}
    original = assembly.build_dense

    def build(spec: NetworkSpec) -> nn.Module:
        if spec.name not in known:
            return original(spec)
        model = copy.deepcopy(known[spec.name])
        set_spec(model, spec.dense())
        return model

    def register(model: nn.Module) -> nn.Module:
        # Never the same again, as an identity can be: what is found out is kept by name.
        name = f"given-{next(NUMBERS)}"
        known[name] = model
        built = build(NetworkSpec(name, 4, SIDE, 3, SIDE)).eval()
        liven(built)
        return built

    monkeypatch.setattr(assembly, "build_dense", build)
    return register


# Brute force: the outputs of all layers are held, one channel of one is changed, and whatever
# input of a layer then changes carries that channel.

Place = tuple[str, str, int]


def carried(model: nn.Module) -> Iterator[tuple[Place, Place]]:
    """Yield each channel that a layer writes with each place where a layer reads it."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    held: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}

    def hold(name: str) -> Any:
        def hook(layer: nn.Module, given: tuple[Tensor], output: Tensor) -> Tensor:
            inputs[name] = given[0].detach().clone()
            return held.setdefault(name, torch.randn(output.shape, generator=generator))

        return hook

    generator = torch.Generator().manual_seed(3)
    handles = [m.register_forward_hook(hold(n)) for n, m in layers.items()]
    image = torch.randn(1, 3, SIDE, SIDE, generator=generator)
    with torch.no_grad():
        model(image)
        base = dict(inputs)
        for name in layers:
            whole = held[name]
            for channel in range(whole.shape[1]):
                held[name] = whole.clone()
                held[name][:, channel] += 5
                model(image)
                for reader, before in base.items():
                    changed = (
                        (inputs[reader] != before).flatten(2).any(2)[0]
                        if (before.dim() > 2)
                        else (inputs[reader] != before)[0]
                    )
                    for place in changed.nonzero().flatten().tolist():
                        yield (name, "out", channel), (reader, "in", place)
            held[name] = whole
    for handle in handles:
        handle.remove()


def classes_by_force(model: nn.Module, even: set[str]) -> list[set[Place]]:
    """Return the places that must go together, as far as brute force sees.

    Of some grouped convolutions as many channels of each group go, of others whole groups.
    """
    pairs = list(carried(model))
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
            for side, size in (("in", ins), ("out", outs)) if name in even else ():
                places = range(size, size * layer.groups)
                pairs += [((name, side, p % size), (name, side, p)) for p in places]
            for g in range(layer.groups) if name not in even else ():
                group = [(name, "in", g * ins + k) for k in range(ins)]
                group += [(name, "out", g * outs + k) for k in range(outs)]
                pairs += [(group[0], other) for other in group[1:]]
    found: list[set[Place]] = []
    for a, b in pairs:
        touched = [c for c in found if a in c or b in c]
        found = [c for c in found if c not in touched] + [{a, b}.union(*touched)]
    return found


def classes_of_graph(graph: ChannelGraph) -> list[set[Place]]:
    """Return the runs of the channel graph; inputs of grouped layers have no place of their own."""
    runs = []
    for group in graph.groups:
        readers = [m for m in group.readers if getattr(m.layer, "groups", 1) == 1]
        sides = [("out", m) for m in group.writers] + [("in", m) for m in readers]
        for run in range(len(group.runs)):
            part = slice(run * group.multiple, (run + 1) * group.multiple)
            runs.append(
                {
                    (m.name, side, place)
                    for side, m in sides
                    for place in m.positions[part].flatten().tolist()
                }
            )
    return runs


class RandomGraph(nn.Module):
    """Maps that are joined, split, shuffled and convolved as a list of steps says."""

    def __init__(self, steps: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.steps = steps
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleDict()
        sizes = [8]
        for k, (kind, a, b) in enumerate(steps):
            first, second = sizes[a % len(sizes)], sizes[b % len(sizes)]
            if kind == "conv":
                self.layers[str(k)] = nn.Conv2d(first, 4 + 2 * (b % 3), 1)
                sizes.append(4 + 2 * (b % 3))
            elif kind == "depthwise":
                self.layers[str(k)] = nn.Conv2d(first, first, 3, padding=1, groups=first)
                sizes.append(first)
            elif kind == "grouped":
                self.layers[str(k)] = nn.Conv2d(first, 8, 1, groups=2 if first % 2 == 0 else 1)
                sizes.append(8)
            elif kind == "cat":
                sizes.append(first + second)
            elif kind == "split":
                sizes += [first // 2] * 2 if first % 2 == 0 else [first]
            elif kind == "add":
                sizes.append(first)
                self.layers[str(k)] = nn.Conv2d(second, first, 1)
            else:
                sizes.append(first)
        self.head = nn.Linear(sum(sizes), 4)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for k, (kind, a, b) in enumerate(self.steps):
            first, second = maps[a % len(maps)], maps[b % len(maps)]
            if kind in ("conv", "depthwise", "grouped"):
                maps.append(F.relu(self.layers[str(k)](first)))
            elif kind == "cat":
                maps.append(torch.cat([first, second], 1))
            elif kind == "split":
                even = first.shape[1] % 2 == 0
                maps += first.chunk(2, 1) if even else [first]
            elif kind == "add":
                maps.append(first + self.layers[str(k)](second))
            elif first.shape[1] % 2 == 0:
                maps.append(first.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2))
            else:
                maps.append(first)
        return self.head(torch.cat([m.mean((2, 3)) for m in maps], 1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_runs_that_a_shuffle_would_put_in_another_order_go_evenly(
    registered: Callable[[nn.Module], nn.Module], seed: int
) -> None:
    torch.manual_seed(seed)
    model = registered(RandomGraph([("grouped", 0, 0), ("shuffle", 0, 0)]))
    graph = follow_verified(model)
    assert {g.name: len(g.runs) for g in graph.groups} == {"stem": 4, "layers.0": 4}
    assert {frozen.name for frozen in graph.frozen} == {"head"}


class Shuffled(nn.Module):
    """Grouped convolutions with a shuffle between them, whose channels a depthwise one ties."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 24, 1, groups=2)
        self.deep = nn.Conv2d(24, 24, 3, 1, 1, groups=24)
        self.last, self.head = nn.Conv2d(24, 16, 1, groups=2), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = F.relu(self.first(x)).unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)
        return self.head(F.relu(x + self.last(self.deep(y))).mean((2, 3)))


class ShuffledByThree(nn.Module):
    """Three groups that the code counts by a constant, so that each must lose as many."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 24, 1, groups=3)
        self.b, self.head = nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(F.relu(self.stem(x)))
        n, _, height, width = x.shape
        x = x.view(n, 3, -1, height, width).transpose(1, 2).reshape(n, -1, height, width)
        return self.head(F.relu(self.b(x)).mean((2, 3)))


class Radix(nn.Module):
    """Groups whose outputs are added, so that whole ones could only go all at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.split = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 16, 3, 1, 1, groups=2)
        self.up = nn.ConvTranspose2d(8, 12, 2, 2, groups=2)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.split(F.relu(self.stem(x)))).unflatten(1, (2, -1)).sum(1)
        return self.head(F.relu(self.up(x)).unflatten(1, (2, -1)).sum(1).mean((2, 3)))


KINDS = ["conv", "depthwise", "grouped", "cat", "split", "add", "shuffle"]
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, seed=st.integers(0, 50), width=st.sampled_from([0.3, 0.5, 0.8]))
def test_random_graphs_are_followed_as_brute_force_finds_them(
    registered: Callable[[nn.Module], nn.Module],
    steps: list[tuple[str, int, int]],
    seed: int,
    width: float,
) -> None:
    torch.manual_seed(seed)
    model = registered(RandomGraph(steps))
    graph = follow_dense(model)
    runs = classes_of_graph(graph)
    even = {key.split(":")[0] for key, kind in graph.trace.choices.items() if kind == "even"}
    owner = {place: k for k, run in enumerate(runs) for place in run}
    grouped = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    for found in classes_by_force(model, even):
        places = {p for p in found if not (p[0] in grouped and p[1] == "in")}
        # A run holds all of what must go together, and goes as a whole or not at all.
        assert len({owner.get(place) for place in places}) == 1, found
    if not {"split", "shuffle"} & {kind for kind, _, _ in steps}:
        forced = {
            frozenset(p for p in c if not (p[0] in grouped and p[1] == "in"))
            for c in classes_by_force(model, even)
        }
        assert all(frozenset(run) in forced for run in runs)

    graph = follow_verified(model)
    kept = by_lot(graph, width, seed)
    expected = expected_outputs(model, graph, kept)
    assert expected is not None
    pruned = copy.deepcopy(model)
    keep_channels(pruned, graph, kept)
    compare(pruned, expected)
    pruned.train()(torch.randn(2, 3, SIDE, SIDE)).sum().backward()


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "resnet50", "mobilenet_v2"])
def test_groups_are_those_of_torch_pruning(name: str) -> None:
    torch_pruning = pytest.importorskip("torch_pruning")
    torch.manual_seed(0)
    model = prune3d.build(name, 10, 32).eval()
    graph = torch_pruning.DependencyGraph().build_dependency(model, torch.zeros(1, 3, 32, 32))
    names = {module: n for n, module in model.named_modules()}
    expected = set()
    for group in graph.get_all_groups(root_module_types=[nn.Conv2d, nn.Linear]):
        members = set()
        for item in group:
            layer = item.dep.target.module
            if isinstance(layer, nn.Conv2d | nn.Linear):
                into = item.dep.handler.__name__ == "prune_in_channels"
                members.add((names[layer], "in" if into else "out"))
        expected.add((len(group[0].idxs), frozenset(members)))
    found = {
        (
            group.channels,
            frozenset(
                [(m.name, "out") for m in group.writers] + [(m.name, "in") for m in group.readers]
            ),
        )
        for group in follow_dense(model).groups
    }
    # Depthwise layers are named once here; the logits are no group.
    depthwise = {n for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    expected = {
        (n, frozenset(m for m in members if not (m[0] in depthwise and m[1] == "in")))
        for n, members in expected
    }
    logits = {
        e
        for e in expected
        if any(side == "out" and n in ("fc", "classifier.1") for n, side in e[1])
    }
    assert found == expected - logits


class Ghost(nn.Module):
    """A slice whose bound is an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.out = 9
        self.real = nn.Conv2d(3, 5, 3, padding=1)
        self.copy = nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.head = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.real(x)
        x = torch.cat([x, self.copy(x)], 1)[:, : self.out]
        return self.head(x.mean((2, 3)))


class Parts(nn.Module):
    """Sections whose sizes are attributes, unequal ones and equal ones."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes, self.width = [3, 7], 10
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.a, self.b = nn.Conv2d(3, 10, 1), nn.Conv2d(7, 10, 1)
        self.c, self.d = nn.Conv2d(5, 6, 1), nn.Conv2d(5, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.split(self.stem(x), self.sizes, 1)
        y = F.relu(self.a(a)) * F.relu(self.b(b))
        c, d = torch.split(y, self.width // 2, 1)
        return self.head((self.c(c) + self.d(d)).mean((2, 3)))


class Constant(nn.Module):
    """Sections whose sizes are written in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.next = nn.Conv2d(4, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.split(self.stem(x), [4, 4], 1)
        return self.head(F.relu(self.next(a * b)).mean((2, 3)))


class Buffered(nn.Module):
    """A blur with a buffer of the channels' number, a scale of their own, and a count of them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 6
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.register_buffer("blur", torch.full((6, 1, 3, 3), 1 / 9), persistent=False)
        self.scale = nn.Parameter(torch.rand(1, 6, 1, 1))
        self.norm = nn.LayerNorm(6, elementwise_affine=False)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(self.stem(x) * self.scale, self.blur, groups=self.count)
        return self.head(self.norm(x.mean((2, 3))))


class Attention(nn.Module):
    """Products of queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        n, count, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, count, 3, 2, -1).permute(2, 0, 3, 1, 4)
        y = ((q @ k.transpose(-2, -1)) * 0.5).softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return self.head(x.mean(1))


class Heads(nn.Module):
    """Attention that counts its heads by an attribute, with a norm and a bias for each head."""

    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        self.heads, self.each, self.all, self.fused = 4, 2, 8, fused
        self.stem = nn.Conv2d(3, 6, 4, 4)
        self.qkv, self.out = nn.Linear(6, 24), nn.Linear(8, 6)
        self.norm, self.bias = nn.LayerNorm(2), nn.Parameter(torch.randn(4, 1, 1))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        n, count, _ = x.shape
        parts = self.qkv(x).reshape(n, count, 3, self.heads, self.each)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q = self.norm(q)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, self.bias.expand(n, -1, count, count))
        else:
            y = (q @ k.transpose(-2, -1) * 0.5 + self.bias).softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(n, count, self.all))
        return self.head(x.mean(1))


class FusedHeads(Heads):
    """The same by torch's one operator."""

    def __init__(self) -> None:
        super().__init__(fused=True)


class Padded(nn.Module):
    """Pads with a constant before a pooling and a norm of groups that are not whole."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 12, 3, 2, 1), nn.GroupNorm(2, 12)
        self.next, self.last = nn.Conv2d(12, 8, 3, 1, 1), nn.GroupNorm(4, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.pad(self.stem(x), (1, 1, 1, 1)), 3, 2)
        x = self.next(F.relu(F.group_norm(x, 2, self.norm.weight, self.norm.bias)))
        return self.head(F.relu(self.last(x)).mean((2, 3)))


class Selective(nn.Module):
    """Paths that read parts of the channels and are weighted against each other."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.paths = 8, 2
        self.stem, self.select = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(12, 24, 1)
        self.convs = nn.ModuleList(nn.Conv2d(4, 12, k, 1, k // 2) for k in (3, 5))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(F.relu(self.stem(x)), self.width // self.paths, 1)
        x = torch.stack([conv(p) for conv, p in zip(self.convs, parts, strict=True)], 1)
        assert x.shape[1] == self.paths
        scale = self.select(x.sum(1).mean((2, 3), keepdim=True))
        scale = scale.view(len(x), self.paths, scale.shape[1] // self.paths, 1, 1)
        return self.head((x * scale.softmax(1)).sum(1).mean((2, 3)))


class Circular(nn.Module):
    """Paddings that torch makes by writing into parts of an empty tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular")
        self.long = nn.Conv2d(6, 8, (1, 5), padding=(0, 2), padding_mode="circular")
        self.high = nn.Conv2d(8, 6, (5, 1), padding=(2, 0), padding_mode="replicate", groups=2)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.high(F.relu(self.long(self.stem(x))))).mean((2, 3)))


class Normed(nn.Module):
    """Weights that are computed from others in each pass, by products, too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = spectral_norm(nn.Conv2d(3, 6, 3, padding=1))
        self.next = weight_norm(nn.Conv2d(6, 8, 3, padding=1))
        self.last = spectral_norm(nn.Conv2d(8, 6, 3))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.last(F.relu(self.next(self.stem(x))))).mean((2, 3)))


class Standard(nn.Conv2d):
    """A convolution whose filters are standardized by a batch norm, as in NFNets."""

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(rows, None, None, training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, padding=1)


class Standardized(nn.Module):
    """Statistics over what filters read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.next = Standard(3, 6, 3), Standard(6, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.next(F.relu(self.stem(x)))).mean((2, 3)))


class Shared(nn.Module):
    """One weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.a, self.b = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.b.weight = self.a.weight
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(F.relu(self.a(F.relu(self.stem(x))))).mean((2, 3)))


class ByHand(nn.Module):
    """Several weights of one module, given to functions."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Parameter(torch.randn(12, 3, 3, 3))
        self.deep = nn.Parameter(torch.randn(12, 1, 3, 3))
        self.back = nn.Parameter(torch.randn(12, 6, 2, 2))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.wide, padding=1))
        x = F.conv2d(x, self.deep, padding=1, groups=len(self.deep))
        return self.head(F.conv_transpose2d(x, self.back, stride=2).mean((2, 3)))


class Upwards(nn.Module):
    """Transposed convolutions with groups."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.each = nn.ConvTranspose2d(8, 8, 2, 2, groups=8)
        self.two = nn.ConvTranspose2d(8, 12, 2, 2, groups=4)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.two(F.relu(self.each(self.stem(x))))).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "groups", "frozen"),
    [
        (Ghost, {"real": 4}, {"real"}),
        (Parts, {"stem": 3, "stem (2)": 7, "a": 5, "c": 6}, set()),
        (Constant, {"next": 8}, {"stem"}),
        (Buffered, {"stem": 6}, set()),
        (Attention, {"stem": 8, "qkv": 4}, set()),
        (Heads, {"stem": 6, "qkv": 4}, set()),
        (FusedHeads, {"stem": 6, "qkv": 4}, set()),
        (Padded, {"stem": 6, "next": 4}, set()),
        (Selective, {"stem": 4, "select": 12}, set()),
        (Circular, {"stem": 6, "long": 2}, set()),
        (Standardized, {"stem": 6, "next": 8}, set()),
        (Normed, {"stem": 6, "next": 8, "last": 6}, set()),
        (Shared, {"stem": 6}, set()),
        (ByHand, {"wide": 12, "back": 6}, set()),
        (Upwards, {"stem": 4}, set()),
        (Shuffled, {"stem": 8, "first": 6}, set()),
        (ShuffledByThree, {"stem": 4, "a": 8}, set()),
        (Radix, {"stem": 6, "split": 4, "up": 6}, set()),
    ],
)
def test_what_is_followed_is_pruned_saved_and_trained(
    registered: Callable[[nn.Module], nn.Module],
    tmp_path: Any,
    network: type[nn.Module],
    groups: dict[str, int],
    frozen: set[str],
) -> None:
    torch.manual_seed(0)
    model = registered(network())
    dense = look_at_dense(model)
    assert {g.name: len(g.runs) for g in dense.groups} == groups
    stays = {f.name for f in dense.graph.frozen} - {"head"}
    assert stays == frozen
    structure = analyze(model)
    assert structure.no_width is None
    options = PruningOptions(channel_criterion="random")
    for width in (0.75, 0.5):
        small = prune3d.prune(model, width=width, options=options).eval()
        prune3d.save(small, tmp_path / "small.safetensors")
        again = prune3d.load(tmp_path / "small.safetensors")
        images = torch.randn(2, 3, SIDE, SIDE)
        assert torch.equal(again(images), small(images))
        assert sum(p.numel() for p in again.parameters()) == sum(
            p.numel() for p in small.parameters()
        )
        again.train()(images).sum().backward()
    in_steps = prune3d.prune(
        prune3d.prune(model, width=0.75, options=options), width=0.5, options=options
    )
    assert prune3d.cost(in_steps) == prune3d.cost(small)


class SplitBlock(nn.Module):
    """A block between two layers, in which channels have two places; its output's have one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 16, 3, 1, 1, groups=2), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(self.a(x).unflatten(1, (2, -1)).sum(1))))


class Bottlenecks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.out = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 1)
        self.block, self.again = SplitBlock(), SplitBlock()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.out(self.again(self.block(F.relu(self.stem(x)))))
        return self.head(F.relu(y).mean((2, 3)))


def test_blocks_go_where_the_channels_around_them_have_as_many_places(
    registered: Callable[[nn.Module], nn.Module],
) -> None:
    torch.manual_seed(0)
    model = registered(Bottlenecks())
    structure = analyze(model)
    assert structure.groups and structure.no_width is None
    options = PruningOptions(block_criterion="random", channel_criterion="random")
    for name in structure.removable:
        order = [name, *(other for other in structure.removable if other != name)]
        ratio = (structure.blocks - 1) / structure.blocks
        small = prune3d.prune(model, depth=ratio, options=options, removal_order=order)
        lattice = enumerate_lattice(structure, order, np.array([1.0, 0.5]), [SIDE])
        assert prune3d.cost(small).macs == lattice.macs[1, 0, 0]
        half = prune3d.prune(small, width=0.5, options=options)
        assert prune3d.cost(half).macs == lattice.macs[1, 1, 0]


def test_what_stays_is_told_with_the_reason(
    registered: Callable[[nn.Module], nn.Module],
) -> None:
    structure = analyze(registered(Constant()))
    (stays,) = structure.frozen
    assert (stays.name, stays.channels) == ("stem", 8)
    assert "does not take fewer" in stays.reason
    assert "8 other channels stay" in structure.summary()


def test_a_wrong_pruning_behind_a_scale_of_zero_is_found(
    registered: Callable[[nn.Module], nn.Module],
) -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
            self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 4)
            nn.init.zeros_(self.norm.weight)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head((x + self.norm(self.a(x))).mean((2, 3)))

    model = registered(Branch())
    graph = follow_dense(model)
    kept = by_lot(graph, 0.5, 0)
    expected = expected_outputs(model, graph, kept)
    assert expected is not None
    pruned = copy.deepcopy(model)
    keep_channels(pruned, graph, kept)
    compare(pruned, expected)
    with torch.no_grad():
        pruned.a.weight.copy_(pruned.a.weight.flip(1))
    with pytest.raises(prune3d.errors.PruningError, match="does not compute"):
        compare(pruned, expected)


def test_the_order_of_channels_in_memory_makes_no_difference() -> None:
    torch.manual_seed(0)
    model = prune3d.build("resnet8", 5, 16)
    dense = look_at_dense(model).graph
    assert dense is not None
    usual = follow_pruned(model, dense)
    last = follow_pruned(model.to(memory_format=torch.channels_last), dense)
    assert [g.name for g in last.groups] == [g.name for g in usual.groups]
    small = prune3d.prune(model, width=0.5)
    assert small.fc.in_features == 32

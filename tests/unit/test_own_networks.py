"""Networks that prune3d has never seen: what is found, what is pruned, what is refused and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import prune3d
from prune3d.costs.structure import enumerate_lattice
from prune3d.errors import CheckpointError, PruningError, UserError
from prune3d.models.assembly import set_spec
from prune3d.models.spec import NetworkSpec
from prune3d.pruning import PruningOptions
from prune3d.pruning.analyze import analyze
from prune3d.pruning.dense import look_at_dense

FILE = Path(__file__).with_name("own") / "networks.py"
L2 = PruningOptions(channel_criterion="l2")


def own(name: str, side: int = 16, channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return prune3d.build(f"{FILE}:{name}", 5, side, channels).eval()


def images(side: int, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))


def counted(model: nn.Module, side: int, channels: int = 3) -> tuple[int, int]:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, channels, side, side))
    return counter.get_total_flops() // 2, sum(p.numel() for p in model.parameters())


def refusal(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "blocks", "removable", "groups"),
    [
        ("Plain", ["conv1", "conv2", "conv3", "conv4"], ["conv2", "conv4"], [12, 12, 14, 20, 20]),
        ("Flattened", ["features.0", "features.4"], [], [8, 16]),
        (
            "Residual",
            ["one", "body.blocks.0", "body.blocks.1", "body.blocks.2"],
            ["one", "body.blocks.0", "body.blocks.1", "body.blocks.2"],
            [8, 16, 16, 16, 16, 16],
        ),
        (
            "Staged",
            ["stage.first", "stage.second"],
            ["stage.first", "stage.second"],
            [8, 16, 16],
        ),
        ("fixed", ["0", "3"], [], [6, 10]),
    ],
)
def test_blocks_and_groups_are_found(
    name: str, blocks: list[str], removable: list[str], groups: list[int]
) -> None:
    dense = look_at_dense(own(name))
    assert [block.name for block in dense.blocks] == blocks
    assert list(dense.removals) == removable
    assert sorted(group.channels for group in dense.groups) == groups


@pytest.mark.parametrize("name", ["Plain", "Residual", "Flattened", "fixed"])
def test_an_own_network_is_pruned_saved_and_rebuilt(name: str, tmp_path: Path) -> None:
    model = own(name)
    structure = analyze(model)
    order = list(structure.removable)[::-1]
    gone = min(1, structure.blocks - structure.fewest_blocks)
    side = 16 if name == "Flattened" else 11
    lattice = enumerate_lattice(structure, order, np.array([0.6]), [side])
    pruned = prune3d.prune(
        model,
        1 - gone / structure.blocks,
        0.6,
        side / 16,
        removal_order=order,
        options=L2,
    )
    assert (lattice.macs[gone, 0, 0], lattice.params[gone, 0]) == counted(pruned, side)
    prune3d.save(pruned, tmp_path / "own.safetensors")
    again = prune3d.load(tmp_path / "own.safetensors")
    assert torch.equal(again(images(side)), pruned(images(side)))


def test_a_flattened_map_ties_the_image_side() -> None:
    model = own("Flattened")
    assert analyze(model).sides == (16,)
    assert "cannot take; it takes 16 pixels" in refusal(
        lambda: prune3d.prune(model, resolution=0.5)
    )
    pruned = prune3d.prune(model, width=0.5, options=L2)
    assert pruned.head.in_features == 8 * 4 * 4


def test_a_network_without_removable_blocks_says_so() -> None:
    text = refusal(lambda: prune3d.prune(own("fixed"), depth=0.5))
    assert "networks.py:fixed has no block that can be removed" in text
    assert "width and resolution" in text
    assert prune3d.prune(own("fixed"), depth=1, width=0.5, options=L2)[0].out_channels == 3


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("Shuffled", {"a": (12, 3), "b": (12, 1)}),
        ("UnequalGroups", {"a": (8, 2)}),
        ("Unused", {"a": (8, 1)}),
        ("GroupNormed", {"a": (8, 2)}),
    ],
)
def test_layers_of_every_kind_are_pruned_in_the_runs_that_they_need(
    name: str, groups: dict[str, tuple[int, int]]
) -> None:
    model = own(name)
    dense = look_at_dense(model)
    assert {g.name: (g.channels, g.multiple) for g in dense.groups} == groups
    small = prune3d.prune(model, width=0.5, options=L2)
    assert small.get_submodule("fc").in_features == model.get_submodule("fc").in_features // 2
    assert small.train()(images(16)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing", "has no function or class 'nothing'"),
        ("broken", "ValueError: no such thing"),
        ("a_number", "returned a int, not a torch.nn.Module"),
        ("not_a_function", "not_a_function"),
    ],
)
def test_a_function_that_is_none_is_refused(name: str, told: str) -> None:
    assert told in refusal(lambda: own(name))


@pytest.mark.parametrize(
    ("content", "told"),
    [("def build(:", "is not Python"), ("import no_such_module\nbuild = 1", "no_such_module")],
)
def test_a_file_that_does_not_run_is_refused(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(content)
    assert told in refusal(lambda: prune3d.build(f"{file}:build", 5, 16))


def test_a_network_that_gives_other_outputs_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\n\ndef build():\n    return nn.Conv2d(3, 4, 3)\n")
    assert "expected is (2, 5)" in refusal(lambda: prune3d.build(f"{file}:build", 5, 16))


def test_a_file_next_to_the_own_one_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "parts_of_mine.py").write_text("from torch import nn\n\nHead = nn.Linear\n")
    (tmp_path / "mine.py").write_text(
        "from torch import nn\nfrom parts_of_mine import Head\n\n"
        "def build(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), Head(3 * 64, num_classes))\n"
    )
    assert prune3d.build(f"{tmp_path / 'mine.py'}:build", 5, 8)(images(8)).shape == (2, 5)


def test_a_missing_own_file_is_told_when_a_network_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE.read_text())
    prune3d.save(prune3d.build(f"{file}:Plain", 5, 16), tmp_path / "model.safetensors")
    file.unlink()
    with pytest.raises(CheckpointError, match=r"mine\.py cannot be read"):
        prune3d.load(tmp_path / "model.safetensors")


def test_a_changed_own_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FILE.read_text())
    prune3d.save(prune3d.build(f"{file}:Plain", 5, 16), tmp_path / "model.safetensors")
    file.write_text(FILE.read_text().replace("(20, 14)", "(20, 15)").replace("(14, n", "(15, n"))
    with pytest.raises(CheckpointError, match=r"mine\.py, part of '.+', has changed since"):
        prune3d.load(tmp_path / "model.safetensors")


def test_pruning_blocks_after_width_where_channels_then_differ_is_refused() -> None:
    torch.manual_seed(0)
    narrow = prune3d.prune(prune3d.build("cifar_vgg16_bn", 10, 32), width=0.61)
    channels = [m.out_channels for m in narrow.modules() if isinstance(m, nn.Conv2d)]
    assert channels[10] != channels[11]
    block = look_at_dense(narrow).blocks[11].name
    text = refusal(lambda: prune3d.prune(narrow, depth=12 / 13, removal_order=[block]))
    assert "prune depth before width" in text


# Random architectures: a stem, stages of blocks of one of four kinds, a head.


class Unit(nn.Module):
    """A block of a random network."""

    def __init__(self, kind: str, inputs: int, width: int) -> None:
        super().__init__()
        self.kind = kind
        outputs = width if kind == "dense" else inputs
        middle = inputs if kind == "depthwise" else width
        groups = inputs if kind == "depthwise" else 1
        self.first = nn.Conv2d(inputs, middle, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(middle)
        self.second = nn.Conv2d(middle, outputs, 1)
        self.last = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.second(F.relu(self.norm(self.first(x)))))
        if self.kind == "dense":
            return torch.cat([x, y], 1)
        return y if self.kind == "plain" else x + y


class Random(nn.Module):
    """A random network."""

    def __init__(self, stages: list[tuple[str, int, int]], num_classes: int) -> None:
        super().__init__()
        channels = 6
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        modules: list[nn.Module] = []
        for kind, width, count in stages:
            for _ in range(count):
                modules.append(Unit(kind, channels, width))
                channels += width if kind == "dense" else 0
            modules.append(nn.Conv2d(channels, width + 2, 3, 2, 1))
            channels = width + 2
        self.body = nn.Sequential(*modules)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(F.relu(self.stem(x))).mean((2, 3)))


STAGES = st.lists(
    st.tuples(
        st.sampled_from(["residual", "plain", "dense", "depthwise"]),
        st.integers(2, 9),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stages=STAGES,
    depth=st.floats(0.05, 1),
    width=st.floats(0.05, 1),
    resolution=st.floats(0.1, 1),
    round_to=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 100),
)
def test_random_networks_cost_what_was_composed_and_compute_what_the_silent_ones_do(
    stages: list[tuple[str, int, int]],
    depth: float,
    width: float,
    resolution: float,
    round_to: int,
    seed: int,
) -> None:
    import prune3d.models.assembly as assembly

    torch.manual_seed(seed)
    name = f"random-{stages}-{seed}"
    spec = NetworkSpec(name, 4, 20, 3, 20)

    def build_dense(asked: NetworkSpec) -> nn.Module:
        model = Random(stages, 4)
        set_spec(model, asked.dense())
        return model.eval()

    original, assembly.build_dense = assembly.build_dense, build_dense
    try:
        model = build_dense(spec)
        structure = analyze(model)
        order = list(np.random.default_rng(seed).permutation(list(structure.removable)))
        kept = max(structure.fewest_blocks, round(depth * structure.blocks))
        side = max(1, round(resolution * 20))
        lattice = enumerate_lattice(structure, order, np.array([width]), [side], round_to)
        options = PruningOptions(channel_criterion="l1", round_to=round_to)
        pruned = prune3d.prune(
            model, kept / structure.blocks, width, side / 20, options=options, removal_order=order
        )
        level = structure.blocks - kept
        assert (lattice.macs[level, 0, 0], lattice.params[level, 0]) == counted(pruned, side)
        assert pruned.train()(images(side)).shape == (2, 4)
    finally:
        assembly.build_dense = original


def test_pruning_more_than_once_is_refused_only_where_it_would_grow() -> None:
    once = prune3d.prune(
        own("Residual"), depth=0.5, width=0.7, options=L2, removal_order=["one", "body.blocks.1"]
    )
    twice = prune3d.prune(once, width=0.4, options=L2)
    assert twice.stem.out_channels == 3
    with pytest.raises(PruningError, match="pruning only makes smaller"):
        prune3d.prune(twice, width=0.9, options=L2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "blocks", "told"),
    [
        ("timm/resnet10t", 5, None),
        ("timm/resnext26ts", 9, None),
        ("timm/convnext_atto", 12, None),
        ("timm/res2net50_26w_4s", 16, None),
    ],
)
def test_networks_of_timm_are_pruned_or_refused_with_the_reason(
    name: str, blocks: int, told: str | None
) -> None:
    torch.manual_seed(0)
    model = prune3d.build(name, 10, 64)
    structure = analyze(model, [48, 64])
    assert structure.blocks >= blocks
    order = list(structure.removable)
    depth = (structure.blocks - 1) / structure.blocks
    if told is not None:
        text = refusal(lambda: prune3d.prune(model, width=0.6, options=L2))
        assert told in text
        small = prune3d.prune(model, depth=depth, resolution=0.75, removal_order=order)
        expected = counted(small, 48)[0]
        assert prune3d.cost(small).macs == expected < counted(model, 64)[0]
        return
    lattice = enumerate_lattice(structure, order, np.array([0.6]), [48])
    small = prune3d.prune(model, depth, 0.6, 0.75, options=L2, removal_order=order)
    assert (lattice.macs[1, 0, 0], lattice.params[1, 0]) == counted(small, 48)

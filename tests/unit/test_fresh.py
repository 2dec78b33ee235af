"""Training from scratch begins with the weights with which a network's own code begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import prune3d
from prune3d.data.images import ImageSet
from prune3d.errors import PruningError
from prune3d.models.assembly import get_spec, set_spec
from prune3d.models.fresh import initialize
from prune3d.models.lineage import Step, get_lineage
from prune3d.train.loop import train
from prune3d.train.recipe import Recipe
from prune3d.workflow.trained_part import part_of_step, trained_part

OWN = Path(__file__).with_name("own")
ORDER = ["layer1.1", "layer2.1", "layer3.1"]


def fill(model: nn.Module, value: float) -> None:
    """Stand in for training: whatever is left of it is seen."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(value)


@pytest.mark.parametrize(
    ("name", "pruning"),
    [
        ("resnet14", {"depth": 0.67, "width": 0.5, "removal_order": ORDER}),
        ("densenet40", {"width": 0.5}),
        ("cifar_mobilenet_v2", {"width": 0.4, "resolution": 0.5}),
        ("cifar_vgg16_bn", {"width": 0.3}),
    ],
)
def test_every_tensor_is_the_beginning_of_that_of_a_new_dense_network(
    name: str, pruning: dict[str, Any]
) -> None:
    pruned = prune3d.prune(prune3d.build(name, 10, 32), **pruning)
    fill(pruned, 7.0)
    before = {name: tensor.shape for name, tensor in pruned.state_dict().items()}
    state = torch.get_rng_state()
    initialize(pruned, 3)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(3)
    new = prune3d.build(name, 10, 32).state_dict()
    assert {name: tensor.shape for name, tensor in pruned.state_dict().items()} == before
    for key, tensor in pruned.state_dict().items():
        begun = new[key][tuple(map(slice, tensor.shape))]
        factor = tensor.norm() / begun.norm() if begun.any() else 1.0
        torch.testing.assert_close(tensor.float(), begun * factor, msg=key)
        assert tensor.shape != new[key].shape or torch.equal(tensor, begun), key
    assert not any((p == 7).any() for p in pruned.parameters())
    assert get_lineage(pruned) == ()
    assert pruned.eval()(torch.randn(2, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize(
    ("dense", "width", "narrow"),
    [
        ("resnet20", 0.5, "resnet20_wd2"),  # by outputs; torch's default is the root of six smaller
        (f"{OWN / 'laws.py'}:wide_default", 0.25, f"{OWN / 'laws.py'}:narrow_default"),
        (f"{OWN / 'laws.py'}:wide_xavier", 0.25, f"{OWN / 'laws.py'}:narrow_xavier"),
        (f"{OWN / 'laws.py'}:wide_fixed", 0.25, f"{OWN / 'laws.py'}:narrow_fixed"),
    ],
)
def test_weights_are_as_large_as_the_networks_own_code_makes_them_at_this_width(
    dense: str, width: float, narrow: str
) -> None:
    model = prune3d.prune(prune3d.build(dense, 10, 32), width=width)
    fill(model, 7.0)
    initialize(model, 0)
    own = prune3d.build(narrow, 10, 32)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            like = own.get_submodule(name).weight
            assert layer.weight.shape == like.shape
            error = 4 * like.numel() ** -0.5
            ratio = float(layer.weight.detach().std()) / float(like.detach().std())
            assert ratio == pytest.approx(1, rel=error), name


def test_seeds_differ_and_the_same_seed_gives_the_same(
    make_network: Callable[..., nn.Module],
) -> None:
    weights = []
    for seed in (1, 1, 2):
        model = make_network("resnet14")
        initialize(model, seed)
        weights.append(model.conv1.weight.clone())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_parameters_that_no_module_resets_are_new_too() -> None:
    """A bare weight, used by a function."""
    model = prune3d.build(f"{OWN / 'foreign.py'}:operators", 10, 16)
    fill(model, 7.0)
    initialize(model, 0)
    assert not any((p == 7).any() for p in model.parameters())


def test_code_that_builds_something_smaller_is_refused() -> None:
    model = prune3d.build("resnet8", 10, 32)
    spec = get_spec(model)
    model.conv1.weight = nn.Parameter(torch.zeros(17, 3, 3, 3))
    set_spec(model, spec)
    with pytest.raises(PruningError, match=r"'conv1.weight' of shape \(17, 3, 3, 3\)"):
        initialize(model, 0)


def test_from_scratch_is_as_many_epochs_or_as_much_work_as_the_pruned_network_had() -> None:
    model = prune3d.prune(prune3d.build("resnet20", 10, 32), macs=0.25)
    ratio = prune3d.cost(model).macs / prune3d.cost(prune3d.build("resnet20", 10, 32)).macs
    recipe = Recipe(epochs=30, warmup_epochs=2)
    settings = {"epochs": 30, "more_epochs": 12, "scratch": "epochs"}
    assert recipe.scaled(trained_part(settings, model)).epochs == 42
    macs = prune3d.cost(model).macs
    paid = [
        Step("train", 30 * 100, 4 * macs, "dense"),
        Step("train", 12 * 100, macs, "half/dwr"),
        Step("evaluate", 50, 10**9, "half/dwr"),
    ]
    longer = recipe.scaled(trained_part({**settings, "scratch": "budget"}, model, paid))
    # The dense network's 30 epochs at its own cost, 12 at that of the pruned one.
    assert longer.epochs * ratio == pytest.approx(30 + 12 * ratio, abs=0.5 * ratio)
    assert longer.warmup_epochs == pytest.approx(2 * longer.epochs / 30)
    assert trained_part({**settings, "scratch": None, "steps": 1}, model) == 1


def test_from_scratch_at_equal_cost_pays_for_teachers_and_networks_on_the_way() -> None:
    """By the bill of a fine-tuning in two steps after a teacher, and by hand."""
    images = ImageSet(
        torch.randint(256, (12, 1, 8, 8), dtype=torch.uint8), torch.arange(12) % 10, (0.5,), (0.3,)
    )
    dense = prune3d.build("resnet8", 10, 8, 1)
    model, costs, epochs = dense, [], (2, 1)
    for width, some in zip((0.7, 0.5), epochs, strict=True):
        model = prune3d.prune(model, width=width)
        recipe = Recipe(epochs=some, batch_size=12, distillation=0.5)
        train(model, images, recipe, 0, teacher=dense)
        costs.append(prune3d.cost(model).macs)
    whole = prune3d.cost(dense).macs
    expected = 40 * whole + 2 * (costs[0] + whole) + 1 * (costs[1] + whole)
    settings = {"epochs": 40, "more_epochs": 3, "scratch": "budget"}
    part = trained_part(settings, model, get_lineage(model))
    assert 40 * part * costs[1] == pytest.approx(expected)


@pytest.mark.parametrize(("epochs", "steps"), [(10, 1), (10, 3), (7, 7), (20, 6)])
def test_steps_have_whole_epochs_and_together_all_of_them(epochs: int, steps: int) -> None:
    recipe, settings = Recipe(epochs=epochs), {"epochs": epochs, "steps": steps, "scratch": None}
    parts = [part_of_step(settings, step) for step in range(1, steps + 1)]
    made = [recipe.scaled(part).epochs for part in parts]
    assert sum(made) == epochs and max(made) - min(made) <= 1
    # The last is the fine-tuning of the final network itself.
    assert trained_part(settings, prune3d.build("resnet8", 10, 16)) == parts[-1]

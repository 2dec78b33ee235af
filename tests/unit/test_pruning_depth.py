"""Removing a block is the same as a residual branch that adds nothing; its score by other means."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import prune3d
from prune3d.data.images import ImageSet, ImageSplits
from prune3d.errors import PruningError
from prune3d.models.lineage import get_lineage
from prune3d.pruning import PruningOptions
from prune3d.pruning.block_criteria import discrimination
from prune3d.pruning.dense import present_blocks
from prune3d.pruning.depth import order_blocks
from prune3d.pruning.linear_probe import NormalEquations

Network = Callable[..., nn.Module]


def silence_blocks(model: nn.Module, names: list[str]) -> nn.Module:
    """Return a copy in which the residual branches of some blocks give zero."""
    silent = copy.deepcopy(model)
    for name in names:
        block = silent.get_submodule(name)
        nn.init.zeros_(block.bn2.weight)
        nn.init.zeros_(block.bn2.bias)
    return silent


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Return logits in double precision."""
    with torch.no_grad():
        return copy.deepcopy(model).double().eval()(images.double())


def features_by_hand(model: nn.Module, images: ImageSet) -> list[np.ndarray]:
    """Return the pooled input of the first block and the output of every block."""
    x = images.images.float() / 255
    x = (x - torch.tensor(images.mean).view(1, -1, 1, 1)) / torch.tensor(images.spread).view(
        1, -1, 1, 1
    )
    with torch.no_grad():
        x = F.relu(model.bn1(model.conv1(x)))
        found = [x.mean((2, 3)).numpy()]
        for block in [*model.layer1, *model.layer2, *model.layer3]:
            x = block(x)
            found.append(x.mean((2, 3)).numpy())
    return found


def ridge_accuracy(
    fit: np.ndarray, labels: np.ndarray, held: np.ndarray, held_labels: np.ndarray
) -> tuple[float, float]:
    """Return accuracy and squared error of scikit-learn's ridge regression on one-hot labels."""
    spread = fit.std(0, ddof=1)
    fit, held = (fit - fit.mean(0)) / spread, (held - fit.mean(0)) / spread
    ridge = Ridge(alpha=1e-3 * len(fit)).fit(fit, np.eye(10)[labels])
    scores = ridge.predict(held)
    error = np.sum((scores - np.eye(10)[held_labels]) ** 2, axis=1).mean()
    return float(np.mean(scores.argmax(1) == held_labels)), float(error)


@pytest.mark.parametrize("removed", [["layer1.0"], ["layer1.1", "layer3.1"], ["layer2.1"]])
def test_a_removed_block_is_a_residual_branch_that_adds_nothing(
    make_network: Network, removed: list[str]
) -> None:
    model = make_network()
    pruned = prune3d.prune(model, depth=(6 - len(removed)) / 6, removal_order=removed)
    images = torch.randn(4, 3, 16, 16)
    expected = outputs(silence_blocks(model, removed), images)
    torch.testing.assert_close(outputs(pruned, images), expected, rtol=1e-12, atol=1e-12)
    assert pruned.spec.removed_blocks == tuple(removed)


def test_the_order_is_followed_as_far_as_the_depth_asks(make_network: Network) -> None:
    order = ["layer3.1", "layer1.1", "layer1.0", "layer2.1"]
    model = make_network()
    for removed in range(1, 5):
        pruned = prune3d.prune(model, depth=(6 - removed) / 6, removal_order=order)
        assert set(pruned.spec.removed_blocks) == set(order[:removed])
        assert len(present_blocks(pruned)) == 6 - removed


def test_blocks_that_are_gone_already_count(make_network: Network) -> None:
    order = ["layer1.1", "layer2.1", "layer3.1", "layer1.0"]
    once = prune3d.prune(make_network(), depth=5 / 6, removal_order=order)
    twice = prune3d.prune(once, depth=0.5, removal_order=order)
    assert twice.spec.removed_blocks == ("layer1.1", "layer2.1", "layer3.1")


def test_more_blocks_than_there_are_is_refused(make_network: Network) -> None:
    pruned = prune3d.prune(
        make_network(), depth=0.5, removal_order=["layer1.1", "layer2.1", "layer3.1"]
    )
    with pytest.raises(PruningError, match=r"depth 1\.0 is 6 of 6 blocks, but .* only 3 left"):
        prune3d.prune(pruned, depth=1.0)


@pytest.mark.parametrize("depth", [0.5, 1.0])
def test_an_order_with_a_block_that_there_is_not_is_refused(
    make_network: Network, depth: float
) -> None:
    with pytest.raises(PruningError, match=r"names layer9\.0, which is no block of resnet14; .*"):
        prune3d.prune(make_network(), depth=depth, removal_order=["layer1.1", "layer9.0"])


def test_fewer_blocks_than_must_stay_is_refused(make_network: Network) -> None:
    with pytest.raises(PruningError, match=r"depth 0\.1 .*0\.3333 \(2 blocks"):
        prune3d.prune(make_network(), depth=0.1, removal_order=[])


@pytest.mark.parametrize(
    "order",
    [
        ["layer1.1"],
        [],
        ["layer1.1", "layer1.1"],
        ["layer1.1", "layer1.9"],
        ["layer1.1", "head.0"],
        ["layer1.1", "layer2.0"],
        ["layer1.1", "conv1"],
    ],
    ids=[
        "too short",
        "empty",
        "repeated",
        "no such block",
        "no such parent",
        "changes the shape",
        "not a block",
    ],
)
def test_an_order_that_cannot_give_the_depth_is_refused(
    make_network: Network, order: list[str]
) -> None:
    with pytest.raises(PruningError):
        prune3d.prune(make_network(), depth=4 / 6, removal_order=order)


def probe_accuracy(
    x: Tensor, labels: Tensor, held: Tensor, held_labels: Tensor, classes: int, parts: int = 3
) -> tuple[float, float]:
    """Fit and judge the probe in parts; return accuracy and mean squared error."""
    batches = list(zip(x.tensor_split(parts), labels.tensor_split(parts), strict=True))
    equations = NormalEquations(classes, batches[0][0])
    for features, answers in batches:
        equations.add(features, answers)
    probe = equations.fit()
    halves = zip(held.tensor_split(2), held_labels.tensor_split(2), strict=True)
    accuracy, error = (sum(probe.judge(*half) for half in halves) / len(held)).tolist()
    return accuracy, error


def test_the_closed_form_probe_is_ridge_regression(trained: nn.Module, digits: ImageSplits) -> None:
    fit, held = digits.train, digits.selection
    pairs = zip(features_by_hand(trained, fit), features_by_hand(trained, held), strict=True)
    for x, y in pairs:
        found = probe_accuracy(torch.tensor(x), fit.labels, torch.tensor(y), held.labels, 10)
        expected = ridge_accuracy(
            x.astype(np.float64), fit.labels.numpy(), y.astype(np.float64), held.labels.numpy()
        )
        assert found == pytest.approx(expected, rel=1e-9)


def test_the_probe_is_about_as_accurate_as_logistic_regression(
    trained: nn.Module, digits: ImageSplits
) -> None:
    fit, held = digits.train, digits.selection
    x, y = features_by_hand(trained, fit)[-1], features_by_hand(trained, held)[-1]
    scaler = StandardScaler().fit(x)
    logistic = LogisticRegression(max_iter=300).fit(scaler.transform(x), fit.labels.numpy())
    expected = logistic.score(scaler.transform(y), held.labels.numpy())
    found, _ = probe_accuracy(torch.tensor(x), fit.labels, torch.tensor(y), held.labels, 10)
    assert expected > 0.8
    assert found == pytest.approx(expected, abs=0.04)


def test_a_feature_that_is_constant_does_no_harm() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (60,), generator=generator)
    x = torch.stack([labels + 0.1 * torch.rand(60, generator=generator), torch.full((60,), 3.0)], 1)
    accuracy, error = probe_accuracy(x, labels, x, labels, 2)
    assert accuracy == 1
    assert error < 0.05


def test_features_far_from_zero_lose_nothing_in_the_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (300,), generator=generator)
    x = torch.rand(300, 5, generator=generator).double() + 1e6
    expected = ridge_accuracy(x.numpy(), labels.numpy(), x.numpy(), labels.numpy())
    assert probe_accuracy(x, labels, x, labels, 10) == pytest.approx(expected, rel=1e-9)


def test_scores_are_gains_of_the_probes_accuracy(trained: nn.Module, digits: ImageSplits) -> None:
    fit, held = digits.train, digits.selection
    probes = [
        ridge_accuracy(
            x.astype(np.float64), fit.labels.numpy(), y.astype(np.float64), held.labels.numpy()
        )
        for x, y in zip(
            features_by_hand(trained, fit), features_by_hand(trained, held), strict=True
        )
    ]
    names = [f"layer{i}.{j}" for i in (1, 2, 3) for j in (0, 1)]
    scores = discrimination(trained, present_blocks(trained), digits, PruningOptions())
    expected = {
        name: (after[0] - before[0], before[1] - after[1])
        for name, before, after in zip(names, probes[:-1], probes[1:], strict=True)
        if name not in ("layer2.0", "layer3.0")
    }
    assert list(scores) == list(expected)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("useless", ["layer1.0", "layer1.1", "layer2.1", "layer3.1"])
def test_a_block_that_does_nothing_scores_exactly_zero(
    trained: nn.Module, digits: ImageSplits, useless: str
) -> None:
    model = silence_blocks(trained, [useless])
    scores = discrimination(model, present_blocks(model), digits, PruningOptions())
    assert scores[useless] == (0.0, 0.0)
    assert all(score != (0.0, 0.0) for name, score in scores.items() if name != useless)


def test_a_block_that_does_nothing_goes_first_where_the_others_help(
    trained: nn.Module, digits: ImageSplits
) -> None:
    helpful = discrimination(trained, present_blocks(trained), digits, PruningOptions())
    assert min(gain for name, (gain, _) in helpful.items() if name != "layer3.1") > 0
    model = silence_blocks(trained, ["layer3.1"])
    assert order_blocks(model, PruningOptions(), digits)[0] == "layer3.1"


def test_only_the_blocks_that_are_left_are_ordered(trained: nn.Module, digits: ImageSplits) -> None:
    pruned = prune3d.prune(trained, depth=5 / 6, removal_order=["layer1.0"])
    order = order_blocks(pruned, PruningOptions(), digits)
    assert sorted(order) == ["layer1.1", "layer2.1", "layer3.1"]


def test_scoring_is_billed_with_its_image_passes(trained: nn.Module, digits: ImageSplits) -> None:
    order_blocks(trained, PruningOptions(probe_images=100), digits)
    (step,) = get_lineage(trained)
    assert step.image_passes == 100 + len(digits.selection)
    assert step.macs == prune3d.cost(trained).macs


def test_scoring_leaves_the_mode_of_the_network(trained: nn.Module, digits: ImageSplits) -> None:
    trained.train()
    order_blocks(trained, PruningOptions(probe_images=16), digits)
    assert trained.training


def test_scoring_without_images_is_refused(make_network: Network) -> None:
    with pytest.raises(PruningError, match=r"'dbp' .* images"):
        prune3d.prune(make_network(), depth=0.5)


def test_random_orders_follow_the_seed(make_network: Network) -> None:
    model = make_network("resnet56")

    def order(seed: int) -> list[str]:
        return order_blocks(model, PruningOptions(block_criterion="random", seed=seed), None)

    removable = {block.name for block in present_blocks(model) if block.removable}
    assert order(1) == order(1)
    assert order(1) != order(2)
    assert set(order(1)) == removable

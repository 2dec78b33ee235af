"""Known networks are pruned along all dimensions, with most of their channels not left alone."""

import pytest

import known_networks

pytest.importorskip("timm")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "torchvision/shufflenet_v2_x0_5",
        "torchvision/mobilenet_v3_small",
        "torchvision/resnet18",
        "timm/ghostnet_100",
        "timm/convnext_atto",
    ],
)
def test_known_networks_are_pruned_along_all_dimensions(name: str) -> None:
    found = known_networks.judge(name)
    assert [found[key] for key in ("width", "depth", "resolution")] == [True] * 3
    assert found["torch_macs"] is True
    assert found["free_macs"] >= 0.8
    assert found["seconds"] < 60


def test_the_list_has_a_hundred_networks_of_timm_and_those_of_torchvision() -> None:
    listed = known_networks.names()
    assert len(set(listed)) == len(listed)
    assert len([name for name in listed if name.startswith("timm/")]) >= 100
    assert len([name for name in listed if name.startswith("torchvision/")]) > 60
    assert not [name for name in listed if "/vit_" in name or "/swin" in name]

"""Known networks are pruned along all dimensions, with most of their channels not left alone."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("timm")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
from coverage import TIMM, judge, names  # noqa: E402


@pytest.mark.slow
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
    found = judge(name, rival=False)
    assert [found[key] for key in ("width", "depth", "resolution")] == [True] * 3
    assert found["free_macs"] >= 0.8
    assert found["seconds"] < 60


def test_the_list_has_a_hundred_networks_of_timm_and_those_of_torchvision() -> None:
    listed = names()
    assert len(set(listed)) == len(listed)
    assert len(TIMM) >= 100
    assert len([n for n in listed if n.startswith("torchvision/")]) > 60
    assert not [n for n in listed if "/vit_" in n or "/swin" in n]

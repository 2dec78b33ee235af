"""MobileNetV2 for 32x32 images (Sandler et al., arXiv 1801.04381).

The layers are those of the paper, with stride 1 instead of 2 in the stem and in the second and the
fourth stage, as usual for CIFAR, so that the last feature map of a 32x32 image has 8x8 pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Expansion, output channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 1),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
FIRST_CHANNELS, LAST_CHANNELS = 32, 1280


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection; a shortcut where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += _unit(in_channels, hidden, 1)
        layers += _unit(hidden, hidden, 3, stride, groups=hidden)
        layers += _unit(hidden, out_channels, 1)[:-1]
        self.layers = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of shape (N, out_channels, side / stride, side / stride)."""
        return x + self.layers(x) if self.shortcut else self.layers(x)


class CifarMobileNetV2(nn.Module):
    """A stem, seven stages of inverted residuals and a 1x1 convolution."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_unit(in_channels, FIRST_CHANNELS, 3))
        blocks, channels = [], FIRST_CHANNELS
        for expansion, width, count, stride in STAGES:
            for i in range(count):
                blocks.append(InvertedResidual(channels, width, expansion, 1 if i else stride))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(*_unit(channels, LAST_CHANNELS, 1))
        self.classifier = nn.Linear(LAST_CHANNELS, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (N, num_classes)."""
        x = self.head(self.blocks(self.stem(x)))
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def _unit(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    return [
        nn.Conv2d(
            in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(inplace=True),
    ]


def mobilenet_v2(num_classes: int, image_size: int, in_channels: int) -> CifarMobileNetV2:
    """Build MobileNetV2 at width 1."""
    return CifarMobileNetV2(num_classes, in_channels)

"""DenseNet for small images (Huang et al., arXiv 1608.06993, section 4.1).

Without bottlenecks and compression, as DenseNet-40 (k=12) of the paper: 1.0 million parameters.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIRST_CHANNELS = 16


class DenseLayer(nn.Module):
    """Batch norm, ReLU and a 3x3 convolution, whose output is appended to the input."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of shape (N, in_channels + growth, side, side)."""
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class Transition(nn.Module):
    """Batch norm, ReLU, a 1x1 convolution and average pooling to half the side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of shape (N, channels, side / 2, side / 2)."""
        return F.avg_pool2d(self.conv(F.relu(self.norm(x))), 2)


class CifarDenseNet(nn.Module):
    """Three dense stages with transitions between them."""

    def __init__(self, layers: int, growth: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        channels = FIRST_CHANNELS
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        for stage in range(3):
            if stage:
                stages.append(Transition(channels))
            dense = []
            for _ in range((layers - 4) // 3):
                dense.append(DenseLayer(channels, growth))
                channels += growth
            stages.append(nn.Sequential(*dense))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (N, num_classes)."""
        x = F.relu(self.norm(self.stages(self.conv(x))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def densenet(
    layers: int, growth: int, num_classes: int, image_size: int, in_channels: int
) -> CifarDenseNet:
    """Build a DenseNet of 3n + 4 layers with n dense layers a stage."""
    return CifarDenseNet(layers, growth, num_classes, in_channels)

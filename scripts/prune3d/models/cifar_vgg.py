"""VGG for small images (Simonyan and Zisserman, arXiv 1409.1556), with batch norms.

As usual for CIFAR the three linear layers are one, and the last pooling is an average over what is
left (2x2 pixels of 32x32), so that any side from 16 pixels is taken; the layers are those of Liu et
al., "Rethinking the value of network pruning" (arXiv 1810.05270).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = {
    16: ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)),
    19: ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)),
}


class CifarVGG(nn.Module):
    """Stages of 3x3 convolutions, each followed by batch norm and ReLU, with pooling between."""

    def __init__(self, layers: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        channels = in_channels
        for i, (width, count) in enumerate(STAGES[layers]):
            if i:
                modules.append(nn.MaxPool2d(2))
            for _ in range(count):
                modules += [
                    nn.Conv2d(channels, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
        self.features = nn.Sequential(*modules)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (N, num_classes)."""
        x = self.features(x)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def vgg(layers: int, num_classes: int, image_size: int, in_channels: int) -> CifarVGG:
    """Build VGG-16 or VGG-19."""
    return CifarVGG(layers, num_classes, in_channels)

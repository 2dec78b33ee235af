"""Networks as users write them, each in another style."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Plain(nn.Module):
    """No Sequential: convolutions as attributes, functions between them, a view before the head."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.conv3 = nn.Conv2d(12, 20, 3, padding=1)
        self.conv4 = nn.Conv2d(20, 20, 3, padding=1)
        self.fc1 = nn.Linear(20, 14)
        self.fc2 = nn.Linear(14, num_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.relu(self.conv3(x))
        x = F.relu(self.conv4(x))
        x = F.adaptive_avg_pool2d(x, 1)
        x = x.view(x.size(0), -1)
        return self.fc2(F.relu(self.fc1(x)))


class Flattened(nn.Module):
    """A head behind a flattened feature map: only one image side fits."""

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.PReLU(8),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.PReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Linear(16 * (image_size // 4) ** 2, num_classes)

    def forward(self, x):
        return self.head(torch.flatten(self.features(x), 1))


class Residual(nn.Module):
    """A block called from the root, with a list of blocks and a wrapper around them."""

    class Block(nn.Module):
        """Two convolutions and a shortcut."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.a = nn.Conv2d(width, width * 2, 1, bias=False)
            self.n = nn.BatchNorm2d(width * 2)
            self.b = nn.Conv2d(width * 2, width, 3, padding=1, bias=False)
            self.m = nn.BatchNorm2d(width)

        def forward(self, x):
            return x + self.m(self.b(F.relu(self.n(self.a(x)))))

    class Body(nn.Module):
        """What holds the blocks is no block itself."""

        def __init__(self, width: int, count: int) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(Residual.Block(width) for _ in range(count))
            self.grow = nn.Conv2d(width, width * 2, 3, 2, 1)

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.grow(x)

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.one = Residual.Block(8)
        self.body = Residual.Body(8, 3)
        self.head = nn.Conv2d(16, num_classes, 1)

    def forward(self, x):
        return self.head(self.body(self.one(F.relu(self.stem(x))))).mean((2, 3))


class Staged(nn.Module):
    """A stage that could go as a whole, as the first one of a ConvNeXt."""

    class Stage(nn.Module):
        """Two blocks."""

        def __init__(self) -> None:
            super().__init__()
            self.first = Residual.Block(8)
            self.second = Residual.Block(8)

        def forward(self, x):
            return self.second(self.first(x))

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stage = Staged.Stage()
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.head(self.stage(self.stem(x)).mean((2, 3)))


class Shuffled(nn.Module):
    """A channel shuffle."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 12, 3, padding=1)
        self.b = nn.Conv2d(12, 12, 3, padding=1)
        self.fc = nn.Linear(12, num_classes)

    def forward(self, x):
        x = F.relu(self.a(x))
        n, c, h, w = x.shape
        x = x.view(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.fc(F.relu(self.b(x)).mean((2, 3)))


class UnequalGroups(nn.Module):
    """A grouped convolution with more outputs than inputs."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 16, 3, padding=1, groups=4)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.b(F.relu(self.a(x)))).mean((2, 3)))


class Unused(nn.Module):
    """A layer that the forward pass leaves out."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.aux = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.a(x)).mean((2, 3)))


class GroupNormed(nn.Module):
    """A norm over groups of channels, which cannot lose single channels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(4, 8)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.fc(F.relu(self.norm(self.a(x))).mean((2, 3)))


def fixed(num_classes: int) -> nn.Module:
    """Return a network without removable blocks."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 10, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(10, num_classes),
    )


def broken(num_classes: int) -> nn.Module:
    raise ValueError("no such thing")


def a_number(num_classes: int) -> int:
    return num_classes


not_a_function = 3

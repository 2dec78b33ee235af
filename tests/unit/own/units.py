"""Networks whose units of depth are not residual blocks of wide convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """Runs a stem, blocks and a linear layer on means."""

    def __init__(self, classes: int, width: int, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 12, 3, 2, 1), nn.ModuleList(blocks)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Fire(nn.Module):
    """Squeezes, and expands in two branches."""

    def __init__(self, width: int, squeezed: int, *expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, squeezed, 1)
        self.one = nn.Conv2d(squeezed, expanded[0], 1)
        self.three = nn.Conv2d(squeezed, expanded[1], 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat([self.one(x), self.three(x)], 1))


def fire(num_classes: int) -> nn.Module:
    # The third's branches have other widths than those before it, so that it must stay.
    blocks = (Fire(12, 4, 8, 8), Fire(16, 6, 8, 8), Fire(16, 4, 6, 10), Fire(16, 4, 6, 10))
    return Head(num_classes, 16, *blocks)


class Pointwise(nn.Module):
    """Mixes places by pooling, and channels in one pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widen, self.norm = nn.Conv2d(width, 2 * width, 1), nn.BatchNorm2d(2 * width)
        self.narrow = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(torch.relu(self.norm(self.widen(F.avg_pool2d(x, 3, 1, 1) - x))))


def pointwise(num_classes: int) -> nn.Module:
    return Head(num_classes, 12, *(Pointwise(12) for _ in range(3)))


class Gathers(nn.Module):
    """Appends layers to each other, each of which reads the last alone; then a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(self._layer(w) for w in (width, 6, 6))
        self.gather = nn.Conv2d(width + 18, width, 1)

    @staticmethod
    def _layer(width: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(width, 6, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.layers:
            parts.append(layer(parts[-1]))
        return x + self.gather(torch.cat(parts, 1))


def gathers(num_classes: int) -> nn.Module:
    return Head(num_classes, 12, Gathers(12), Gathers(12))


class Volumes(nn.Module):
    """Convolves volumes in its own forward."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv3d(1, 8, 3, padding=1), nn.Linear(8, num_classes)
        self.one, self.two = (nn.Conv3d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x.unsqueeze(1)))
        x = x + self.two(torch.relu(self.one(x)))
        return self.head(x.mean((2, 3, 4)))


def volumes(num_classes: int) -> nn.Module:
    return Volumes(num_classes)


class Partial(nn.Module):
    """Convolves a part of the channels, which it alone tells from the others."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.part = width // 4
        self.wide = nn.Conv2d(self.part, self.part, 3, 1, 1)
        self.a, self.b = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.split([self.part, x.shape[1] - self.part], 1)
        return x + self.b(torch.relu(self.a(torch.cat([self.wide(one), other], 1))))


class Shuffled(nn.Module):
    """Mixes channels by grouped convolutions and a shuffle, which ties those of its input."""

    def __init__(self, width: int, appends: bool = False) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width // 2, 1, groups=2)
        self.b = nn.Conv2d(width // 2, width // 2, 3, 1, 1, groups=width // 2)
        self.c = nn.Conv2d(width // 2, width, 1, groups=2)
        self.appends = appends

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x))
        y = y.view(len(y), 2, -1, *y.shape[2:]).transpose(1, 2).flatten(1, 2)
        y = self.c(self.b(y))
        return F.avg_pool2d(torch.cat([x, y], 1), 2) if self.appends else torch.relu(x + y)


def shuffled(num_classes: int) -> nn.Module:
    return Head(num_classes, 24, Shuffled(12, appends=True), Shuffled(24), Shuffled(24))


def partial(num_classes: int) -> nn.Module:
    return Head(num_classes, 24, Partial(12), Partial(12), Shuffled(12, appends=True))

"""Networks a part of which mixes channels in ways that are not followed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.b(torch.relu(self.a(x))))


class Net(nn.Module):
    """A stem, a residual block, some module, and a head."""

    def __init__(self, classes: int, special: nn.Module, width: int = 12) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 12, 3, 2, 1), Residual(12)
        self.special, self.head = special, nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.special(self.block(torch.relu(self.stem(x))))
        return self.head(x.mean((2, 3)) if x.dim() == 4 else x)


class Experts(nn.Module):
    """A convolution whose filters are mixed anew for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 12 * 12 * 9) * 0.1)
        self.route = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        count, _channels, height, width = x.shape
        filters = torch.sigmoid(self.route(x.mean((2, 3)))) @ self.weight
        filters = filters.view(count * 12, 12, 3, 3)
        y = F.conv2d(x.reshape(1, -1, height, width), filters, padding=1, groups=count)
        return torch.relu(x + y.view(count, 12, height, width))


class Recurrent(nn.Module):
    """Reads the columns one after the other."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cells = kind(12, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cells(x.mean(2).transpose(1, 2))[0][:, -1]


class Products(nn.Module):
    """Products of all channels with each other."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,ndhw->ncd", x, x).flatten(1) / 64


class Pairs(nn.Module):
    """A bilinear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.Bilinear(12, 12, 7)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.pair(x.mean((2, 3)), x.amax((2, 3))))


class Neighbours(nn.Module):
    """A convolution along the channels, as in ECA; with another shape than its usual one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(1, 2)
        return x * self.conv(y).transpose(1, 2).unsqueeze(-1).sigmoid()


def experts(num_classes: int) -> nn.Module:
    return Net(num_classes, Experts())


def gru(num_classes: int) -> nn.Module:
    return Net(num_classes, Recurrent(nn.GRU), 8)


def lstm(num_classes: int) -> nn.Module:
    return Net(num_classes, Recurrent(nn.LSTM), 8)


def products(num_classes: int) -> nn.Module:
    return Net(num_classes, Products(), 144)


def pairs(num_classes: int) -> nn.Module:
    return Net(num_classes, Pairs(), 7)


def neighbours(num_classes: int) -> nn.Module:
    return Net(num_classes, Neighbours())


def local_norm(num_classes: int) -> nn.Module:
    return Net(num_classes, nn.LocalResponseNorm(5))

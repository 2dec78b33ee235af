"""Attention in its many spellings, each in a residual branch beside an MLP."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ByHand(nn.Module):
    """Attention written out, with 4 heads of 8 channels; the sizes are constants."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads, self.scale = 4, 8**-0.5
        self.qkv, self.proj = nn.Linear(width, 96), nn.Linear(32, width)

    def split(self, y: Tensor, width: int) -> Tensor:
        return y.reshape(*y.shape[:2], 3, 4, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.qkv(x), x.shape[2]).permute(2, 0, 3, 1, 4)
        y = (q * self.scale @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).flatten(2))


class HeadsKnown(ByHand):
    def split(self, y: Tensor, width: int) -> Tensor:
        return y.reshape(*y.shape[:2], 3, self.num_heads, 8)


class HeadsConstant(ByHand):
    def split(self, y: Tensor, width: int) -> Tensor:
        return y.reshape(*y.shape[:2], 3, 4, -1)


class OfWidth(ByHand):
    """The size of a head is computed from the width of the input."""

    def split(self, y: Tensor, width: int) -> Tensor:
        return y.reshape(*y.shape[:2], 3, self.num_heads, width // self.num_heads)


class OfWidthConstant(ByHand):
    def split(self, y: Tensor, width: int) -> Tensor:
        return y.reshape(*y.shape[:2], 3, 4, width // 4)


class ScaleOfSize(HeadsConstant):
    """The scale follows the size of a head, so that what is left of it would be another one."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.split(self.qkv(x), x.shape[2]).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).flatten(2))


class Apart(nn.Module):
    """Queries, keys and values of layers of their own; a wrong shape shows in the layer after."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(width, 32) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).view(len(x), -1, 4, 8).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = (q * 8**-0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).flatten(2))


class Torchs(nn.Module):
    """Torch's own attention, of the stream with itself."""

    def __init__(self, width: int, weights: bool = False) -> None:
        super().__init__()
        self.weights, self.attend = weights, nn.MultiheadAttention(width, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x, x, x, need_weights=self.weights)[0]


class TorchsWeights(Torchs):
    def __init__(self, width: int) -> None:
        super().__init__(width, weights=True)


class Crossed(nn.Module):
    """Torch's own, of the stream with something narrower; keys and values have their weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, 12)
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True, kdim=12, vdim=12)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.down(x)
        return self.attend(x, memory, memory)[0]


class Asked(nn.Module):
    """Torch's own, of one learned query with the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.out = nn.Parameter(torch.randn(1, 1, width)), nn.Linear(width, width)
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attend(self.query.expand(len(x), -1, -1), x, x)[0])


class Within(nn.Module):
    """Torch's own, in a width of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(width, 16), nn.Linear(16, width)
        self.attend = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.into(x)
        return self.out(self.attend(y, y, y)[0])


class Net(nn.Module):
    """A stem, attention and an MLP, and a head."""

    def __init__(self, attention: type[nn.Module], classes: int) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 32, 4, 4), attention(32)
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.a(x)
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(x.mean(1))


def by_hand(num_classes: int) -> nn.Module:
    return Net(ByHand, num_classes)


def heads_known(num_classes: int) -> nn.Module:
    return Net(HeadsKnown, num_classes)


def heads_constant(num_classes: int) -> nn.Module:
    return Net(HeadsConstant, num_classes)


def of_width(num_classes: int) -> nn.Module:
    return Net(OfWidth, num_classes)


def of_width_constant(num_classes: int) -> nn.Module:
    return Net(OfWidthConstant, num_classes)


def scale_of_size(num_classes: int) -> nn.Module:
    return Net(ScaleOfSize, num_classes)


def apart(num_classes: int) -> nn.Module:
    return Net(Apart, num_classes)


def torchs(num_classes: int) -> nn.Module:
    return Net(Torchs, num_classes)


def torchs_weights(num_classes: int) -> nn.Module:
    return Net(TorchsWeights, num_classes)


def crossed(num_classes: int) -> nn.Module:
    return Net(Crossed, num_classes)


def asked(num_classes: int) -> nn.Module:
    return Net(Asked, num_classes)


def within(num_classes: int) -> nn.Module:
    return Net(Within, num_classes)

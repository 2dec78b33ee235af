"""Networks of two widths whose code makes weights by several laws."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn


class Plain(nn.Module):
    def __init__(self, width: int, law: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.fc = nn.Linear(2 * width, 10)
        for layer in (self.conv1, self.conv2, self.conv3):
            if law == "xavier":
                nn.init.xavier_uniform_(layer.weight)
            elif law == "fixed":
                nn.init.trunc_normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu()
        x = self.conv2(x).relu()
        return self.fc(self.conv3(x).relu().mean((2, 3)))


def make(width: int, law: str, num_classes: int) -> nn.Module:
    return Plain(width, law)


wide_default, narrow_default = (partial(make, width, "default") for width in (64, 16))
wide_xavier, narrow_xavier = (partial(make, width, "xavier") for width in (64, 16))
wide_fixed, narrow_fixed = (partial(make, width, "fixed") for width in (64, 16))

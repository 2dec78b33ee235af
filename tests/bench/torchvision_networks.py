"""Every classifier of torchvision, as a function of one's own."""

from __future__ import annotations

from collections.abc import Callable

import torchvision
from torch import nn


def __getattr__(name: str) -> Callable[[int], nn.Module]:
    """Return the function that builds a network for a number of classes."""
    if name not in torchvision.models.list_models(module=torchvision.models):
        raise AttributeError(name)

    def build(num_classes: int) -> nn.Module:
        rest = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model: nn.Module = torchvision.models.get_model(name, num_classes=num_classes, **rest)
        return model

    return build

"""torchvision's networks, without its weights."""

from __future__ import annotations

from torch import nn


def build(name: str, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """Build a network by its torchvision name; a first convolution for other than RGB is new."""
    import torchvision

    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    if in_channels != 3:
        _take_channels(model, in_channels)
    return model


def _take_channels(model: nn.Module, in_channels: int) -> None:
    name, conv = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    parent, _, child = name.rpartition(".")
    new = nn.Conv2d(
        in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    setattr(model.get_submodule(parent), child, new)

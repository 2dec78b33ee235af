"""timm's networks, without its weights."""

from __future__ import annotations

from torch import nn

from prune3d.errors import UserError


def build(name: str, num_classes: int, image_size: int, in_channels: int) -> nn.Module:
    """Build a network by its timm name.

    Raises
    ------
    UserError
        If timm is not installed or has no such network.
    """
    try:
        import timm
    except ImportError:
        raise UserError(f"model 'timm/{name}' needs timm, which is not installed.") from None
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        hint = f"; names like it are: {', '.join(close)}" if close else ""
        raise UserError(f"timm {timm.__version__} has no model '{name}'{hint}.")
    model: nn.Module = timm.create_model(
        name, pretrained=False, num_classes=num_classes, in_chans=in_channels
    )
    return model

"""Models by name. What the config check needs is in `registry` and does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prune3d.models.registry import MODELS, ModelFacts, facts

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "ModelFacts", "build", "facts"]


def build(name: str, num_classes: int, image_size: int, in_channels: int = 3) -> nn.Module:
    """Build a dense network with freshly initialized weights (torch's global generator).

    Parameters
    ----------
    name
        A name in `MODELS`, ``timm/NAME``, or ``path/to/file.py:function``.
    num_classes
        Number of classes, at least 2.
    image_size
        Side of the square input images in pixels, at least the model's smallest.
    in_channels
        Channels of the input images.

    Returns
    -------
    torch.nn.Module
        Takes float tensors of shape (N, in_channels, side, side), returns logits (N, num_classes).
        Its attribute `spec` says how it was built and, later, how it was pruned (unless the network
        has an attribute of that name itself).

    Raises
    ------
    prune3d.errors.UserError
        If the name is unknown, a number is too small, or one's own network does not take the
        images, does not give logits, or computes with what no file could keep.

    Examples
    --------
    >>> import torch, prune3d
    >>> model = prune3d.build("resnet20", num_classes=10, image_size=32)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    >>> prune3d.build("resnet21", num_classes=10, image_size=32)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    prune3d.errors.UserError: unknown model 'resnet21'; registered are: resnet8, ...
    """
    from prune3d.models.assembly import build_dense, rebuild
    from prune3d.models.foreign import check_copies, check_outputs
    from prune3d.models.spec import NetworkSpec

    spec = NetworkSpec(
        name=name,
        num_classes=num_classes,
        image_size=image_size,
        in_channels=in_channels,
        side=image_size,
    )
    model = build_dense(spec)
    if name not in MODELS:
        shape = (in_channels, image_size, image_size)
        check_outputs(model, name, shape, num_classes)
        check_copies(model, rebuild(spec), name, shape)
    return model

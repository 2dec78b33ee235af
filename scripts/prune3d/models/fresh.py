"""A pruned network with the weights with which its dense network begins a training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from prune3d.errors import PruningError
from prune3d.models.assembly import build_dense, get_spec
from prune3d.models.lineage import set_lineage
from prune3d.models.shapes import tensors_of


def initialize(model: nn.Module, seed: int) -> None:
    """Give a network random weights, in place: those of its own code, cut to its shape.

    The dense network is built anew, and of every parameter and buffer the first channels are taken,
    which are as random as any others. What the network has cost so far is forgotten.

    Parameters
    ----------
    model
        A network built by prune3d, pruned or not, on any device.
    seed
        Of torch's generator while the dense network is built.

    Raises
    ------
    PruningError
        If the network's code builds smaller layers than the network has.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dense = build_dense(get_spec(model).dense())
    # Under all their names: the module that holds a shared tensor first may be gone.
    parameters = dense.named_parameters(remove_duplicate=False)
    begun = {**dict(parameters), **dict(dense.named_buffers(remove_duplicate=False))}
    with torch.no_grad():
        for name, tensor in tensors_of(model).items():
            tensor.copy_(_cut(begun, name, tensor))
    set_lineage(model, ())


def _cut(begun: dict[str, Tensor], name: str, like: Tensor) -> Tensor:
    whole = begun.get(name)
    if whole is None or any(a < b for a, b in zip(whole.shape, like.shape, strict=True)):
        raise PruningError(
            f"the tensor '{name}' of shape {tuple(like.shape)} cannot be initialized: the network "
            "that its code builds has none that is as large."
        )
    return whole[tuple(slice(length) for length in like.shape)]

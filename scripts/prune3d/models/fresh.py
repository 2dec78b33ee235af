"""A pruned network with the weights with which its dense network begins a training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prune3d.errors import PruningError
from prune3d.models.assembly import build_dense, get_spec
from prune3d.models.lineage import set_lineage
from prune3d.models.shapes import tensors_of

# How far a spread may be from that of a law, in standard errors of so many weights.
ERRORS = 4.0


class Law(NamedTuple):
    """A variance of initial weights, as ``gain / (fan_in * inputs + fan_out * outputs)``."""

    gain: float
    inputs: int
    outputs: int

    def std(self, shape: torch.Size) -> float:
        """Return the standard deviation for a weight (out, in, ...)."""
        field = math.prod(shape[2:])
        fan = self.inputs * shape[1] * field + self.outputs * shape[0] * field
        return math.sqrt(self.gain / fan)


# He et al. 2015 by inputs and by outputs (kaiming), Glorot and Bengio 2010 (xavier), LeCun et al.
# 1998, and torch's default, which is uniform up to 1 / sqrt(fan_in).
LAWS = (Law(2, 1, 0), Law(2, 0, 1), Law(2, 1, 1), Law(1, 1, 0), Law(1 / 3, 1, 0))


def initialize(model: nn.Module, seed: int) -> None:
    """Give a network random weights, in place: those of its own code, cut to its shape.

    The dense network is built anew, and of every parameter and buffer the first channels are taken,
    which are as random as any others. Weights whose spread follows the numbers of their channels by
    one of `LAWS` get the spread of the narrower layer. What the network has cost so far is
    forgotten.

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
    laws = _laws(begun)
    with torch.no_grad():
        for name, tensor in tensors_of(model).items():
            whole = begun.get(name)
            tensor.copy_(_cut(whole, name, tensor))
            if whole is not None and name in laws:
                tensor.mul_(laws[name].std(tensor.shape) / laws[name].std(whole.shape))
    set_lineage(model, ())


def _laws(begun: Mapping[str, Tensor]) -> dict[str, Law]:
    """Return the law of each weight that follows that of most weights with as many axes."""
    weights = {
        name: tensor
        for name, tensor in begun.items()
        if tensor.ndim >= 2 and tensor.is_floating_point() and tensor.numel() > 1
    }
    laws = {}
    for axes in {tensor.ndim for tensor in weights.values()}:
        alike = {name: tensor for name, tensor in weights.items() if tensor.ndim == axes}
        following = Counter(law for t in alike.values() for law in LAWS if _follows(t, law))
        law, count = following.most_common(1)[0] if following else (None, 0)
        if law is not None and 2 * count > len(alike):
            laws.update({name: law for name, tensor in alike.items() if _follows(tensor, law)})
    return laws


def _follows(weight: Tensor, law: Law) -> bool:
    # The standard error of a spread is this part of it for normal weights, and less for uniform.
    error = 1 / math.sqrt(2 * weight.numel())
    return abs(float(weight.detach().std()) / law.std(weight.shape) - 1) < ERRORS * error


def _cut(whole: Tensor | None, name: str, like: Tensor) -> Tensor:
    if whole is None or any(a < b for a, b in zip(whole.shape, like.shape, strict=True)):
        raise PruningError(
            f"the tensor '{name}' of shape {tuple(like.shape)} cannot be initialized: the network "
            "that its code builds has none that is as large."
        )
    return whole[tuple(slice(length) for length in like.shape)]

"""Whether a network decides by the images what it computes, which a traced file cannot."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from prune3d.models.stand_ins import tensors

# What turns the values of a tensor into plain ones, on which code can branch.
TO_PLAIN = (
    *("__bool__", "__int__", "__float__", "__index__", "__contains__", "item", "tolist", "numpy"),
    *("equal", "allclose", "is_nonzero"),
)


def decisions(model: nn.Module, images: Tensor) -> list[str]:
    """Return the places, as ``file:line``, where code of the network looks at computed values.

    Sizes and parameters may be looked at: the file has the same ones for ever.
    """
    with torch.no_grad(), _Watch(images) as watch:
        model(images)
    return watch.places


class _Watch(TorchFunctionMode):
    """Follows which tensors are computed from the images, through every function of torch."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.places: list[str] = []
        self._computed = {id(images): images}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(id(tensor) in self._computed for tensor in tensors((args, kwargs))):
            # Kept, so that no other tensor gets the same identity.
            name = getattr(func, "__name__", "")
            changed = args[0] if name == "__setitem__" else result
            self._computed.update((id(tensor), tensor) for tensor in tensors(changed))
            if name in TO_PLAIN:
                self._note(sys._getframe(1))
        return result

    def _note(self, frame: FrameType) -> None:
        own = Path(torch.__file__).parent
        while frame.f_back and Path(frame.f_code.co_filename).name == "overrides.py":
            frame = frame.f_back
        file = Path(frame.f_code.co_filename)
        if own not in file.parents:  # torch's own functions check sizes and ranges
            self.places.append(f"{file.name}:{frame.f_lineno}")

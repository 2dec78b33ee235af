"""What the exporter of torch cannot write, computed by operators that it can.

An `Equivalents` context replaces functions while the network is traced, wherever they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]


class Equivalents(TorchFunctionMode):
    """Replaces functions that have no ONNX operator by ones that have.

    Parameters
    ----------
    fixed_sides
        Whether all sizes but the first dimension's are plain numbers, which the file has for ever;
        else the exporter records how they are computed, which some operators do not take.
    """

    def __init__(self, fixed_sides: bool) -> None:
        super().__init__()
        self._fixed_sides = fixed_sides

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function or its equivalent."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _EQUIVALENTS:
            return _EQUIVALENTS[name](func, *args, **kwargs)
        result = func(*args, **kwargs)
        if self._fixed_sides and func in _SIZES:
            return _with_fixed_sides(result, args[0], *args[1:], **kwargs)
        return result


def _with_fixed_sides(size: Any, tensor: Tensor, dim: int | None = None) -> Any:
    """Return a size of which only the first dimension, the images', is traced."""
    numbers = _sizes(tensor)
    if dim is not None:
        return size if dim in (0, -len(numbers)) else numbers[dim]
    return torch.Size([size[0], *numbers[1:]]) if numbers else size


def _sizes(x: Tensor) -> list[int]:
    """Return sizes as numbers that the trace does not see."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        return list(x.shape)
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


def _is_known(size: Sequence[int], output: Sequence[int | None]) -> bool:
    """Tell whether the exporter knows an adaptive pooling: equal windows, one beside the other."""
    return all(o is None or n % o == 0 for n, o in zip(size, output, strict=True))


def _spread(output: Any, dims: int) -> list[int | None]:
    return list(output) if isinstance(output, list | tuple) else [output] * dims


def _windows(size: int, count: int) -> list[tuple[int, int]]:
    """Return the windows of an adaptive pooling along one dimension."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _adaptive_average(dims: int) -> Function:
    def pool(func: Function, input: Tensor, output_size: Any) -> Tensor:
        sizes, output = _sizes(input)[-dims:], _spread(output_size, dims)
        if _is_known(sizes, output):
            return func(input, output_size)
        x = input
        for axis, (size, count) in enumerate(zip(sizes, output, strict=True), start=-dims):
            if count is not None and count != size:
                x = torch.matmul(x.transpose(axis, -1), _averages(size, count)).transpose(axis, -1)
        return x

    return pool


def _averages(size: int, count: int) -> Tensor:
    """Return the matrix, shape (size, count), that averages over the windows."""
    matrix = torch.zeros(size, count)
    for i, (start, end) in enumerate(_windows(size, count)):
        matrix[start:end, i] = 1 / (end - start)
    return matrix


def _adaptive_maximum(dims: int) -> Function:
    def pool(func: Function, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        sizes, output = _sizes(input)[-dims:], _spread(output_size, dims)
        if return_indices or _is_known(sizes, output):
            return func(input, output_size, return_indices)
        x = input
        for axis, (size, count) in enumerate(zip(sizes, output, strict=True), start=-dims):
            if count is not None and count != size:
                parts = [
                    x.narrow(axis, start, end - start).amax(axis, keepdim=True)
                    for start, end in _windows(size, count)
                ]
                x = torch.cat(parts, axis)
        return x

    return pool


def _channel_shuffle(func: Function, input: Tensor, groups: int) -> Tensor:
    order = torch.arange(_sizes(input)[1]).view(groups, -1).t().flatten()
    return input.index_select(1, order)


def _instance_norm(
    func: Function,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if use_input_stats:
        return _normalized(input, list(range(2, input.dim())), weight, bias, eps)
    return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)


def _batch_norm(
    func: Function,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if training:
        dims = [0, *range(2, input.dim())]
        return _normalized(input, dims, weight, bias, eps)
    result: Tensor = func(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return result


def _normalized(
    x: Tensor, dims: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Normalize by the mean and variance of the input itself; channels are second."""
    centred = x - x.mean(dims, keepdim=True)
    x = centred / (centred.square().mean(dims, keepdim=True) + eps).sqrt()
    shape = [1, -1] + [1] * (x.dim() - 2)
    if weight is not None:
        x = x * weight.view(shape)
    return x if bias is None else x + bias.view(shape)


def _rms_norm(
    func: Function,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    dims = list(range(-len(normalized_shape), 0))
    least = torch.finfo(torch.float32).eps if eps is None else eps
    x = input / (input.square().mean(dims, keepdim=True) + least).sqrt()
    return x if weight is None else x * weight


def _rot90(func: Function, input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    first, second = dims
    turns = {
        0: lambda x: x,
        1: lambda x: x.flip(second).transpose(first, second),
        2: lambda x: x.flip(first, second),
        3: lambda x: x.flip(first).transpose(first, second),
    }
    return turns[k % 4](input)


_SIZES = (torch.Tensor.size, torch.Tensor.shape.__get__)  # type: ignore[attr-defined]


def _dot(func: Function, input: Tensor, other: Tensor) -> Tensor:
    return func(input, other) if input.is_complex() else (input * other).sum()


_EQUIVALENTS: dict[str, Function] = {
    **{f"adaptive_avg_pool{dims}d": _adaptive_average(dims) for dims in (1, 2, 3)},
    **{f"adaptive_max_pool{dims}d": _adaptive_maximum(dims) for dims in (1, 2, 3)},
    "channel_shuffle": _channel_shuffle,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "rms_norm": _rms_norm,
    "rot90": _rot90,
    "vdot": _dot,
    "dot": _dot,
}

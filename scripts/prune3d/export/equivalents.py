"""What the exporter of torch cannot write, computed by operators that it can.

An `Equivalents` context replaces functions while the network is traced, wherever they are called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
        if func in _TRANSPOSED:
            return args[0].transpose(-1, -2)
        if self._fixed_sides and name in ("view", "reshape"):
            return _for_any_count(func, *args, **kwargs)
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
    with _untraced():
        return list(x.shape)


@contextmanager
def _untraced() -> Iterator[None]:
    """Compute something that the file has as a constant."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


def _for_any_count(func: Function, input: Tensor, *shape: Any, **kwargs: Any) -> Tensor:
    """Reshape; a first size that is a plain number of images, as by `len`, is left to be found."""
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape
    plain = all(type(size) is int for size in sizes)
    if not plain or kwargs or not sizes or list(sizes[:1]) != _sizes(input)[:1]:
        result: Tensor = func(input, *shape, **kwargs)
        return result
    known = math.prod(size for size in sizes if size != -1)
    rest = [math.prod(_sizes(input)) // known if size == -1 else size for size in sizes[1:]]
    found: Tensor = func(input, (-1, *rest))
    return found


def _are_equal(size: Sequence[int], output: Sequence[int]) -> bool:
    """Tell whether the windows of an adaptive pooling are equal, one beside the other."""
    return all(n % o == 0 for n, o in zip(size, output, strict=True))


def _whole_windows(
    func: Function, name: str, x: Tensor, size: Sequence[int], output: Sequence[int]
) -> Tensor:
    """Pool over equal windows, of which the exporter need not know the size of the map."""
    if set(output) == {1}:
        result: Tensor = func(x, output)
        return result
    pooled: Tensor = getattr(F, name)(x, [n // o for n, o in zip(size, output, strict=True)])
    return pooled


def _spread_over(x: Tensor, output: Any, dims: int) -> tuple[list[int], list[int]]:
    """Return the sizes before and after an adaptive pooling, in which None keeps a size."""
    sizes = _sizes(x)[-dims:]
    wanted = list(output) if isinstance(output, list | tuple) else [output] * dims
    return sizes, [n if o is None else int(o) for n, o in zip(sizes, wanted, strict=True)]


def _windows(size: int, count: int) -> list[tuple[int, int]]:
    """Return the windows of an adaptive pooling along one dimension."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _adaptive_average(dims: int) -> Function:
    def pool(func: Function, input: Tensor, output_size: Any) -> Tensor:
        sizes, output = _spread_over(input, output_size, dims)
        if _are_equal(sizes, output):
            return _whole_windows(func, f"avg_pool{dims}d", input, sizes, output)
        x = input
        for axis, (size, count) in enumerate(zip(sizes, output, strict=True), start=-dims):
            if count != size:
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
        sizes, output = _spread_over(input, output_size, dims)
        if return_indices:
            return func(input, output, True)
        if _are_equal(sizes, output):
            return _whole_windows(func, f"max_pool{dims}d", input, sizes, output)
        x = input
        for axis, (size, count) in enumerate(zip(sizes, output, strict=True), start=-dims):
            if count != size:
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


def _convolution(dims: int) -> Function:
    def convolve(
        func: Function,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        if padding == "same":
            steps = list(dilation) if isinstance(dilation, list | tuple) else [dilation] * dims
            kernel = _sizes(weight)[2:]
            around = [step * (size - 1) for step, size in zip(steps, kernel, strict=True)]
            sides = [n for both in around[::-1] for n in (both // 2, both - both // 2)]
            input, padding = F.pad(input, sides), 0
        result: Tensor = func(input, weight, bias, stride, padding, dilation, groups)
        return result

    return convolve


def _interpolate(
    func: Function,
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    *rest: Any,
    **how: Any,
) -> Tensor:
    """Resize by a matrix for each axis where the exporter knows no operator."""
    mode = rest[0] if rest else how.get("mode", "nearest")
    if input.dim() != 4 or not (mode == "nearest-exact" or how.get("antialias")):
        result: Tensor = func(input, size, scale_factor, *rest, **how)
        return result
    x = input
    for axis in (-2, -1):
        wanted = _alone(size, axis, 2), _alone(scale_factor, axis, 1.0)
        with _untraced():
            # Of two columns: one alone is resized wrongly with antialiasing (torch 2.15).
            unit = torch.eye(_sizes(x)[axis])[None, :, :, None].repeat(1, 1, 1, 2)
            matrix = func(unit, *wanted, *rest, **how)[0, :, :, 0]
        x = torch.matmul(x.transpose(axis, -1), matrix).transpose(axis, -1)
    return x


def _alone(given: Any, axis: int, other: float) -> Any:
    """Return a size or a factor of one axis, beside that of the other."""
    if given is None:
        return None
    own = given[axis] if isinstance(given, list | tuple) else given
    return (own, other)


def _bilinear(
    func: Function, input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    x = torch.einsum("...i,oij,...j->...o", input1, weight, input2)
    return x if bias is None else x + bias


def _inner(func: Function, input: Tensor, other: Tensor) -> Tensor:
    return torch.matmul(input, other.transpose(-1, -2)) if other.dim() == 2 else func(input, other)


def _threshold(
    func: Function, input: Tensor, threshold: float, value: float, inplace: bool = False
) -> Tensor:
    return torch.where(input > threshold, input, value)


def _addcdiv(
    func: Function, input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1
) -> Tensor:
    return input + value * tensor1 / tensor2


_TRANSPOSED = (
    torch.Tensor.mT.__get__,  # type: ignore[attr-defined]
    torch.Tensor.mH.__get__,  # type: ignore[attr-defined]
    torch.Tensor.H.__get__,  # type: ignore[attr-defined]
    torch.Tensor.adjoint,
    torch.adjoint,
)
_SIZES = (torch.Tensor.size, torch.Tensor.shape.__get__)  # type: ignore[attr-defined]


def _dot(func: Function, input: Tensor, other: Tensor) -> Tensor:
    return func(input, other) if input.is_complex() else (input * other).sum()


_EQUIVALENTS: dict[str, Function] = {
    **{f"adaptive_avg_pool{dims}d": _adaptive_average(dims) for dims in (1, 2, 3)},
    **{f"adaptive_max_pool{dims}d": _adaptive_maximum(dims) for dims in (1, 2, 3)},
    **{f"conv{dims}d": _convolution(dims) for dims in (1, 2, 3)},
    "channel_shuffle": _channel_shuffle,
    "native_channel_shuffle": _channel_shuffle,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "rms_norm": _rms_norm,
    "rot90": _rot90,
    "vdot": _dot,
    "dot": _dot,
    "interpolate": _interpolate,
    "bilinear": _bilinear,
    "inner": _inner,
    "_threshold": _threshold,
    "threshold": _threshold,
    "addcdiv": _addcdiv,
}

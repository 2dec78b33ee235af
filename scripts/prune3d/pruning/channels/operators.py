"""What torch's operators do to labels. Most move elements or work on each: they need no rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from prune3d.models.stand_ins import tensors
from prune3d.pruning.channels import attention, mixing, moving
from prune3d.pruning.channels.labels import Labels, all_ids, named
from prune3d.pruning.channels.moving import elementwise
from prune3d.pruning.channels.trace import Tracer

Rule = Callable[[Tracer, Any, Any, Any], Any]

# Beside those that torch tags as pointwise.
ELEMENTWISE = frozenset(
    [
        *("_prelu_kernel", "prelu", "_to_copy", "clone", "detach", "alias", "lift_fresh"),
        *("contiguous", "native_dropout", "copy", "masked_fill", "fill", "hardswish"),
        *(
            "log_sigmoid_forward",
            "floor_divide",
            "bernoulli",
            "zero",
            "rrelu_with_noise",
        ),
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"),
        *("dequantize", "resolve_conj", "resolve_neg"),
    ]
)
FACTORIES = frozenset(
    [
        *("empty", "zeros", "ones", "full", "rand", "randn", "arange", "eye", "linspace"),
        *("new_zeros", "new_empty", "new_ones", "new_full", "empty_strided", "scalar_tensor"),
        *("_local_scalar_dense", "equal", "is_nonzero", "item"),
    ]
)

# What these make may be filled with channels afterwards.
FILLED = frozenset(
    ["empty", "zeros", "full", "new_zeros", "new_empty", "new_full", "empty_strided"]
)


def restrided(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Follow other strides, which torch also sets where they change no element's place.

    Those of dimensions of one element tell how memory is laid out, such as channels last.
    """
    tensor, size, strides = args[:3]
    same = tuple(size) == tuple(tensor.shape) and not (args[3:] or kwargs)
    known = zip(size, strides, tensor.stride(), strict=False)
    if same and all(n == 1 or new == old for n, new, old in known):
        labels = tracer.labels(tensor)
        out = tracer.run(func, args, kwargs)
        tracer.set(out, labels)
        return out
    if func.overloadpacket.__name__ == "as_strided" and tensor.is_contiguous():
        return moving.moved(tracer, func, args, kwargs)
    return unknown(tracer, func, args, kwargs)


def _rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for rule, names in (
        (mixing.convolution, "convolution"),
        (mixing.matrix_product, "mm addmm mv dot vdot linear addmv"),
        (attention.batched_product, "bmm baddbmm"),
        (
            attention.attention,
            "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
            "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention",
        ),
        (
            mixing.batch_norm,
            "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
            "cudnn_batch_norm miopen_batch_norm _batch_norm_with_update _batch_norm_no_update",
        ),
        (mixing.group_norm, "native_group_norm"),
        (mixing.layer_norm, "native_layer_norm"),
        (mixing.weight_norm, "_weight_norm_interface"),
        (
            mixing.statistic,
            "sum mean var std var_mean std_mean amax amin aminmax max min prod norm "
            "linalg_vector_norm logsumexp any all median count_nonzero nansum",
        ),
        (mixing.normalized, "_softmax softmax _safe_softmax _log_softmax log_softmax"),
        (
            mixing.pooled,
            "max_pool2d_with_indices max_pool2d avg_pool2d _adaptive_avg_pool2d "
            "adaptive_avg_pool2d adaptive_max_pool2d max_pool3d_with_indices avg_pool3d "
            "_adaptive_avg_pool3d adaptive_max_pool3d avg_pool1d adaptive_avg_pool1d max_pool1d "
            "fractional_max_pool2d upsample_nearest2d upsample_nearest1d upsample_nearest3d "
            "_upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d upsample_linear1d "
            "upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
            "grid_sampler_2d mkldnn_adaptive_avg_pool2d mkldnn_max_pool2d",
        ),
        (moving.split, "split split_with_sizes unsafe_split unsafe_split_with_sizes"),
        (moving.slice_, "slice narrow"),
        (moving.select, "select unbind"),
        (moving.view, "view _unsafe_view reshape unflatten _reshape_alias"),
        (moving.shuffled, "pixel_shuffle"),
        (moving.gated, "glu"),
        (moving.indexed, "index index_select gather"),
        (restrided, "as_strided as_strided_"),
        (moving.padded, "constant_pad_nd"),
        (
            moving.moved,
            "cat stack pixel_unshuffle native_channel_shuffle channel_shuffle "
            "reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d flip "
            "roll repeat im2col unfold rot90 expand permute t transpose squeeze unsqueeze "
            "repeat_interleave diagonal movedim expand_as tril triu slice_scatter "
            "select_scatter "
            "_pad_circular swapaxes",
        ),
    ):
        rules.update(dict.fromkeys(names.split(), rule))
    return rules


RULES = _rules()


@cache
def is_elementwise(name: str) -> bool:
    """Tell whether an operator works on each element; of its variants not all may be tagged so."""
    plain = name.removesuffix("_") if not name.endswith("__") else name
    if {name, plain} & ELEMENTWISE:
        return True
    found = [getattr(torch.ops.aten, n, None) for n in (name, plain)]
    return any(
        torch.Tag.pointwise in getattr(packet, overload).tags
        for packet in found
        if packet is not None
        for overload in packet.overloads()
    )


def apply(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator under a tracer and label its results."""
    name = func.overloadpacket.__name__
    if not any(tracer.labels(t).layers for t in tensors((args, kwargs))):
        return _unlabelled(tracer, func, args, kwargs)
    if name in RULES:
        return RULES[name](tracer, func, args, kwargs)
    if is_elementwise(name):
        return elementwise(tracer, func, args, kwargs)
    if name in FACTORIES:
        return _made(tracer, func, args, kwargs)
    if func.is_view:
        return moving.moved(tracer, func, args, kwargs)
    return unknown(tracer, func, args, kwargs)


def _unlabelled(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator on nothing that has channels."""
    out = _made(tracer, func, args, kwargs)
    if all(tracer.labels(t).computed for t in tensors((args, kwargs))):
        for tensor in tensors(out):
            if not tracer.labels(tensor).layers:
                tracer.set(tensor, Labels([], computed=True))
    return out


def _made(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    out = tracer.run(func, args, kwargs)
    if func.overloadpacket.__name__ in FILLED and isinstance(out, Tensor) and out.dim() > 1:
        tracer.set(out, Labels([torch.zeros(out.shape, dtype=torch.int64)]))
    return out


def unknown(tracer: Tracer, func: Any, args: Any, kwargs: Any) -> Any:
    """Freeze whatever touches an operator that is not understood."""
    name = func.overloadpacket.__name__
    for tensor in tensors((args, kwargs)):
        labels = tracer.labels(tensor)
        if any(named(layer) for layer in labels.layers):
            tracer.freeze(all_ids(labels), f"the operator '{name}' mixes them")
    return tracer.run(func, args, kwargs)

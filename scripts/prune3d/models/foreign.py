"""Networks from elsewhere: made fit for the library, or refused in one sentence."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from prune3d.errors import UserError, what_failed
from prune3d.models.attached import attach_as
from prune3d.models.stand_ins import put_in_place

# Under these keys networks give their logits beside other outputs; else the first output is taken.
MAIN_OUTPUTS = ("logits", "out", "output", "main")
RANDOM = 1e-3


def adopt(model: nn.Module, name: str, image_shape: tuple[int, int, int]) -> nn.Module:
    """Make a network that somebody else built one that the library can work with.

    Wrappers for several devices and compilation are taken off, lazy layers get their shapes, batch
    norms that wait for other processes become ordinary ones, and of several outputs while training
    the logits are taken.

    Parameters
    ----------
    model
        The network; it is changed.
    name
        For messages.
    image_shape
        Channels, height and width of an image.

    Raises
    ------
    UserError
        If the network is compiled to TorchScript, is not in single precision, or has lazy layers
        and does not take the images.
    """
    model = _unwrapped(model)
    for inside, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            part = f"'{inside}' of {name}" if inside else name
            raise UserError(
                f"{part} is a TorchScript network, which cannot be changed; give the network that "
                "was scripted or traced."
            )
    if any(value.device.type not in ("cpu", "meta") for value in model.parameters()):
        model = model.cpu()
    if any(is_lazy(p) for p in (*model.parameters(), *model.buffers())):
        pass_images(model, name, torch.zeros(2, *image_shape))
    _refuse_without_values(model, name)
    _refuse_other_precision(model, name)
    if any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()):
        _without_waiting(model, name, image_shape)
    if any(isinstance(m, nn.MultiheadAttention | nn.TransformerEncoder) for m in model.modules()):
        # One opaque operator: its MACs cannot be counted, and no exporter knows it.
        torch.backends.mha.set_fastpath_enabled(False)
    model.register_forward_hook(_main_output)
    return model


def check_outputs(
    model: nn.Module, name: str, image_shape: tuple[int, int, int], num_classes: int
) -> None:
    """Refuse a network that does not take its images or does not give logits.

    Both in evaluation mode and, on a copy, while training.

    Raises
    ------
    UserError
        With the shape of the images and that of the outputs; or if the outputs in evaluation mode
        are random.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, *image_shape, generator=generator)
    evaluated = pass_images(model, name, images)
    _check_logits(evaluated, name, images, num_classes, "in evaluation mode")
    again = pass_images(model, name, images)
    if not torch.allclose(evaluated, again, rtol=RANDOM, atol=RANDOM, equal_nan=True):
        raise UserError(
            f"{name} is random in evaluation mode: the same images gave logits that differ by "
            f"{float((again - evaluated).abs().max()):.3g}; dropout and noise must stop where "
            "`self.training` is False, as in F.dropout(x, p, self.training)."
        )
    copied = copy_network(model, name)
    with torch.random.fork_rng(devices=[]):
        trained = pass_images(copied, name, images, training=True)
    _check_logits(trained, name, images, num_classes, "while training")
    _check_gradients(copied, name, images)


def check_copies(
    model: nn.Module, again: nn.Module, name: str, image_shape: tuple[int, int, int]
) -> None:
    """Refuse a network that its file, or a copy, could not stand for.

    Parameters
    ----------
    model
        The network.
    again
        The same, built once more; it is spoilt.
    name
        For messages.
    image_shape
        Channels, height and width of an image.

    Raises
    ------
    UserError
        If its logits depend on more than its parameters and buffers, such as on layers in a plain
        list; or those of a copy on what they were copied from, as by a hook that writes to it.
    """
    images = torch.randn(2, *image_shape, generator=torch.Generator().manual_seed(0))
    expected = pass_images(model, name, images)
    _check_same_state(model, again, name)
    again.load_state_dict(model.state_dict())
    found = pass_images(again, name, images)
    if not torch.allclose(found, expected, rtol=RANDOM, atol=RANDOM, equal_nan=True):
        raise UserError(
            f"{name} computes with more than its parameters and buffers: built again and given "
            f"them, its logits differ by {float((found - expected).abs().max()):.3g}, so that it "
            "could not be saved; keep layers in nn.ModuleList or nn.ModuleDict, tensors by "
            "register_buffer, and chance out of its function."
        )
    copied = copy_network(again, name)
    with torch.no_grad():
        for tensor in (*again.parameters(), *again.buffers()):
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
    others = images.flip(0)  # what an earlier pass left behind does not fit these
    expected, found = (pass_images(m, name, others) for m in (model, copied))
    if not torch.allclose(found, expected, rtol=RANDOM, atol=RANDOM, equal_nan=True):
        raise UserError(
            f"{name} cannot be copied: a copy computes with what it was copied from; in hooks and "
            "lambdas use methods, or the module that is given, in the place of variables from "
            "around them."
        )


def _check_gradients(model: nn.Module, name: str, images: Tensor) -> None:
    """Refuse a network of which no gradients can be computed; its statistics change."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return
    try:
        with _without_onednn(), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            model.train()(images).sum().backward()
    except Exception as error:
        raise UserError(
            f"{name} cannot be trained: its gradients cannot be computed ({what_failed(error)})."
        ) from error


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Compute without oneDNN, whose gradients of some convolutions write outside their memory."""
    # `flags` would set what the user is then warned of.
    before, *_ = torch.backends.mkldnn.set_flags(_enabled=False)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(_enabled=before)


def _check_same_state(model: nn.Module, again: nn.Module, name: str) -> None:
    first, second = model.state_dict(), again.state_dict()
    differs = [key for key in first.keys() | second.keys() if not _fit(first, second, key)]
    if differs:
        raise UserError(
            f"{name} is another network each time that it is built: '{min(differs)}' has another "
            "shape or is missing; keep chance and counters out of its function."
        )


def _fit(first: Mapping[str, Any], second: Mapping[str, Any], key: str) -> bool:
    shapes = [getattr(state.get(key), "shape", None) for state in (first, second)]
    return key in first and key in second and shapes[0] == shapes[1]


def pass_images(model: nn.Module, name: str, images: Tensor, training: bool = False) -> Any:
    """Pass images through a network; what it raises is told in one sentence.

    Raises
    ------
    UserError
        With the shape of the images and the network's own message.
    """
    before = model.training
    try:
        with torch.no_grad():
            return model.train(training)(images)
    except (Exception, SystemExit) as error:
        # A kind of SystemExit is how a job is asked to end.
        if isinstance(error, SystemExit) and type(error) is not SystemExit:
            raise
        during = "while training " if training else ""
        raise UserError(
            f"{name} failed {during}on images of shape {tuple(images.shape)}, {images.shape[1]} "
            f"channels of {images.shape[2]}x{images.shape[3]} pixels ({what_failed(error)})."
        ) from error
    finally:
        model.train(before)


def copy_network(model: nn.Module, name: str = "the network") -> nn.Module:
    """Return a deep copy.

    Tensors that an earlier pass left on the modules are copied without the history of how they were
    computed, which cannot be.

    Raises
    ------
    UserError
        If the network holds what cannot be copied, such as an open file.
    """
    memo = {id(t): t.detach().clone() for module in model.modules() for t in _computed(module)}
    try:
        copied = copy.deepcopy(model, memo)
    except Exception as error:
        raise UserError(
            f"{name} cannot be copied ({what_failed(error)}); keep files, locks, generators and "
            "computed tensors out of its attributes."
        ) from error
    attach_as(copied, model)  # which a graph module of torch.fx leaves behind
    return copied


def _unwrapped(model: nn.Module) -> nn.Module:
    parallel = nn.DataParallel | nn.parallel.DistributedDataParallel
    while True:
        if isinstance(model, parallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            break
    for inner in list(model.modules()):
        inner._compiled_call_impl = None  # what `compile`, called on it, has left
        if isinstance(inner, parallel):
            put_in_place(model, inner, _Passing("module", inner.module))
        elif isinstance(compiled := getattr(inner, "_orig_mod", None), nn.Module):
            put_in_place(model, inner, _Passing("_orig_mod", compiled))
    return model


class _Passing(nn.Module):
    """Stands for a wrapper inside a network.

    The names of its layers stay, so that the weights that were saved still fit.
    """

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, module)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.get_submodule(self.name)(*args, **kwargs)


def _refuse_without_values(model: nn.Module, name: str) -> None:
    for key, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_meta or value.is_inference():
            how = "on the meta device" if value.is_meta else "in inference mode"
            raise UserError(
                f"'{key}' of {name} was made {how}, so that it cannot be given values; build the "
                "network without."
            )


def _refuse_other_precision(model: nn.Module, name: str) -> None:
    for key, value in (*model.named_parameters(), *model.named_buffers()):
        if value.is_floating_point() and value.dtype != torch.float32:
            raise UserError(
                f"{name} is not in single precision: '{key}' is {str(value.dtype).split('.')[1]}; "
                "return the network with .float(), which precision a training computes in is "
                "chosen by the recipe."
            )


def _without_waiting(model: nn.Module, name: str, image_shape: tuple[int, int, int]) -> None:
    """Turn synchronized batch norms into those of the dimensions that they are given."""
    kinds: dict[int, type[_BatchNorm]] = {4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    found: dict[nn.Module, type[_BatchNorm]] = {}

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[module] = kinds.get(inputs[0].dim(), nn.BatchNorm1d)

    norms = [m for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
    handles = [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        pass_images(model, name, torch.zeros(2, *image_shape))
    finally:
        for handle in handles:
            handle.remove()
    for norm in norms:
        norm.__class__ = found.get(norm, nn.BatchNorm2d)  # type: ignore[assignment]


def _main_output(module: nn.Module, inputs: Any, output: Any) -> Any:
    """Take the logits of several outputs while training: auxiliary heads are not trained."""
    if not module.training or isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        key = next((k for k in MAIN_OUTPUTS if k in output), next(iter(output), None))
        return output.get(key)
    return output[0] if isinstance(output, list | tuple) and output else output


def _check_logits(logits: Any, name: str, images: Tensor, num_classes: int, when: str) -> None:
    expected = (len(images), num_classes)
    if isinstance(logits, Tensor) and tuple(logits.shape) == expected:
        return
    found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
    raise UserError(
        f"{name} gave {found} for images of shape {tuple(images.shape)} {when}; expected is "
        f"{expected}, a logit for each class."
    )


def _computed(value: Any) -> list[Tensor]:
    """Return the tensors with a history in a module's attributes, also in lists and mappings."""
    found: list[Tensor] = []
    waiting, seen = list(vars(value).values()), {id(value)}
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, nn.Module):
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            found += [item] if item.grad_fn is not None else []
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple | set):
            waiting += item
        elif hasattr(item, "__dataclass_fields__"):
            waiting += vars(item).values()
    return found

"""Damaged model files, states of trainings and files of weights."""

from __future__ import annotations

import io
import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load as load_arrays
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

import prune3d
from campaign import Target
from mutate import damaged_bytes, damaged_safetensors, put_together, take_apart
from prune3d.data.images import ImageSet
from prune3d.errors import UserError
from prune3d.models.checkpoint import load, save, save_unreachable
from prune3d.models.lineage import Step, set_lineage
from prune3d.models.meaning import Meaning, set_meaning
from prune3d.models.weights import load_weights
from prune3d.tensors import digest
from prune3d.train import Recipe, ResumeFile, resume, train
from prune3d.train.averaging import WeightAverage
from prune3d.train.sgd import NesterovSGD

OWN = Path(__file__).parents[1] / "unit/own/networks.py"


def networks() -> Iterator[nn.Module]:
    """Yield small networks: pruned in every way, and one of a file of one's own."""
    torch.manual_seed(0)
    dense = prune3d.build("resnet8", 5, 12)
    yield prune3d.prune(dense, 2 / 3, 0.3, 0.5, removal_order=["layer1.0"])
    yield prune3d.prune(prune3d.build("cifar_mobilenet_v2", 4, 8, 1), 1, 0.2)
    yield prune3d.build(f"{OWN}:Plain", 5, 8)


def sealed(content: bytes) -> tuple[str | None, str]:
    """Return the digest that a file carries and the right one, by the format's definition."""
    header, _ = take_apart(content)
    own = json.loads(header["__metadata__"]["prune3d"])
    carried = own.pop("digest", None)
    own.pop("format", None)
    return carried, digest(own, load_arrays(content))


def reseal(content: bytes) -> bytes:
    """Return a file with a right digest."""
    header, data = take_apart(content)
    own = json.loads(header["__metadata__"]["prune3d"])
    header["__metadata__"]["prune3d"] = json.dumps({**own, "digest": sealed(content)[1]})
    return put_together(header, data)


def models(folder: Path) -> Target:
    """Return the target of model files."""
    path, originals = folder / "model.safetensors", []
    for model in networks():
        set_lineage(model, [Step("train", 10, 20, "dense"), Step("evaluate", 5, 20)])
        set_meaning(model, Meaning(("a", "b", "c", "d", "e"), (0.5,), (0.2,)))
        save(model, path)
        originals.append(path.read_bytes())
    save_unreachable(path, "depth alone cannot meet the budget")
    originals.append(path.read_bytes())
    return Target(path, tuple(originals), damaged_safetensors(reseal), load, is_right_model)


def is_right_model(model: nn.Module, content: bytes) -> bool:
    """Tell whether a loaded network is the file's and works."""
    carried, right = sealed(content)
    tensors = {name: torch.from_numpy(array) for name, array in load_arrays(content).items()}
    state = model.state_dict()
    if carried != right or state.keys() != tensors.keys():
        return False
    spec = model.spec
    if spec.side <= 64:
        logits = model(torch.zeros(2, spec.in_channels, spec.side, spec.side))
        if logits.shape != (2, spec.num_classes):
            return False
    # As bytes, since a number that is none does not equal itself.
    return all(v.numpy().tobytes() == tensors[n].numpy().tobytes() for n, v in state.items())


def states(folder: Path) -> Target:
    """Return the target of states of trainings."""
    file = ResumeFile(folder / "a.resume.safetensors", "0123456789abcdef")
    pixels = torch.randint(0, 256, (8, 3, 8, 8), generator=torch.Generator().manual_seed(4))
    images = ImageSet(pixels.byte(), torch.arange(8) % 5, (0.5,) * 3, (0.25,) * 3)
    torch.manual_seed(1)
    model = prune3d.prune(prune3d.build("resnet8", 5, 8), 1, 0.2)
    # The digest of all that a training depends on; `train` makes it of what it is given.
    known: list[ResumeFile] = []
    kept = resume.save_state
    resume_of_trainer = __import__("prune3d.train.trainer", fromlist=["save_state"])

    def keep(given: ResumeFile, state: Any) -> None:
        known.append(given)
        kept(given, state)

    resume_of_trainer.save_state = keep
    try:
        recipe = Recipe(epochs=2, batch_size=4, learning_rate=0.02, shift=0, ema=0.9)
        train(model, images, recipe, 5, file)
    finally:
        resume_of_trainer.save_state = kept
    original = file.path.read_bytes()

    def read(path: Path) -> resume.TrainingState:
        torch.manual_seed(2)
        fresh = prune3d.prune(prune3d.build("resnet8", 5, 8), 1, 0.2)
        state = resume.TrainingState(
            fresh,
            NesterovSGD(fresh, 0.9, 1e-4),
            torch.Generator().manual_seed(3),
            [],
            WeightAverage(fresh, 0.9),
        )
        before = contents(state)
        told = Told()
        resume.log.addHandler(told)
        resume.log.setLevel(logging.INFO)
        try:
            if resume.restore_state(known[0], state):
                return state
        finally:
            resume.log.removeHandler(told)
        if any(not torch.equal(value, before[name]) for name, value in contents(state).items()):
            raise AssertionError("a state that is not used has changed the training")
        raise UserError(*told.texts)

    def is_right(state: resume.TrainingState, content: bytes) -> bool:
        expected = load_arrays(original)
        found = contents(state)
        text = take_apart(original)[0]["__metadata__"]["prune3d"]
        history = json.loads(text)["history"]
        return state.history == history and all(
            torch.equal(found[name].flatten(), torch.from_numpy(array).flatten())
            for name, array in expected.items()
        )

    return Target(file.path, (original,), damaged_safetensors(reseal), read, is_right)


class Told(logging.Handler):
    """Keep what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def contents(state: resume.TrainingState) -> dict[str, Tensor]:
    """Return copies of all tensors of a state, by the names they have in its file."""
    found = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    found |= {f"momentum.{k}": v for k, v in state.optimizer.momenta.items()}
    assert state.average is not None
    found |= {f"average.{k}": v for k, v in state.average.values.items()}
    found["generator"] = state.generator.get_state()
    return {name: value.detach().clone() for name, value in found.items()}


def weights(folder: Path) -> Target:
    """Return the target of files of weights from elsewhere."""
    torch.manual_seed(0)
    dense = prune3d.build("resnet8", 5, 8)
    state = dense.state_dict()
    originals = (
        packed({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}),
        packed({"model": state, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}),
        packed(dict(state), _use_new_zipfile_serialization=False),
        save_tensors(dict(state)),
    )

    def read(path: Path) -> nn.Module:
        model = prune3d.build("resnet8", 5, 8)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            load_weights(model, path)
        except UserError:
            after = model.state_dict()
            if any(not torch.equal(value, after[name]) for name, value in before.items()):
                raise AssertionError("a refused file has changed the network") from None
            raise
        return model

    return Target(folder / "weights.pth", originals, damaged_weights, read, is_right_weights)


def packed(content: Any, **options: Any) -> bytes:
    """Return what torch.save writes."""
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def unpacked(content: bytes) -> Any:
    """Return what a file of weights holds, by torch's and safetensors' own readers."""
    if content[8:9] == b"{":
        return {name: torch.from_numpy(array) for name, array in load_arrays(content).items()}
    return torch.load(io.BytesIO(content), weights_only=True)


def damaged_weights(content: bytes, rng: random.Random) -> bytes:
    """Return damaged bytes, or a whole file with something else in it."""
    if rng.random() < 0.4:
        return damaged_bytes(content, rng)
    value = unpacked(content)
    holder = next((v for v in value.values() if isinstance(v, dict)), value)
    for _ in range(rng.choice((1, 1, 2))):
        edits = list(EDITS)
        rng.choice(edits)(holder, rng.choice(sorted(map(str, holder))), rng)
    return packed(value)


def _replace(make: Callable[[Tensor, random.Random], Any]) -> Callable[..., None]:
    def edit(holder: dict[str, Any], key: str, rng: random.Random) -> None:
        value = holder.get(key)
        # Sparse ones, of which an earlier edit may have made one, cannot be cut.
        if isinstance(value, Tensor) and value.layout == torch.strided:
            holder[key] = make(value, rng)

    return edit


def _rename(holder: dict[str, Any], key: str, rng: random.Random) -> None:
    name = rng.choice((f"module.{key}", f"a.{key}", key + "_", "", "total_ops", 3))
    holder[name] = holder.pop(key)  # type: ignore[index]


def _prefix_all(holder: dict[str, Any], key: str, rng: random.Random) -> None:
    prefix = rng.choice(("model.", "_orig_mod.", "model._orig_mod.", "net.encoder.", "ema_model."))
    both = rng.random() < 0.3
    for name in list(holder):
        value = holder[name] if both else holder.pop(name)
        holder[f"{prefix}{name}"] = value


EDITS: tuple[Callable[..., None], ...] = (
    _rename,
    _prefix_all,
    lambda holder, key, rng: holder.pop(key),
    lambda holder, key, rng: holder.update({key: rng.choice((None, 1, "a", [], {}, {"a": {}}))}),
    lambda holder, key, rng: holder.update({f"a.{key}": torch.zeros(2)}),
    _replace(lambda t, rng: t.half() if t.is_floating_point() else t),
    _replace(lambda t, rng: t.to(rng.choice((torch.bfloat16, torch.float64, torch.int8)))),
    _replace(lambda t, rng: t.to(torch.complex64)),
    _replace(lambda t, rng: t.unsqueeze(0)),
    _replace(lambda t, rng: t.flip(0) if t.dim() else t),
    _replace(lambda t, rng: t.flatten()[: rng.randrange(4)]),
    _replace(lambda t, rng: torch.full_like(t.float(), rng.choice((float("nan"), 1e30)))),
    _replace(lambda t, rng: t.float().to_sparse()),
    _replace(lambda t, rng: t[..., :1].expand_as(t) if t.dim() else t),
    _replace(lambda t, rng: torch.empty(t.shape, device="meta")),
    _replace(lambda t, rng: torch.zeros(1).expand(10**6, 10**4)),
)


def is_right_weights(model: nn.Module, content: bytes) -> bool:
    """Tell whether each parameter is one of the tensors in the file, and the network works."""
    found = list(_tensors(unpacked(content)))
    for name, value in model.state_dict().items():
        same = any(t.shape == value.shape and torch.equal(t.to(value.dtype), value) for t in found)
        if not same and not name.endswith("num_batches_tracked"):
            return False
    return model.eval()(torch.zeros(1, 3, 8, 8)).shape == (1, 5)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)

"""The card of a network: a README that says what it is and how it is used. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prune3d._version import __version__
from prune3d.export.classifier import Score, wilson
from prune3d.models.lineage import Step
from prune3d.models.meaning import Meaning
from prune3d.models.registry import is_own
from prune3d.models.spec import NetworkSpec
from prune3d.report.latencies import Timed, Timing
from prune3d.report.text import plain


@dataclass(frozen=True)
class Card:
    """What a card tells.

    Attributes
    ----------
    spec, lineage
        Of the network.
    realized
        Ratios and costs as in `prune3d.pruning.realized.realized`.
    meaning
        What is known of its inputs and outputs.
    judged
        Its accuracy; None where it was not judged.
    pictures
        On what.
    timing
        How long it takes; None where it was not timed.
    licence
        Of the network.
    made_by
        A sentence on the run that made it.
    lacks
        For each file that could not be written, why.
    has_program
        Whether there is a program of torch.export, ``model.pt2``.
    """

    spec: NetworkSpec
    lineage: Sequence[Step]
    realized: Mapping[str, Any]
    meaning: Meaning
    judged: Score | None = None
    pictures: str = ""
    timing: Timing | None = None
    licence: str = "not stated"
    made_by: str = ""
    lacks: Mapping[str, str] = field(default_factory=dict)
    has_program: bool = False

    def text(self) -> str:
        """Return it as Markdown."""
        parts = (self._head(), self._numbers(), self._use(), self._own_code(), self._origin())
        return "\n".join(part for part in parts if part)

    @property
    def _is_pruned(self) -> bool:
        spec = self.spec
        return bool(spec.removed_blocks or spec.shapes) or spec.side != spec.image_size

    def _head(self) -> str:
        spec, classes = self.spec, self.meaning.classes
        known = ", ".join(classes[:20]) if classes else "not known by name"
        more = f" and {len(classes) - 20} more" if classes and classes[20:] else ""
        return (
            f"# {spec.name}{', pruned' if self._is_pruned else ''}\n\n"
            f"Classifies pictures into {spec.num_classes} classes: {known}{more}. Inputs of the "
            f"network are {spec.in_channels} x {spec.side} x {spec.side}.\n\n"
            f"Licence: {self.licence}\n"
        )

    def _numbers(self) -> str:
        real, judged = self.realized, self.judged
        rows = [
            ("MACs for an image", f"{real['macs']:,} ({real['macs_ratio']:.1%} of the dense)"),
            ("parameters", f"{real['params']:,}"),
            (
                "depth, width, resolution",
                f"{real['depth']:.3f}, {real['width']:.3f}, {real['resolution']:.3f} of the dense",
            ),
        ]
        if judged is not None:
            found = f"{judged.top1:.2%} (95 % interval {judged.low:.2%} to {judged.high:.2%})"
            rows.append((f"accuracy on {self.pictures}", found))
            rows.append(("of them", f"{judged.images:,}"))
        rows += [_told(timed) for timed in self.timing.rows] if self.timing else []
        lines = [f"| {name} | {value} |" for name, value in rows]
        return "\n".join(["| | |", "| --- | --- |", *lines, "", self._on_times()])

    def _on_times(self) -> str:
        if self.timing is not None:
            where = f"{self.timing.device}, threads: {self.timing.threads}"
            return f"Times are medians on {where}.\n"
        file = "model.safetensors" if "model.onnx" in self.lacks else "model.onnx"
        return (
            f"It was not timed: `prune3d latency {file} --threads 1` tells milliseconds for 1 and "
            "32 images on the machine at hand.\n"
        )

    def _use(self) -> str:
        spec = self.spec
        shape = f"{spec.in_channels}, {spec.side}, {spec.side}"
        parts = [_USE if self.meaning.mean else _USE_WITHOUT_MEAN.format(shape)]
        if "pictures.onnx" not in self.lacks:
            answer = _BY_NAME if self.meaning.classes else _BY_NUMBER
            parts.append(_USE_PICTURES.format(*answer))
        elif "model.onnx" not in self.lacks:
            parts.append(_USE_ONNX.format(shape))
        if self.has_program:
            parts.append(_USE_PROGRAM.format(shape))
        lacking = [f"There is no {name}: {why.rstrip('.')}." for name, why in self.lacks.items()]
        return "\n".join(["".join(parts), *(f"{line}\n" for line in lacking)])

    def _own_code(self) -> str:
        if not is_own(self.spec.name):
            return ""
        files = ", ".join(self.spec.code)
        return (
            f'\n`model.safetensors` needs the code that builds the network ({files}): give `code="'
            'path/to/file.py:function"` to the call that opens it. The ONNX files need none.\n'
        )

    def _origin(self) -> str:
        spec = self.spec
        gone = ", ".join(spec.removed_blocks) or "none"
        kept = f" Kept as they were: {', '.join(spec.keep)}." if spec.keep else ""
        steps = [
            f"| {step.stage or '-'} | {step.action} | {step.image_passes:,} |"
            for step in self.lineage
        ]
        made = "Pruned" if self._is_pruned else "Written"
        table = ["| stage | step | image passes |", "| --- | --- | ---: |", *steps]
        return (
            f"\n## Where it comes from\n\n{made} by prune3d {__version__} from {spec.name} for "
            f"images of {spec.image_size} x {spec.image_size}. Blocks removed: {gone}.{kept}"
            f"{f' {self.made_by}' if self.made_by else ''}\n\n"
            + ("\n".join(table) + "\n" if steps else "")
        )


def _told(timed: Timed) -> tuple[str, str]:
    faster = "" if timed.speedup is None else f" ({timed.speedup:.2f} times as fast as the dense)"
    return (
        f"ms for {timed.batch_size} in {timed.runtime}",
        f"{plain(timed.latency_ms)}{faster}",
    )


def score_of(judged: Mapping[str, Any]) -> Score:
    """Return what `prune3d.train.evaluate.evaluate` told, with the interval of its accuracy."""
    n = judged["images"]
    low, high = wilson(round(judged["top1"] * n), n)
    return Score(judged["top1"], judged["top5"], low, high, judged["loss"], n)


_USE = """
## Use

With prune3d:

```python
from pathlib import Path
from prune3d.export.classifier import open_classifier

classifier = open_classifier(Path("model.safetensors"))
(logits,) = classifier.logits([Path("picture.png")])
print(classifier.name_of(int(logits[0].argmax())))
```
"""

_USE_WITHOUT_MEAN = """
## Use

It is not known how pictures become its inputs. With prune3d:

```python
import prune3d, torch

network = prune3d.load("model.safetensors")
logits = network(torch.zeros(1, {0}))
print(int(logits.argmax()))
```
"""

_USE_PICTURES = """
With ONNX Runtime alone; resizing and normalization are inside `pictures.onnx`, and `model.onnx`
takes inputs that are normalized already (its metadata tell how). Grey pictures of 16 bits are
divided by 257 first, since Pillow's `convert` clips them:

```python
import {0}numpy, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("pictures.onnx")
picture = ImageOps.exif_transpose(Image.open("picture.png")).convert("RGBA")  # upright
white = Image.new("RGBA", picture.size, "white")  # under what is transparent
picture = Image.alpha_composite(white, picture).convert("RGB")
(logits,) = session.run(None, {{"pictures": numpy.asarray(picture)[None]}})
print({1})
```
"""

_BY_NAME = (
    "json, ",
    'json.loads(session.get_modelmeta().custom_metadata_map["classes"])[int(logits.argmax())]',
)
_BY_NUMBER = ("", "int(logits.argmax())")

_USE_ONNX = """
With ONNX Runtime alone:

```python
import numpy, onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(None, {{"images": numpy.zeros((1, {0}), "float32")}})
print(int(logits.argmax()))
```
"""

_USE_PROGRAM = """
With torch alone; `model.pt2` takes inputs that are normalized already, as its `meaning.json` tells:

```python
import json, torch

files = {{"meaning.json": ""}}
program = torch.export.load("model.pt2", extra_files=files).module()
logits = program(torch.zeros(1, {0}))
print(json.loads(files["meaning.json"])["side"], tuple(logits.shape))
```
"""

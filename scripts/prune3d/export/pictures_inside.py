"""ONNX files that take pictures as they are: bytes of any size, resized and normalized inside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prune3d.data.source import SMALLEST_SPREAD
from prune3d.errors import UserError
from prune3d.export.classifier import open_session, told_by
from prune3d.export.packages import check_packages
from prune3d.export.preprocessing import Preprocessing
from prune3d.files import atomic_path

PICTURES = "pictures"
# Weights of red, green and blue in grey: those of ITU-R 601, as Pillow's.
GREY = (0.299, 0.587, 0.114)


def take_pictures(source: str | Path, target: str | Path) -> None:
    """Write an ONNX file that does resizing and normalization before the network.

    Parameters
    ----------
    source
        A file that `prune3d.export.export` wrote, of a network that knows its mean and spread.
    target
        Name of the new file. Its input ``pictures`` is uint8 of shape (N, height, width, 3), RGB,
        of any height and width; its output and metadata are those of the source. The central square
        is resized as `prune3d.data.pictures.decode_square` does with these pixels. Of a JPEG file
        much larger than the network's images it reads others, since it decodes it at a part of its
        size: the squares then differ by about a level of 255 in the mean, more at sharp edges.

    Raises
    ------
    UserError
        If the source is no such file, or does not say how pictures become inputs.
    """
    check_packages()
    import onnx

    source = Path(source)
    session = open_session(source)
    (given,) = session.get_inputs()
    if given.type != "tensor(float)" or not isinstance(given.shape[-1], int):
        raise UserError(f"{source} takes no float images of a fixed side, but {given.type}.")
    rule = Preprocessing.of(told_by(session, source), given.shape[-1], given.shape[1], source)
    network = onnx.load(source)
    name = network.graph.input[0].name
    front = onnx.parser.parse_graph(_graph(rule, name))
    nodes = [*front.node, *network.graph.node]
    del network.graph.node[:], network.graph.input[:]
    network.graph.node.extend(nodes)
    network.graph.input.extend(front.input)
    onnx.checker.check_model(network)
    with atomic_path(target) as temporary:
        onnx.save(network, temporary)


def _graph(rule: Preprocessing, images: str) -> str:
    """Return the preprocessing in ONNX's text; names begin with ``pre_``, none are the network's.

    Resizing is two products with matrices of triangles, each as wide as Pillow's filter, and after
    each Pillow rounds to bytes.
    """
    side = rule.stored_side or rule.side
    lines = [
        "pre_chw = Transpose <perm = [0, 3, 1, 2]> (pictures)",
        "pre_float = Cast <to = 1> (pre_chw)",
        "pre_shape = Shape (pictures)",
        *_sizes(rule.crop),
        *_matrix("across", "width", side),
        *_matrix("down", "height", side),
        "pre_turned = Transpose <perm = [1, 0]> (pre_across)",
        "pre_narrow = MatMul (pre_float, pre_turned)",
        *_rounded("pre_narrow", "pre_narrow_bytes"),
        "pre_square = MatMul (pre_down, pre_narrow_bytes)",
        *_rounded("pre_square", "pre_bytes"),
    ]
    last = "pre_bytes"
    if rule.channels == 1:
        weights = _numbers(GREY)
        lines += [
            f"pre_grey_w = Constant <value = float[1, 3, 1, 1] {weights}> ()",
            f"pre_weighted = Mul ({last}, pre_grey_w)",
            "pre_channels = Constant <value = int64[1] {1}> ()",
            "pre_grey_sum = ReduceSum <keepdims = 1> (pre_weighted, pre_channels)",
            *_rounded("pre_grey_sum", "pre_grey"),
        ]
        last = "pre_grey"
    if side != rule.side:
        lines += [
            _constant("pre_stored", float(side)),
            *_triangles("again", "pre_stored", "pre_stored", rule.side),
            "pre_again_turned = Transpose <perm = [1, 0]> (pre_again)",
            f"pre_again_narrow = MatMul ({last}, pre_again_turned)",
            "pre_resized = MatMul (pre_again, pre_again_narrow)",
        ]
        last = "pre_resized"
    # (x / 255 - mean) / spread as one product and one sum would round otherwise.
    spread = [max(value, SMALLEST_SPREAD) for value in rule.spread]
    shape = f"float[1, {rule.channels}, 1, 1]"
    lines += [
        _constant("pre_most", 255.0),
        f"pre_unit = Div ({last}, pre_most)",
        f"pre_mean = Constant <value = {shape} {_numbers(rule.mean)}> ()",
        f"pre_spread = Constant <value = {shape} {_numbers(spread)}> ()",
        "pre_centred = Sub (pre_unit, pre_mean)",
        f"{images} = Div (pre_centred, pre_spread)",
    ]
    head = f"preprocess (uint8[batch, height, width, 3] {PICTURES}) => (float[batch] {images})"
    return f"{head} {{\n" + "\n".join(lines) + "\n}"


def _sizes(crop: float) -> list[str]:
    """Return height, width and the side of the central square, in pixels."""
    lines = []
    for place, name in ((1, "height"), (2, "width")):
        lines += [
            f"pre_{name}_at = Constant <value = int64 {{{place}}}> ()",
            f"pre_{name}_int = Gather (pre_shape, pre_{name}_at)",
            f"pre_{name} = Cast <to = 1> (pre_{name}_int)",
        ]
    return [
        *lines,
        "pre_shorter = Min (pre_height, pre_width)",
        _constant("pre_crop", crop),
        "pre_edge = Mul (pre_shorter, pre_crop)",
    ]


def _matrix(name: str, size: str, side: int) -> list[str]:
    return _triangles(name, f"pre_{size}", "pre_edge", side)


def _triangles(name: str, size: str, edge: str, side: int) -> list[str]:
    """Return lines for weights, shape (side, size), of resizing the middle `edge` of an axis."""
    p = f"pre_{name}"
    centres = "{" + ", ".join(f"{i + 0.5}" for i in range(side)) + "}"
    return [
        _constant(f"{p}_side", float(side)),
        _constant(f"{p}_zero", 0.0),
        _constant(f"{p}_one", 1.0),
        _constant(f"{p}_half", 0.5),
        f"{p}_scale = Div ({edge}, {p}_side)",
        f"{p}_reach = Max ({p}_scale, {p}_one)",
        f"{p}_rest = Sub ({size}, {edge})",
        f"{p}_begin = Mul ({p}_rest, {p}_half)",
        f"{p}_rows = Constant <value = float[{side}, 1] {centres}> ()",
        f"{p}_scaled = Mul ({p}_rows, {p}_scale)",
        f"{p}_centres = Add ({p}_scaled, {p}_begin)",
        f"{p}_range = Range ({p}_zero, {size}, {p}_one)",
        f"{p}_places = Add ({p}_range, {p}_half)",
        f"{p}_apart = Sub ({p}_places, {p}_centres)",
        f"{p}_distance = Abs ({p}_apart)",
        f"{p}_relative = Div ({p}_distance, {p}_reach)",
        f"{p}_height = Sub ({p}_one, {p}_relative)",
        f"{p}_weights = Relu ({p}_height)",
        f"{p}_last = Constant <value = int64[1] {{1}}> ()",
        f"{p}_sums = ReduceSum <keepdims = 1> ({p}_weights, {p}_last)",
        f"{p} = Div ({p}_weights, {p}_sums)",
    ]


def _rounded(value: str, name: str) -> list[str]:
    """Return lines that round half up, as Pillow does."""
    return [
        _constant(f"{name}_half", 0.5),
        f"{name}_up = Add ({value}, {name}_half)",
        f"{name} = Floor ({name}_up)",
    ]


def _constant(name: str, value: float) -> str:
    return f"{name} = Constant <value = float {{{value!r}}}> ()"


def _numbers(values: Iterable[float]) -> str:
    return "{" + ", ".join(repr(float(value)) for value in values) + "}"

"""An embedded benchmark of any size: one character on a textured ground, to be told apart.

Characters are drawn in the fonts that come with matplotlib, at a random place, angle, size and
colour, with strokes that mean nothing, on a ground of low contrast, with noise. Colours and noise
are integers and each block of images has a stream of random numbers of its own, so that the same
settings give the same bytes in whatever parts they are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from prune3d.data.registry import CHARACTERS
from prune3d.data.settings import DataSettings, GlyphSettings
from prune3d.data.source import Labelled, Source

FACES = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
)
BLOCK = 256
# Shapes are drawn this many times larger and averaged, against jagged edges.
FINER = 3
TRAIN, TEST = 0, 1
Bytes = NDArray[np.uint8]
Levels = NDArray[np.int64]


@dataclass(frozen=True)
class Look:
    """Ranges from which each image is drawn; lengths are parts of the image side, levels of 255.

    Attributes
    ----------
    turn
        Largest angle in degrees, to both sides.
    size
        Smallest and largest length of the character.
    contrast
        Smallest and largest difference in brightness of the character and its ground, in levels.
    tint
        Largest difference of a colour's channels from its brightness, in levels.
    texture, noise
        Largest difference of the ground and of each pixel, in levels.
    strokes
        Largest number of strokes that mean nothing.
    """

    turn: float
    size: tuple[float, float]
    contrast: tuple[int, int]
    tint: int
    texture: int
    noise: int
    strokes: int

    @classmethod
    def of(cls, difficulty: float) -> Look:
        """Return the ranges of a difficulty in [0, 1]."""
        d = difficulty
        return cls(
            turn=10 + 40 * d,
            size=(0.8 - 0.5 * d, 0.9),
            contrast=(round(110 - 90 * d), round(150 - 30 * d)),
            tint=40,
            texture=round(10 + 50 * d),
            noise=round(10 + 60 * d),
            strokes=round(8 * d),
        )


def read(settings: DataSettings, download: bool) -> Source:
    """Draw all images."""
    how = settings.glyphs
    assert settings.side is not None
    train = draw(how, settings.side, TRAIN, 0, how.images)
    test = draw(how, settings.side, TEST, 0, how.test_images)
    return Source(train, test, tuple(CHARACTERS[: how.classes]))


def draw(how: GlyphSettings, side: int, stream: int, first: int, last: int) -> Labelled:
    """Draw the images `first` to `last` - 1 of a stream.

    Parameters
    ----------
    how
        Classes, difficulty and seed; the numbers of images do not matter here.
    side
        Of the images in pixels.
    stream
        `TRAIN` or `TEST`; the streams have nothing in common.
    first, last
        Indices of images. Image i is of class i modulo the number of classes.
    """
    shapes = cut_characters(how.classes, FINER * side)
    look = Look.of(how.difficulty)
    labels = np.arange(first, last, dtype=np.int64) % how.classes
    images = np.empty((last - first, 3, side, side), np.uint8)
    for block in range(first // BLOCK, math.ceil(last / BLOCK)):
        begin = block * BLOCK
        numbers = Generator(PCG64([how.seed, stream, block]))
        kinds = np.arange(begin, begin + BLOCK) % how.classes
        low, high = max(first, begin), min(last, begin + BLOCK)
        drawn = _draw_block(numbers, kinds, shapes, look, side)
        images[low - first : high - first] = drawn[low - begin : high - begin]
    return Labelled(images, labels)


def cut_characters(classes: int, em: int) -> list[list[Image.Image]]:
    """Return each character in every face, cut to its outline: coverage in bytes."""
    fonts = [ImageFont.truetype(str(font_file(face)), em) for face in FACES]
    return [[_cut(font, character) for font in fonts] for character in CHARACTERS[:classes]]


def font_file(face: str) -> Path:
    """Return the file of a font that comes with matplotlib."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts/ttf" / f"{face}.ttf"


def _cut(font: ImageFont.FreeTypeFont, character: str) -> Image.Image:
    em = int(font.size)
    canvas = Image.new("L", (2 * em, 2 * em))
    ImageDraw.Draw(canvas).text((em // 2, em // 4), character, fill=255, font=font)
    return canvas.crop(canvas.getbbox())


def _draw_block(
    numbers: Generator,
    kinds: NDArray[np.int64],
    shapes: list[list[Image.Image]],
    look: Look,
    side: int,
) -> Bytes:
    faces = numbers.integers(len(FACES), size=len(kinds))
    chosen = [shapes[kind][face] for kind, face in zip(kinds, faces, strict=True)]
    ground, ink = _colours(numbers, len(kinds), look)
    images = ground[:, :, None, None] + _texture(numbers, len(kinds), look.texture, side)
    for _ in range(look.strokes):
        between = numbers.integers(20, 81, size=(len(kinds), 1))
        colour = ground + (ink - ground) * between // 100
        images = _lay(images, _strokes(numbers, len(kinds), side), colour)
    images = _lay(images, _characters(numbers, chosen, look, side), ink)
    images += _noise(numbers, images.shape, look.noise)
    return np.clip(images, 0, 255).astype(np.uint8)


def _colours(numbers: Generator, count: int, look: Look) -> tuple[Levels, Levels]:
    """Return the colours of ground and character, shape (count, 3)."""
    ground = numbers.integers(60, 196, size=(count, 1))
    difference = numbers.integers(look.contrast[0], look.contrast[1] + 1, size=(count, 1))
    lighter = numbers.integers(2, size=(count, 1)) * 2 - 1
    ink = ground + lighter * difference
    ink = np.where((ink < 0) | (ink > 255), ground - lighter * difference, ink)
    tints = numbers.integers(-look.tint, look.tint + 1, size=(2, count, 3))
    tints -= tints.sum(axis=2, keepdims=True) // 3
    return ground + tints[0], ink + tints[1]


def _texture(numbers: Generator, count: int, largest: int, side: int) -> Levels:
    """Return clouds, shape (count, 3, side, side): a coarse grid of levels, made smooth."""
    grids = numbers.integers(2, max(3, side // 3), size=count)
    clouds = np.empty((count, side, side, 3), np.uint8)
    for i, grid in enumerate(grids):
        levels = numbers.integers(128 - largest, 129 + largest, size=(grid, grid, 3))
        coarse = Image.fromarray(levels.astype(np.uint8))
        clouds[i] = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    return clouds.transpose(0, 3, 1, 2).astype(np.int64) - 128


def _strokes(numbers: Generator, count: int, side: int) -> Bytes:
    """Return coverage, shape (count, side, side): a line, an arc or nothing."""
    fine = FINER * side
    kinds = numbers.integers(3, size=count)
    ends = numbers.integers(-fine // 8, fine + fine // 8, size=(count, 4))
    widths = numbers.integers(FINER, 2 + max(FINER, fine // 12), size=count)
    angles = numbers.integers(360, size=count)
    coverage = np.zeros((count, side, side), np.uint8)
    for i in np.flatnonzero(kinds):
        canvas = Image.new("L", (fine, fine))
        pen = ImageDraw.Draw(canvas)
        left, top, right, bottom = (int(end) for end in ends[i])
        if kinds[i] == 1:
            pen.line((left, top, right, bottom), fill=255, width=int(widths[i]))
        else:
            box = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
            begin = int(angles[i])
            pen.arc(box, begin, begin + 150, fill=255, width=int(widths[i]))
        coverage[i] = np.asarray(canvas.reduce(FINER))
    return coverage


def _characters(numbers: Generator, shapes: list[Image.Image], look: Look, side: int) -> Bytes:
    """Return coverage, shape (n, side, side): each character at its angle, size and place."""
    fine = FINER * side
    # Angle, size, place across and down.
    at = numbers.random(size=(len(shapes), 4))
    angles = np.radians(look.turn) * (2 * at[:, 0] - 1)
    sizes = look.size[0] + (look.size[1] - look.size[0]) * at[:, 1]
    # A corner may leave the image a little.
    margins = 0.45 * sizes[:, None]
    centres = fine * (margins + (1 - 2 * margins) * at[:, 2:])
    coverage = np.empty((len(shapes), side, side), np.uint8)
    for i, shape in enumerate(shapes):
        step = max(shape.size) / (sizes[i] * fine)
        cos, sin = step * math.cos(angles[i]), step * math.sin(angles[i])
        x, y = centres[i]
        affine = (
            cos,
            sin,
            shape.width / 2 - cos * x - sin * y,
            -sin,
            cos,
            shape.height / 2 + sin * x - cos * y,
        )
        placed = shape.transform(
            (fine, fine), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
        )
        coverage[i] = np.asarray(placed.reduce(FINER))
    return coverage


def _lay(images: Levels, coverage: Bytes, colours: Levels) -> Levels:
    """Lay colours over images where they are covered."""
    return images + (colours[:, :, None, None] - images) * coverage[:, None].astype(np.int64) // 255


def _noise(numbers: Generator, shape: tuple[int, ...], largest: int) -> Levels:
    """Return the mean of two uniform levels for each pixel and channel."""
    levels = numbers.integers(-largest, largest + 1, size=(2, *shape), dtype=np.int16)
    return (levels[0] + levels[1]).astype(np.int64) // 2

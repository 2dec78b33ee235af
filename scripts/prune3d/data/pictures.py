"""Picture files: read upright, in colour, cut to a square. Needs Pillow and numpy, no torch."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from prune3d.errors import UserError

# A file of these alone is opened: Pillow would also run Ghostscript on one that says EPS.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# A file of a few bytes can claim to be huge: the limit is checked here, in words of ours.
MEGAPIXELS = 180
Image.MAX_IMAGE_PIXELS = None
TRIES = 10
WIDEST = 4 / 3
LIMIT_VARIABLE = "PRUNE3D_MAX_MEGAPIXELS"
Shortest = Callable[[int, int], int]
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B")
_COLOURS = ("1", "L", "P", "RGB", "RGBX", "RGBA", "LA", "PA", "RGBa", "La", "CMYK", "YCbCr")


def decode_square(path: Path, side: int, crop: float = 1.0) -> NDArray[np.uint8]:
    """Return the centre of a picture as a square.

    Parameters
    ----------
    path
        The file.
    side
        Side of the result in pixels.
    crop
        Part of the picture's shorter side that is kept, in (0, 1].

    Returns
    -------
    ndarray
        uint8, shape (3, side, side); bilinear with antialiasing.

    Raises
    ------
    UserError
        If the file is missing, damaged, or of a kind that is not read; see `read_picture`.
    """
    picture = read_picture(path, math.ceil(side / crop))
    edge = crop * min(picture.size)
    left, top = (picture.width - edge) / 2, (picture.height - edge) / 2
    box = (left, top, left + edge, top + edge)
    square = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def decode_crop(path: Path, side: int, area: float, seed: int) -> NDArray[np.uint8]:
    """Return a random part of a picture as a square, as torchvision's `RandomResizedCrop` does.

    Parameters
    ----------
    path, side
        As for `decode_square`, which also says what is returned and raised.
    area
        Smallest part of the picture's area, in (0, 1]; the aspect ratio is between 3/4 and 4/3.
    seed
        The same gives the same part.
    """

    def draw(width: int, height: int) -> tuple[float, float, float, float]:
        return _random_box(width, height, area, random.Random(seed))

    def shortest(width: int, height: int) -> int:
        left, top, right, bottom = draw(width, height)
        return math.ceil(side * min(width, height) / min(right - left, bottom - top))

    picture = read_picture(path, shortest)
    box = draw(*picture.size)
    square = picture.resize((side, side), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def _random_box(
    width: int, height: int, area: float, rng: random.Random
) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom: the first of ten that fit, or the centre."""
    for _ in range(TRIES):
        pixels = width * height * rng.uniform(area, 1)
        ratio = math.exp(rng.uniform(-math.log(WIDEST), math.log(WIDEST)))
        across, down = math.sqrt(pixels * ratio), math.sqrt(pixels / ratio)
        if across <= width and down <= height:
            left, top = rng.uniform(0, width - across), rng.uniform(0, height - down)
            return left, top, min(left + across, width), min(top + down, height)
    across, down = min(width, height * WIDEST), min(height, width * WIDEST)
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down


def read_picture(path: Path, shortest: int | Shortest = 0) -> Image.Image:
    """Read a picture as RGB, turned upright as its EXIF entry says.

    Grey becomes three equal channels, palettes and CMYK become RGB, 16 bits become 8, and
    transparent parts are laid on white.

    Parameters
    ----------
    path
        The file.
    shortest
        A JPEG file may be decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side keeps
        this many pixels, which is faster; 0 for its full size. Or a function of the upright
        picture's width and height that gives the number.

    Raises
    ------
    UserError
        In one sentence with the file's name: missing, damaged, several frames, 32-bit pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as file:
            needed = shortest if isinstance(shortest, int) else shortest(*_upright_size(file))
            if needed:
                file.draft(None, (needed, needed))
            _check_size(file, path)
            _check_complete(file, path)
            # A camera's MPO file is a JPEG whose further frames are previews.
            if getattr(file, "is_animated", False) and file.format != "MPO":
                raise UserError(f"{path} has several frames; allowed is a single picture.")
            # In place, and no conversion without need: each copies all pixels.
            file.load()
            ImageOps.exif_transpose(file, in_place=True)
            return _to_rgb(file, path)
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        raise UserError(f"{path} does not exist, but the data set lists it.") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to.
        reason = str(error).rstrip(".") or type(error).__name__
        raise UserError(
            f"{path} is not a readable picture ({reason}); replace or remove it."
        ) from None


def _upright_size(file: Image.Image) -> tuple[int, int]:
    turned = file.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (file.height, file.width) if turned else file.size


def megapixel_limit() -> float:
    """Return how many million pixels a picture may have.

    Raises
    ------
    UserError
        If the environment variable that raises the limit is no positive number.
    """
    given = os.environ.get(LIMIT_VARIABLE, str(MEGAPIXELS))
    try:
        limit = float(given)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise UserError(f"{LIMIT_VARIABLE} is '{given}'; allowed is a positive number.")
    return limit


def _check_size(file: Image.Image, path: Path) -> None:
    pixels = file.width * file.height / 1e6
    if pixels > megapixel_limit():
        raise UserError(
            f"{path} has {pixels:.0f} megapixels, more than the limit of {megapixel_limit():g}; "
            f"make it smaller, or raise the limit by the environment variable {LIMIT_VARIABLE}."
        )


def _check_complete(file: Image.Image, path: Path) -> None:
    """Refuse a TIFF whose strips do not reach its last row: Pillow would leave the rest black."""
    if file.format != "TIFF":
        return
    ends = [tile[1][2:] for tile in getattr(file, "tile", ())]
    width, height = (max((end[axis] for end in ends), default=0) for axis in (0, 1))
    if width < file.width or height < file.height:
        raise UserError(
            f"{path} says it has {file.width} x {file.height} pixels and holds {width} x {height}; "
            "replace or remove it."
        )


def _to_rgb(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode in _SIXTEEN_BITS:
        grey = np.asarray(picture).astype(np.uint16)
        return Image.fromarray(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert(
            "RGB"
        )
    if picture.mode not in _COLOURS:
        raise UserError(
            f"{path} has pixels of Pillow's mode '{picture.mode}'; allowed are grey, palette, "
            "RGB, RGBA and CMYK pictures of 8 bits and grey ones of 16."
        )
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")

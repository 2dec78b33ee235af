"""Picture files of every kind, against colours known beforehand and torchvision's transforms."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prune3d.data.images import ImageFiles, ImageSet, load_images
from prune3d.data.pictures import decode_square, read_picture
from prune3d.data.source import Labelled, Listed
from prune3d.data.storage import Description, save_part
from prune3d.errors import UserError

ABOUT = Description(24, 3, ("cat", "dog"), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


def smooth(width: int, height: int, phase: float = 0.0) -> Image.Image:
    """Return a picture without sharp edges, which every way of resizing treats much the same."""
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    waves = [np.sin(2 * x + y + phase + c) for c in range(3)]
    return Image.fromarray((127 + 120 * np.stack(waves, 2)).astype(np.uint8))


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    """Seven pictures of several sizes behind an index file."""
    (tmp_path / "pictures/ä").mkdir(parents=True)
    names = [f"{'ä/' if i % 2 else ''}{i}.png" for i in range(7)]
    for i, name in enumerate(names):
        smooth(30 + i, 40 - i, i).save(tmp_path / "pictures" / name)
    listed = Listed(tmp_path / "pictures", tuple(names), np.arange(7, dtype=np.int64) % 2)
    save_part(tmp_path / "index", listed, ABOUT)
    loaded = load_images(tmp_path / "index")
    assert isinstance(loaded, ImageFiles)
    return loaded


def colour(path: Path) -> tuple[int, ...]:
    """Return the colour of the first pixel."""
    return read_picture(path).getpixel((0, 0))


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 100, 200, 51), (204, 224, 244)),
        ("LA", (50, 255), (50, 50, 50)),
        ("LA", (50, 0), (255, 255, 255)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16", 0, (0, 0, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_its_colour(
    tmp_path: Path, mode: str, value: object, expected: tuple[int, ...]
) -> None:
    Image.new(mode, (3, 2), value).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode == mode
    assert colour(tmp_path / "a.png") == expected


def test_a_cmyk_picture_becomes_its_colour(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert np.allclose(colour(tmp_path / "a.jpg"), (255, 0, 0), atol=4)


def test_a_palette_becomes_its_colours_and_its_transparent_entry_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putdata([0, 1])
    picture.save(tmp_path / "opaque.png")
    picture.save(tmp_path / "clear.png", transparency=1)
    assert read_picture(tmp_path / "opaque.png").getpixel((1, 0)) == (200, 100, 50)
    assert read_picture(tmp_path / "clear.png").getpixel((0, 0)) == (10, 20, 30)
    assert read_picture(tmp_path / "clear.png").getpixel((1, 0)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = smooth(8, 5)
    # What must be done to a picture so that its EXIF entry leads back; EXIF 2.3, tag 274.
    turns: list[list[Image.Transpose]] = [
        [],
        [Image.Transpose.FLIP_LEFT_RIGHT],
        [Image.Transpose.ROTATE_180],
        [Image.Transpose.FLIP_TOP_BOTTOM],
        [Image.Transpose.TRANSPOSE],
        [Image.Transpose.ROTATE_90],
        [Image.Transpose.TRANSVERSE],
        [Image.Transpose.ROTATE_270],
    ]
    stored = upright
    for turn in turns[orientation - 1]:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(read_picture(tmp_path / "a.png")), np.asarray(upright))


def damage(path: Path, how: str) -> None:
    """Write a picture that cannot be read."""
    smooth(64, 64).save(path)
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("no picture")
    elif how == "flipped":
        # PNG's checksum of the pixels no longer fits them.
        place = content.index(b"IDAT") + 60
        path.write_bytes(content[:place] + bytes(8) + content[place + 8 :])


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.png", "truncated"),
        ("a.jpg", "truncated"),
        ("a.png", "flipped"),
        ("a.png", "empty"),
        ("a.jpg", "text"),
    ],
)
def test_a_damaged_picture_is_refused_by_name(tmp_path: Path, name: str, how: str) -> None:
    damage(tmp_path / name, how)
    # As small as it goes, as the check before training reads pictures that stay in their files.
    for side in (1, 64):
        with pytest.raises(UserError, match=r"is not a readable picture \(.*replace") as caught:
            decode_square(tmp_path / name, side)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("claimed", [65, 8_000_000])
def test_a_tiff_that_claims_more_rows_than_it_holds_is_refused(
    tmp_path: Path, claimed: int
) -> None:
    smooth(20, 64).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with Image.open(tmp_path / "a.tif") as picture:
        rows = picture.tag_v2.keys()
        assert 257 in rows
    # ImageLength: tag 257, type 3 or 4, one value.
    place = next(
        i
        for i in range(len(content) - 12)
        if content[i : i + 2] == b"\x01\x01" and content[i + 4 : i + 8] == b"\x01\x00\x00\x00"
    )
    content[place + 2 : place + 12] = b"\x04\x00\x01\x00\x00\x00" + claimed.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.tif says it has .*{claimed} pixels and holds"):
        read_picture(tmp_path / "a.tif")


def test_a_picture_above_the_limit_names_it_and_how_to_raise_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (20_000, 9_500), 200).save(tmp_path / "large.png", compress_level=1)
    with pytest.raises(UserError, match=r"large\.png has 190 megapixels.*PRUNE3D_MAX_MEGAPIXELS"):
        decode_square(tmp_path / "large.png", 8)
    monkeypatch.setenv("PRUNE3D_MAX_MEGAPIXELS", "190")
    assert decode_square(tmp_path / "large.png", 8).mean() == 200
    monkeypatch.setenv("PRUNE3D_MAX_MEGAPIXELS", "many")
    with pytest.raises(UserError, match=r"PRUNE3D_MAX_MEGAPIXELS is 'many'; allowed is a positive"):
        read_picture(tmp_path / "large.png")
    # A JPEG is decoded at an eighth of its size here.
    monkeypatch.setenv("PRUNE3D_MAX_MEGAPIXELS", "1")
    Image.new("L", (4_000, 2_000), 200).save(tmp_path / "large.jpg")
    assert decode_square(tmp_path / "large.jpg", 8).mean() == pytest.approx(200, abs=1)


def test_a_file_is_read_only_as_one_of_the_allowed_kinds(tmp_path: Path) -> None:
    # Pillow runs Ghostscript on EPS files, whatever their names.
    smooth(8, 8).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png is not a readable picture"):
        read_picture(tmp_path / "a.png")


def test_pictures_that_are_not_read_are_refused_by_name(tmp_path: Path) -> None:
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    with pytest.raises(UserError, match=r"float\.tif has pixels of Pillow's mode 'F'; allowed"):
        read_picture(tmp_path / "float.tif")
    frames = [smooth(8, 8, phase) for phase in (0, 3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=r"moving\.gif has several frames; allowed is a single"):
        read_picture(tmp_path / "moving.gif")
    with pytest.raises(UserError, match=r"gone\.png does not exist"):
        read_picture(tmp_path / "gone.png")


@pytest.mark.parametrize(("width", "height"), [(50, 50), (80, 50), (50, 90), (400, 330)])
@pytest.mark.parametrize(("side", "crop"), [(32, 1.0), (28, 0.875), (100, 1.0)])
def test_the_square_is_that_of_torchvisions_resize_and_centre_crop(
    tmp_path: Path, width: int, height: int, side: int, crop: float
) -> None:
    from torchvision.transforms.v2 import functional as transforms

    picture = smooth(width, height)
    picture.save(tmp_path / "a.png")
    found = decode_square(tmp_path / "a.png", side, crop)
    resized = transforms.resize(picture, [round(side / crop)], antialias=True)
    expected = np.asarray(transforms.center_crop(resized, [side])).transpose(2, 0, 1)
    assert found.shape == (3, side, side)
    # Half a pixel of rounding in torchvision's size is two levels of such a picture.
    assert np.abs(found.astype(int) - expected).max() <= 4


def test_a_jpeg_decoded_at_a_part_of_its_size_looks_the_same(tmp_path: Path) -> None:
    picture = smooth(600, 500)
    picture.save(tmp_path / "a.jpg", quality=95)
    assert min(read_picture(tmp_path / "a.jpg", 60).size) == 63
    found = decode_square(tmp_path / "a.jpg", 60)
    box = (50, 0, 550, 500)
    expected = picture.resize((60, 60), Image.Resampling.BILINEAR, box=box)
    assert np.abs(found.transpose(1, 2, 0).astype(int) - np.asarray(expected)).max() <= 6


def test_an_index_reads_its_pictures_in_order(files: ImageFiles) -> None:
    assert len(files) == 7
    assert files.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert (files.channels, files.side) == (3, 24)
    for i in range(7):
        expected = decode_square(files.root / f"{'ä/' if i % 2 else ''}{i}.png", 24)
        assert np.array_equal(files.decode(i, 24).numpy(), expected)
    every = torch.stack([files.decode(i, 12) for i in range(7)])
    batches = list(files.batches(12, size=3))
    assert [len(batch) for batch in batches] == [4, 3]
    resident = ImageSet(every, files.labels, files.mean, files.spread)
    assert torch.equal(torch.cat(batches), torch.cat(list(resident.batches(12))))
    assert torch.equal(
        files.take(torch.tensor([5, 2])), torch.stack([files.decode(5, 24), files.decode(2, 24)])
    )


def test_a_subset_of_an_index_is_that_of_images_in_memory(files: ImageFiles) -> None:
    every = files.take(torch.arange(7))
    resident = ImageSet(every, files.labels, files.mean, files.spread)
    for seed in (0, 1):
        part, expected = files.subset(4, seed), resident.subset(4, seed)
        assert isinstance(part, ImageFiles)
        assert len(part) == 4
        assert torch.equal(part.take(torch.arange(4)), expected.images)
        assert torch.equal(part.labels, expected.labels)
    assert files.subset(7, 0) is files


def test_an_index_survives_pickling(files: ImageFiles) -> None:
    again = pickle.loads(pickle.dumps(files))
    assert torch.equal(again.decode(3, 24), files.decode(3, 24))
    assert torch.equal(again.labels, files.labels)


def test_a_moved_root_and_a_missing_picture_are_told(tmp_path: Path, files: ImageFiles) -> None:
    files.path(2).unlink()
    with pytest.raises(UserError, match=r"2\.png does not exist, but the data set lists it"):
        list(files.batches(24))
    files.root.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"index lists pictures in .*pictures, which is no folder"):
        load_images(tmp_path / "index")


def test_the_same_split_gives_the_same_bytes(tmp_path: Path) -> None:
    listed = Listed(tmp_path, ("a.png", "b.png"), np.array([0, 1]))
    held = Labelled(np.zeros((2, 3, 24, 24), np.uint8), np.array([0, 1]))
    for part in (listed, held):
        sums = []
        for _ in range(2):
            save_part(tmp_path / "split", part, ABOUT)
            sums.append(zlib.crc32((tmp_path / "split").read_bytes()))
        assert sums[0] == sums[1]

"""The embedded benchmark: same bytes for a seed, what its parameters change, and its classes."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from prune3d.data.glyphs import FACES, TEST, TRAIN, cut_characters, draw, read
from prune3d.data.registry import CHARACTERS, facts
from prune3d.data.settings import DataSettings, GlyphSettings
from prune3d.data.source import Labelled
from prune3d.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
HOW = GlyphSettings(classes=7, images=600, test_images=300, difficulty=0.5, seed=3)


def digest(data: Labelled) -> str:
    """Return a digest of pixels and labels."""
    content = np.ascontiguousarray(data.images).tobytes() + data.labels.tobytes()
    return hashlib.sha256(content).hexdigest()


def draw_part(first: int, last: int) -> Labelled:
    """Draw some training images, in whatever process."""
    return draw(HOW, 20, TRAIN, first, last)


@pytest.fixture(scope="module")
def glyphs() -> Labelled:
    return draw_part(0, 600)


def test_the_bytes_are_those_of_the_pinned_versions(glyphs: Labelled) -> None:
    # Other versions of Pillow or matplotlib may draw otherwise: results are then not comparable.
    assert digest(glyphs) == "fbfb08de2c02a955f4d9b6fec1a2a75cbc51ba0ec846b1838131cf5b6879a17b"


def test_another_process_draws_the_same_bytes(glyphs: Labelled) -> None:
    code = (
        "import hashlib; from prune3d.data.glyphs import draw; "
        "from prune3d.data.settings import GlyphSettings; "
        "data = draw(GlyphSettings(7, 600, 300, 0.5, 3), 20, 0, 0, 600); "
        "print(hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest(glyphs)


def test_parts_drawn_at_the_same_time_are_those_of_the_whole(glyphs: Labelled) -> None:
    ends = [0, 1, 200, 256, 301, 600]
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(draw_part, ends[:-1], ends[1:]))
    assert np.array_equal(np.concatenate([part.images for part in parts]), glyphs.images)
    assert np.array_equal(np.concatenate([part.labels for part in parts]), glyphs.labels)


def test_more_images_begin_with_the_same(glyphs: Labelled) -> None:
    more = draw(dataclasses.replace(HOW, images=700), 20, TRAIN, 0, 700)
    assert np.array_equal(more.images[:600], glyphs.images)


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"difficulty": 0.51}, {"classes": 8}],
    ids=lambda change: next(iter(change)),
)
def test_each_setting_changes_the_images(glyphs: Labelled, change: dict[str, float]) -> None:
    other = draw(dataclasses.replace(HOW, **change), 20, TRAIN, 0, 256)
    same = (other.images == glyphs.images[:256]).all((1, 2, 3))
    # With one more class, an image in eight is still of the same character.
    assert same.mean() < 0.15


def test_no_image_occurs_twice_and_the_test_images_are_others(glyphs: Labelled) -> None:
    seen = {image.tobytes() for image in glyphs.images}
    assert len(seen) == 600
    assert not seen & {image.tobytes() for image in draw(HOW, 20, TEST, 0, 300).images}


@pytest.mark.parametrize("side", [8, 20, 33])
def test_a_source_has_what_the_facts_say(side: int) -> None:
    settings = DataSettings("glyphs", side=side, glyphs=HOW)
    known, source = facts(settings), read(settings, download=False)
    assert isinstance(source.train, Labelled) and isinstance(source.test, Labelled)
    assert source.train.images.shape == (known.images, known.channels, known.side, known.side)
    assert len(source.test.labels) == known.test_images
    assert len(source.classes) == known.classes == 7
    for part in (source.train, source.test):
        counts = np.bincount(part.labels)
        assert len(counts) == 7
        assert counts.max() - counts.min() <= 1
        assert part.images.dtype == np.uint8
        # Dark and light, and not one colour for all.
        assert part.images.mean() == pytest.approx(128, abs=15)
        assert part.images.mean((1, 2, 3)).std() > 10


def test_every_character_is_in_every_font_and_no_two_are_the_same() -> None:
    shapes = cut_characters(len(CHARACTERS), 48)
    assert len(CHARACTERS) == len(set(CHARACTERS)) >= 60
    # A font draws the characters that it lacks all alike.
    for face in range(len(FACES)):
        drawn = {(s[face].size, s[face].tobytes()) for s in shapes}
        assert len(drawn) == len(CHARACTERS), FACES[face]


def separation(difficulty: float) -> float:
    """Return how well the nearest class mean tells images apart."""
    how = dataclasses.replace(HOW, difficulty=difficulty)
    data = draw(how, 20, TRAIN, 0, 2048)
    grey = data.images.mean(1).reshape(2048, -1)
    # Characters are light or dark: look at the distance from each image's own level.
    grey = np.abs(grey - np.median(grey, axis=1, keepdims=True))
    fit, judged = slice(0, 1536), slice(1536, 2048)
    means = np.stack([grey[fit][data.labels[fit] == c].mean(0) for c in range(7)])
    distances = ((grey[judged][:, None] - means) ** 2).sum(2)
    return float((distances.argmin(1) == data.labels[judged]).mean())


def test_difficulty_makes_it_difficult_and_nothing_gives_the_class_away() -> None:
    found = [separation(difficulty) for difficulty in (0.0, 0.5, 1.0)]
    assert found[0] > found[1] + 0.1 > found[2] + 0.1
    assert found[0] > 0.4
    assert found[2] < 0.35


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (DataSettings("glyphs"), r"side is None; .* at least 8"),
        (DataSettings("glyphs", side=7), r"side is 7; .* at least 8"),
        (DataSettings("glyphs", side=16, glyphs=GlyphSettings(classes=500)), r"classes is 500"),
        (
            DataSettings("glyphs", side=16, glyphs=GlyphSettings(test_images=9)),
            r"test_images is 9; allowed is at least one of each of the 10",
        ),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused(settings: DataSettings, told: str) -> None:
    with pytest.raises(UserError, match=told):
        facts(settings)

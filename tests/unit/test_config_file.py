"""Keys that stand twice in a config, and files that are no YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune3d.errors import ConfigError
from prune3d.workflow.config_file import check_config_file, check_config_files

ROOT = Path(__file__).resolve().parents[2]


def refusal(path: Path, content: bytes) -> str:
    """Return the one sentence with which a file is refused."""
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        check_config_file(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "seeds: [0]\nrun: [a]\nseeds: [1]\n",
            "'seeds' stands there twice, in line 1 and in line 3",
        ),
        (
            "defaults:\n  dense: {epochs: 3}\n  dense: {flip: true}\n",
            "'dense' stands there twice, in line 2",
        ),
        (
            "defaults:\n  dense: {epochs: 3, 'epochs': 4}\n",
            "'epochs' stands there twice, in line 2 and in",
        ),
        ("a:\n- x: 1\n  x: 2\n", "'x' stands there twice, in line 2 and in line 3"),
        (
            "experiments:\n  yes: {}\n  on: {}\n",
            "'True' stands there twice, in line 2 and in line 3",
        ),
        ("experiments:\n  1: {}\n  0x1: {}\n", "'1' stands there twice, in line 2 and in line 3"),
        ("a: &x {b: 1, b: 2}\nc: *x\n", "'b' stands there twice, in line 1"),
        ("a: 1\ndense: &x\n  b: *x\n", "line 2: what this anchor names holds an alias of itself"),
        ("a: &x [1, [*x]]\n", "line 1: what this anchor names holds an alias of itself"),
        ('{"seeds": [0],\n\t"seeds": [1]}', "'seeds' stands there twice"),
        ("defaults:\n\tdense: {epochs: 3}\n", "line 2, column 1, is no YAML: there is a tab"),
        ("a: [1\nb: 2\n", "line 2"),
        ("a: *nothing\n", "undefined alias"),
        ("a: 1\n---\nb: 1\n", "line 2"),
        ("a: \x00\n", "no YAML"),
        ("", "no sections of keys"),
        ("# nothing\n", "no sections of keys"),
        ("- a\n", "no sections of keys"),
        ("text\n", "no sections of keys"),
    ],
)
def test_what_would_be_lost_or_cannot_be_read_is_refused(
    tmp_path: Path, text: str, told: str
) -> None:
    assert told in refusal(tmp_path / "mine.yaml", text.encode())


def test_other_encodings_are_told_with_the_line(tmp_path: Path) -> None:
    told = refusal(tmp_path / "mine.yaml", "seeds: [0]\n# Größe\n".encode("latin-1"))
    assert "line 2, is no UTF-8" in told


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffseeds: [0]\n",
        "seeds: [0]\r\nrun: [a]\r\n",
        "a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: {<<: *x, <<: *x}\n",
        '{"seeds": [0], "run": ["a"]}',
        "a: {b: 1}\nc: {b: 1}\n",
        "seeds: [0]\n" + "a: &a [x]\n" + "b: [*a, *a]\n" * 1,
    ],
)
def test_what_is_right_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode())
    check_config_file(path)


def test_anchors_that_stand_for_anchors_take_no_time(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 200)]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines) + "\n")
    check_config_file(path)


def test_folders_and_missing_files_are_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.yaml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            check_config_file(path)


def test_the_shipped_files_are_right() -> None:
    check_config_files(ROOT.glob("config/*.yaml"))

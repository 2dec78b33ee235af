"""The documents as a site: links work, and one that does not is an error."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import prune3d

pytest.importorskip("sphinx", reason="the packages of requirements-docs.txt are not installed")

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs/site"))

from library_pages import write_pages  # noqa: E402


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the documents, with the library beside them."""
    for name in ("docs", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("api"))
    for path in (*ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "CITATION.cff"):
        shutil.copy(path, tmp_path)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    return tmp_path


def build(folder: Path, *pages: str) -> subprocess.CompletedProcess[str]:
    """Build some pages; that others are missing is no error, that a link leads nowhere is."""
    patterns = ",".join(["README.md", *pages])
    given = ["-D", f"include_patterns={patterns}", "-D", "suppress_warnings=toc", "-c", "docs/site"]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "--fail-on-warning", *given, ".", "site"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_links_between_the_repository_and_the_documents_work_in_the_site(copied: Path) -> None:
    (copied / "README.md").write_text("# Home\n\n[a part](docs/one.md#a-part)\n")
    (copied / "docs/one.md").write_text(
        "# One\n\n[home](../README.md#home) [config](../config/config.yaml)\n\n## A part\n"
    )
    done = build(copied, "docs/one.md")
    assert done.returncode == 0, done.stderr
    assert 'href="docs/one.html#a-part"' in (copied / "site/index.html").read_text()
    page = (copied / "site/docs/one.html").read_text()
    assert 'href="../README.html#home"' in page
    [given] = (copied / "site/_downloads").glob("*/config.yaml")
    assert given.read_bytes() == (ROOT / "config/config.yaml").read_bytes()


def test_a_link_that_leads_nowhere_is_an_error(copied: Path) -> None:
    broken = ["docs/gone.md", "docs/one.md#gone", "#gone", "config/gone.yaml"]
    links = "\n\n".join(f"[there]({name})" for name in broken)
    (copied / "README.md").write_text(f"# Home\n\n{links}\n")
    (copied / "docs/one.md").write_text("# One\n")
    done = build(copied, "docs/one.md")
    assert done.returncode != 0
    for line, name in zip((3, 5, 7, 9), broken, strict=True):
        assert re.search(rf"README.md:{line}: WARNING: .*gone", done.stderr), name


def test_the_library_has_a_page_for_each_room(tmp_path: Path) -> None:
    write_pages(ROOT / "scripts/prune3d", tmp_path)
    rooms = {f"prune3d.{door.parent.name}" for door in ROOT.glob("scripts/prune3d/*/__init__.py")}
    assert {path.stem for path in tmp_path.iterdir()} == {"prune3d", *rooms}
    door = (tmp_path / "prune3d.rst").read_text()
    functions = re.findall(r"autofunction:: prune3d\.(\w+)\n", door)
    assert functions == [name for name in prune3d.__all__ if not name.startswith("_")]
    page = (tmp_path / "prune3d.pruning.rst").read_text()
    assert ".. automodule:: prune3d.pruning.channels.follow\n" in page

"""The report in a real browser: every item opens, and the console tells of no error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import MISSING, Browser, browsing
from prune3d.report.titles import FIGURES, PAGES
from running import Project

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; .ci/run installs them"
)
ITEMS = """
const rows = [...document.querySelectorAll('nav table tr')];
return rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText.trim()))
  .filter(cells => cells.length > 2);
"""
CLICK = """
const row = [...document.querySelectorAll('nav table tr')].filter(
  row => row.querySelectorAll('td').length > 2)[arguments[0]];
row.querySelectorAll('a')[arguments[1]].click();
"""
SEEN = """
const image = document.querySelector('#app > div > div img');
const frame = document.querySelector('#app > div > div iframe');
return {
  image: image && image.complete ? image.naturalWidth : 0,
  frame: frame ? frame.src : '',
  caption: document.querySelector('nav').innerText,
};
"""


@pytest.fixture(scope="module")
def report(own_finished: Project) -> Path:
    """The report of the tiny run with all that may be in it, as `make report` writes it."""
    path = own_finished.folder / "results/report.html"
    more = {"latency": {"finals": True}, "ablations": ["degree", "samples"]}
    other = {"final": {"distillation": 0.5}, "policies": ["width"], "compared_with": "digits"}
    both = {"digits": more, "distilled": {**other, "latency": more["latency"]}}
    config = own_finished.with_config("whole", {"run": list(both), "experiments": both})
    wanted = ["--", "all", "results/report/landing.rst"]
    page = ["--report", "results/report.html"]
    page += ["--report-metadata", "results/report/metadata.yaml"]
    page += ["--report-stylesheet", "rules/captions/report.css"]
    for arguments in (["--cores", "2"], page):
        done = own_finished.run(*arguments, *wanted, config=config)
        assert done.returncode == 0, done.stderr[-5000:]
    return path


@pytest.mark.slow
def test_without_its_opening_text_the_report_says_how_to_get_it(
    clone_of_finished: Project,
) -> None:
    project = clone_of_finished
    (project.folder / "results/report/landing.rst").unlink(missing_ok=True)
    done = project.run("--report", "results/plain.html")
    assert done.returncode == 0, done.stderr[-5000:]
    assert "make report" in (project.folder / "results/plain.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser that all tests share."""
    with browsing() as window:
        yield window


def seen(browser: Browser, done: str) -> dict[str, Any]:
    """Return what the page shows, once it shows an image or a table."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found: dict[str, Any] = browser.run(SEEN)
        if found[done]:
            return found
        time.sleep(0.1)
    raise AssertionError(f"there is no {done}")


@pytest.mark.slow
def test_every_item_opens_without_an_error(
    report: Path, browser: Browser, own_finished: Project
) -> None:
    browser.resize(1280, 800)
    browser.open(report)
    landing = browser.run("return document.querySelector('#app > div > div.grow').innerText")
    assert "Run: digits (" in landing and "Claims" in landing
    opened = []
    for category in sorted(browser.run("return Object.keys(categories)")):
        browser.run("app.showCategory(arguments[0])", category)
        time.sleep(0.2)
        items = browser.run(ITEMS)
        assert items, category
        for i, (what, *_) in enumerate(items):
            browser.run("app.showCategory(arguments[0])", category)
            time.sleep(0.2)
            browser.run(CLICK, i, 0)
            shown = seen(browser, "image" if what.startswith("Figure") else "frame")
            assert shown["image"] > 100 or shown["frame"].startswith("data:text/html")
            browser.run(CLICK, i, 1)
            time.sleep(0.2)
            caption = browser.run(SEEN)["caption"]
            assert len(caption.partition("DESCRIPTION")[2].partition("SIZE")[0]) > 100, what
            opened.append(what)
    assert len(opened) == len(browser.run("return Object.keys(results)"))
    assert {title for _, title in PAGES.values()} <= set(opened)
    assert {title for _, title in FIGURES.values()} <= set(opened)
    assert browser.errors() == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_screen(report: Path, browser: Browser, width: int) -> None:
    browser.resize(width, 800)
    browser.open(report)
    time.sleep(1)
    for script in ("", "app.showCategory('1. Results')"):
        browser.run(script)
        time.sleep(0.3)
        assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.errors() == []


@pytest.mark.slow
def test_tables_of_the_report_are_pages_with_their_numbers(
    browser: Browser, own_finished: Project
) -> None:
    table = (own_finished.folder / "results/tables/policies.md").read_text().splitlines()
    browser.open(own_finished.folder / "results/report/policies.html")
    cells = browser.run(
        "return [...document.querySelectorAll('tr')].map(row => "
        "[...row.querySelectorAll('th, td')].map(cell => cell.innerText.trim()))"
    )
    written = [line.strip("| ").split(" | ") for line in table if line.startswith("| ")]
    assert cells == [row for row in written if row[0] != "---"]
    assert browser.errors() == []

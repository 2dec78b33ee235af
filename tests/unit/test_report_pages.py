"""The text that opens the report, and its pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from prune3d.optimize.predictor_file import VALIDATION
from prune3d.report.claims import VERDICTS
from prune3d.report.compared import ABLATIONS, DIFFERENCE
from prune3d.report.failures import FAILED
from prune3d.report.landing import MOST_CASES, landing
from prune3d.report.pages import page, preformatted, table_of
from prune3d.report.policies import LEFT_OUT, POLICIES
from prune3d.report.resources import COLUMNS
from prune3d.report.text import markdown
from prune3d.report.titles import FIGURES, PAGES
from prune3d.report.warnings import WARNINGS
from prune3d.report.written import ABLATED, write_report
from prune3d.workflow.provenance import PROVENANCE

ROOT = Path(__file__).resolve().parents[2]


def policy(name: str, budget: str | None, top1: float, **more: Any) -> dict[str, Any]:
    """Return a row of policies.csv."""
    row: dict[str, Any] = dict.fromkeys(POLICIES.columns)
    own = {"experiment": "digits", "budget": budget, "policy": name, "seeds": 3}
    means = {"test_top1_mean": top1, "test_top1_std": 0.01, "macs_ratio_mean": 0.246}
    return {**row, **own, **means, **more}


def verdict(claim: str, word: str) -> dict[str, Any]:
    """Return a row of claims.csv."""
    row: dict[str, Any] = dict.fromkeys(VERDICTS.columns)
    known = {"claim": claim, "statement": "It is so.", "experiment": "digits", "compared": "a - b"}
    return {**row, **known, "seeds": 3, "smallest_effect": 0.0, "verdict": word, "reason": "so"}


def choice(
    experiment: str, budget: str | None, lead: float, ends: tuple[float, float] | None
) -> dict[str, Any]:
    """Return a row of ablations.csv."""
    row: dict[str, Any] = dict.fromkeys(ABLATIONS.columns)
    names = {"experiment": experiment, "compared_with": "base", "budget": budget}
    means = {"macs_ratio": 0.5, "search_cost_macs": 1e9, "training_cost_macs": 1e9}
    both = {f"{name}{of}": value for name, value in means.items() for of in ("", "_compared")}
    known = {**names, **both, "policy": "width" if budget else "dense", "seeds": 3}
    known |= {"test_top1": 0.9, "test_top1_compared": 0.9 - lead}
    return {**row, **known, **dict(zip(DIFFERENCE, (lead, *(ends or (None, None))), strict=True))}


SUMMARY = [
    policy("dense", None, 0.95),
    policy("dwr", "quarter", 0.93),
    policy("depth", "quarter", 0.91, difference_to_dwr=-0.02, difference_to_dwr_low=-0.03),
    policy("width", "quarter", 0.92, difference_to_dwr=-0.01),
]
SUMMARY[2]["budget_used_mean"] = 0.744
CLAIMS = [verdict("one", "supported"), verdict("two", "refuted"), verdict("two", "supported")]
WARNING = {
    **{"experiment": "digits", "networks": 4, "better": 1, "network": "sample d80_w100_r100"},
    **{"dense_top1": 0.9, "pruned_top1": 0.95, "difference": 0.05, "noise": 0.01},
    "warning": "The dense network *is* behind.",
}
OUT = {"experiment": "digits", "seed": 0, "budget": "quarter", "policy": "resolution"}
FAILURE = {**OUT, "seed": 2, "policy": "width", "test_top1": 0.1, "reason": "as guessing"}
LEFT = [{**OUT, "reason": "too large"}]
SPENT = [{**dict.fromkeys(COLUMNS, "1"), "jobs": "7", "retries": "2", "seconds": "7200"}]
NETWORKS = [["digits", "digits", "resnet20"]]


def test_the_opening_tells_what_was_run_and_what_came_out_in_ten_lines() -> None:
    text = landing(NETWORKS, SUMMARY, CLAIMS, [WARNING], [FAILURE], LEFT, SPENT)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) <= 10 and all(len(line) < 400 for line in lines)
    assert "digits (resnet20 on digits); seeds: 3; budgets: quarter" in lines[0]
    assert "7 jobs, 2 hours together; 2 made again" in lines[1]
    long = [{**SPENT[0], "seconds": str(3600 * 1234.4)}]
    assert "1234 hours" in landing(NETWORKS, SUMMARY, CLAIMS, [WARNING], [FAILURE], LEFT, long)
    assert "dwr has 93.00 ± 1.00 % at 24.6 % of the MACs, the dense network 95.00" in lines[2]
    assert "the best rival is width with 92.00 ± 1.00 %, -1.00 points to dwr" in lines[2]
    assert "best rival is that of the highest mean; its difference is not corrected" in text
    assert "supported: one; refuted: two." in lines[3]
    assert r"The dense network \*is\* behind." in lines[4]
    assert "resolution at digits, quarter" in lines[4]
    assert "failed: width at digits, quarter, seed 2." in lines[4]
    assert "less of the budget than 97 %: depth at digits, quarter (74.4 %)." in lines[4]


def test_many_cases_are_told_by_their_numbers() -> None:
    rows = []
    for i in range(MOST_CASES + 1):
        rows += [policy("dwr", f"b{i}", 0.9), policy("width", f"b{i}", 0.89 if i else 0.95)]
    text = landing(NETWORKS, rows, CLAIMS, [], [], [], SPENT)
    assert f"highest mean accuracy in {MOST_CASES} of {MOST_CASES + 1} cases" in text
    assert "+1.00 points from the best rival" in text
    assert "**Warnings:** none." in text


def test_the_paper_run_on_glyphs_is_told_case_by_case() -> None:
    config = yaml.safe_load((ROOT / "config/paper/glyphs.yaml").read_text(encoding="utf-8"))
    runs = config["experiments"]
    cases = [(name, b["name"]) for name in config["run"] for b in runs[name]["budgets"]]
    rows = [
        policy(own, budget, top1, experiment=name)
        for name, budget in cases
        for own, top1 in (("dwr", 0.9), ("width", 0.89))
    ]
    lines = landing(NETWORKS, rows, CLAIMS, [], [], [], SPENT).splitlines()
    told = [line for line in lines if "dwr has 90.00" in line]
    assert len(told) == len(cases) and len([x for x in lines if x.startswith("- ")]) <= 10


@pytest.mark.parametrize("rival", ["depth", "random_point", "random_point_best", "dwr_allocated"])
def test_no_control_is_the_best_rival(rival: str) -> None:
    controls = ("random_channels", "random_blocks", "scratch_epochs", "scratch_budget")
    rows = [policy("dwr", "quarter", 0.9), policy(rival, "quarter", 0.88)]
    rows += [policy(name, "quarter", 0.95) for name in (*controls, "dense_longer")]
    text = landing(NETWORKS, rows, CLAIMS, [], [], [], SPENT)
    assert f"the best rival is {rival}".replace("_", r"\_") in text


def test_nothing_that_a_run_names_is_markup() -> None:
    from docutils.core import publish_parts

    names = [["a_b*c`|", "digits", "path/to_|net|.py:make_"]]
    text = landing(names, SUMMARY, CLAIMS, [], [], [], SPENT)
    html = publish_parts(text, writer="html", settings_overrides={"report_level": 5})["body"]
    assert "system-message" not in html and "problematic" not in html
    assert "a_b*c`| (path/to_|net|.py:make_ on digits)" in html


def test_a_page_has_the_cells_of_its_table_and_the_list_below() -> None:
    rows = [["dwr", "90 ± 1 < 2"], ["a & b", "see https://example.org/x?a=1"]]
    text = markdown(["policy", "top-1"], rows) + "\n- one note\n- another\n\nA paragraph.\n"
    root = ET.fromstring(page("Title & more", text).partition("\n")[2])
    cells = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    assert cells == [["policy", "top-1"], *rows]
    assert [item.text for item in root.iter("li")] == ["one note", "another"]
    assert [link.get("href") for link in root.iter("a")] == ["https://example.org/x?a=1"]
    assert root.find("body/h1").text == "Title & more"  # type: ignore[union-attr]
    assert [p.text for p in root.iter("p")] == ["A paragraph."]


def test_columns_of_names_are_aligned_left_with_their_headings_and_numbers_right() -> None:
    rows = [
        ["1", "half", "-0.3 [-1, 1]", "5.35 G", "-"],
        ["2", "-", "-", "0", "a long reason " * 3],
    ]
    text = markdown(["seed", "budget", "difference", "cost", "reason"], rows)
    root = ET.fromstring(page("t", text).partition("\n")[2])
    expected = [True, True, False, False, True]
    for row in root.iter("tr"):
        assert ["name" in cell.get("class", "").split() for cell in row] == expected
    *_, last = root.iter("td")
    assert "text" in last.get("class", "").split()


def test_preformatted_text_keeps_its_lines() -> None:
    assert "<pre>a:\n  b: &lt;1&gt;</pre>" in page("t", preformatted("a:\n  b: <1>"))


def test_a_missing_value_is_a_dash() -> None:
    assert table_of([{"a_b": None, "c": 0}], ["a_b", "c"]).endswith("| - | 0 |\n")


def test_the_files_of_the_report_are_written(tmp_path: Path) -> None:
    tables = {"policies": POLICIES, "claims": VERDICTS, "left_out": LEFT_OUT, "warnings": WARNINGS}
    tables |= {"failed": FAILED}
    rows = {"policies": SUMMARY, "claims": CLAIMS, "left_out": LEFT, "warnings": [WARNING]}
    rows |= {"failed": [FAILURE]}
    files = {name: tmp_path / f"{name}.csv" for name in (*tables, "resources")}
    for name, kind in tables.items():
        kind.write(files[name], rows[name])
    files["resources"].write_text(f"{','.join(COLUMNS)}\n{','.join(SPENT[0].values())}\n")
    texts = []
    for name in ("policies", "recovery", "latency", "claims", "published", "forecasts"):
        texts.append(str(tmp_path / f"{name}.md"))
        Path(texts[-1]).write_text(markdown(["a", name], [["x", "1"]]))
    ablations = [tmp_path / f"digits_ablation_{name}.md" for name in ABLATED]
    for path in ablations:
        path.write_text(markdown(["a", path.stem], [["x", "1"]]) + "\nHow to read it.\n")
    compared = tmp_path / "ablations.csv"
    ABLATIONS.write(compared, [choice("distilled", "half", 0.01, (0.002, 0.018))])
    run = tmp_path / "results/digits/seed0/dense/provenance.json"
    known = {"prune3d": "0.1", "python": "3.11", "machine": "m", "versions": {"torch": "2.9.9"}}
    PROVENANCE.write(run, {**known, "seconds": {"job": 1.0}, "steps": {}})
    # A run may be taken up again on another node.
    later = tmp_path / "results/digits/seed1/dense/provenance.json"
    known |= {"versions": {"torch": "2.10.0", "numpy": "2.3.4"}}
    PROVENANCE.write(later, {**known, "seconds": {"job": 1.0}, "steps": {}})
    names = [name for name in PAGES if name != "predictors"]
    output = {name: tmp_path / f"out/{name}.html" for name in names}
    output |= {"landing": tmp_path / "out/landing.rst", "metadata": tmp_path / "out/metadata.yaml"}
    validation = tmp_path / "results/digits/seed7/predictor/validation.json"
    VALIDATION.write(validation, {"left_out": ["d100_w30_r100"], "predictors": {}})
    given = SimpleNamespace(
        **files,
        texts=texts,
        ablations=[str(path) for path in ablations],
        compared=[str(compared)],
        provenance=[str(run), str(later)],
        validation=[str(validation)],
    )
    write_report(given, SimpleNamespace(**output), NETWORKS, {"seeds": [0], "run": ["digits"]})
    assert all(path.stat().st_size for path in output.values())
    assert ">too large</td>" in output["warnings"].read_text()
    assert "The dense network *is* behind." in output["warnings"].read_text()
    wreck = '<td class="name">digits</td><td>7</td><td class="name">d100_w30_r100</td>'
    assert wreck in output["warnings"].read_text()
    assert ">width</td>" in output["warnings"].read_text()
    choices = output["choices"].read_text()
    assert ">distilled</td>" in choices and ">+1.00 [+0.20, +1.80]</td>" in choices
    assert "distilled to base, width at half (+1.00)" in output["landing"].read_text()
    shown = output["ablations"].read_text()
    for name, what in ABLATED.items():
        assert f"<h2>digits: {what}</h2>\n" in shown
        assert f"<th>digits_ablation_{name}</th>" in shown  # a column of numbers
    assert shown.count("<p>How to read it.</p>") == len(ABLATED)
    configuration = output["configuration"].read_text()
    assert ">2.9.9, 2.10.0</td>" in configuration and ">2.3.4</td>" in configuration
    assert "seeds:\n- 0" in configuration
    metadata = yaml.safe_load(output["metadata"].read_text())
    # Text would be taken to pieces.
    assert metadata == {"Experiments": 1, "Jobs": 7}


@pytest.mark.parametrize("name", sorted({*PAGES, *FIGURES}))
def test_every_item_has_a_caption_that_says_what_it_does_not_show(name: str) -> None:
    text = (ROOT / f"rules/captions/{name}.rst").read_text()
    assert len(text) > 150
    assert re.search(r"\b(does|is|was|do) not\b|nothing", text)


def test_the_opening_tells_which_choices_differ_beyond_their_intervals() -> None:
    choices = [
        choice("steps", "half", -0.004, (-0.02, 0.012)),
        choice("distilled", "half", 0.01, (0.002, 0.018)),
        choice("sparse", None, -0.03, (-0.04, -0.02)),
        choice("same", "half", 0.0, None),
    ]
    # Ten lines even with as many cases as are told one by one.
    rows = [policy("dwr", f"b{i}", 0.9) for i in range(MOST_CASES - 1)]
    text = landing(NETWORKS, rows, CLAIMS, [], [], [], SPENT, choices)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) == 10
    told = "sparse to base, dense (-3.00), distilled to base, width at half (+1.00)"
    counted = "4 comparisons of experiments, 3 with an interval, of which 2 do not hold 0"
    assert f"- **Choices:** {counted}: {told}." in lines
    more = landing(NETWORKS, [*rows, policy("dwr", "b9", 0.9)], CLAIMS, [], [], [], SPENT, choices)
    assert "**Results:**" in more
    assert "**Choices:**" not in landing(NETWORKS, rows, CLAIMS, [], [], [], SPENT)

"""Which code makes what: a digest changes with what a script may compute, and with nothing else."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from prune3d.workflow import sources

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def looked_through(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the scripts and of the library, with what is remembered of them."""
    folder = tmp_path_factory.mktemp("looked_through") / "scripts"
    shutil.copytree(ROOT / "scripts", folder, ignore=shutil.ignore_patterns("__pycache__"))
    sources._modules(folder)
    return folder


@pytest.fixture
def copied(looked_through: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may change, and which the digests are of."""
    folder = tmp_path / "scripts"
    shutil.copytree(looked_through, folder)
    monkeypatch.setattr(sources, "SCRIPTS", folder)
    return folder


def digest(script: str) -> str:
    sources.digest_of.cache_clear()
    sources._modules.cache_clear()
    return sources.digest_of(script)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "script"),
    [
        ("train_dense.py", "train_dense"),
        ("prune3d/train/sgd.py", "train_dense"),
        ("prune3d/train/sgd.py", "finetune_sample"),
        ("prune3d/workflow/session.py", "finetune_final"),
        ("prune3d/pruning/width.py", "prune_sample"),
        ("prune3d/data/digits.py", "prepare_data"),
        ("prune3d/models/cifar_resnet.py", "train_dense"),
        ("prune3d/predictor/alternating.py", "fit_predictor"),
        ("prune3d/optimize/search.py", "find_optimum"),
        ("prune3d/report/policies.py", "tabulate_policies"),
        ("prune3d/report/figures.py", "plot_surface"),
    ],
)
def test_other_code_is_another_digest(copied: Path, file: str, script: str) -> None:
    before = digest(script)
    with (copied / file).open("a") as stream:
        stream.write("\nSOMETHING = 1\n")
    assert digest(script) != before


@pytest.mark.parametrize(
    ("file", "script"),
    [
        ("prune3d/report/policies.py", "train_dense"),
        ("prune3d/predictor/alternating.py", "finetune_sample"),
        ("prune3d/optimize/search.py", "finetune_final"),
        ("prune3d/pruning/width.py", "prepare_data"),
        ("prune3d/train/sgd.py", "prepare_data"),
        ("prune3d/train/sgd.py", "fit_predictor"),
        ("prune3d/workflow/lock.py", "train_dense"),
        ("prune3d/workflow/job.py", "train_dense"),
        ("plot_policies.py", "tabulate_policies"),
    ],
)
def test_code_that_has_no_part_in_a_result_reruns_nothing(
    copied: Path, file: str, script: str
) -> None:
    before = digest(script)
    with (copied / file).open("a") as stream:
        stream.write("\nSOMETHING = 1\n")
    assert digest(script) == before


def test_dates_comments_docstrings_and_layout_are_no_other_code(copied: Path) -> None:
    before = digest("train_dense")
    for path in copied.rglob("*.py"):
        os.utime(path)
    for name in ("train_dense.py", "prune3d/train/sgd.py"):
        path = copied / name
        path.write_text(f"# A new line.\n\n{path.read_text()}\n\n# The end.\n")
    edit(copied / "train_dense.py", '"""Train the dense', '"""Train, by all means, the dense')
    edit(copied / "train_dense.py", 'Session(job, stage="dense")', "Session(job, stage='dense' )")
    assert digest("train_dense") == before


def test_a_value_in_code_is_other_code(copied: Path) -> None:
    before = digest("train_dense")
    edit(copied / "train_dense.py", 'stage="dense"', 'stage="Dense"')
    assert digest("train_dense") != before


def remembered(scripts: Path) -> Path:
    (place,) = (scripts / "__pycache__").glob("sources.*.json")
    return place


def test_what_was_parsed_is_remembered(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest("train_dense")
    assert remembered(copied).is_file()
    monkeypatch.setattr(sources, "_parse", lambda code: pytest.fail("it is parsed again"))
    assert digest("train_dense") == before


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', '{"a": []}', "\udcff"])
def test_what_is_remembered_may_be_damaged(copied: Path, content: str) -> None:
    before = digest("train_dense")
    remembered(copied).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert digest("train_dense") == before


def test_nothing_need_be_remembered(copied: Path) -> None:
    before = digest("train_dense")
    shutil.rmtree(copied / "__pycache__")
    (copied / "__pycache__").touch()
    assert digest("train_dense") == before


def test_a_file_that_is_no_python_is_in_nobodys_way(copied: Path) -> None:
    before = digest("train_dense")
    (copied / "mine.py").write_text("print 'Python 2'\n")
    (copied / "gone.py").symlink_to("nowhere.py")
    (copied / "folder.py").mkdir()
    assert digest("train_dense") == before


def test_a_module_that_is_new_counts(copied: Path) -> None:
    """It was named before it was there."""
    edit(copied / "train_dense.py", "\nfrom prune3d", "\nLATER = 'prune3d.later'\nfrom prune3d")
    before = digest("train_dense")
    (copied / "prune3d/later.py").write_text("X = 1\n")
    assert digest("train_dense") != before


def test_a_file_of_data_counts_where_it_is_named(copied: Path) -> None:
    def both() -> tuple[str, str]:
        sources.digest_of.cache_clear()
        plain = sources.digest_of("tabulate_claims")
        return plain, sources.digest_of("tabulate_claims", "report/claims.yaml")

    before = both()
    edit(copied / "prune3d/report/claims.yaml", "0.005", "0.006")
    after = both()
    assert after[0] == before[0] and after[1] != before[1]


def test_what_a_job_imports_is_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the interpreter: what a training really imports, lazily or not."""
    code = (ROOT / "scripts/train_dense.py").read_text()
    found = set(sources.used_modules("train_dense")) | set(sources.WITHOUT_PART)
    loaded: dict[str, ModuleType] = {}
    for line in code.splitlines():
        if line.strip().startswith("from prune3d"):
            exec(line.strip(), loaded)
    modules = {name for name in sys.modules if name.startswith("prune3d.")}
    direct = {value.__module__ for value in loaded.values() if hasattr(value, "__module__")}
    assert {name for name in direct & modules if name.startswith("prune3d.")} <= found


def test_every_rule_has_the_digest_of_its_own_script() -> None:
    import re

    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"\nrule ", path.read_text())[1:]:
            name = rule.split(":")[0]
            assert f'code=digest_of("{name}"' in rule, name

"""The package holds what the library reads, and works where it is installed."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "scripts/prune3d"
OFFLINE = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package from a copy, so that nothing is left beside the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(LIBRARY, copy / "scripts/prune3d", ignore=ignored)
    run(sys.executable, "-m", "pip", "wheel", *OFFLINE, "--no-build-isolation", "-w", copy, copy)
    [made] = copy.glob("*.whl")
    return made


def run(*command: object, folder: Path | None = None) -> str:
    """Run a command without this checkout's library; return what it prints."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_every_file_of_the_library_is_in_the_wheel(wheel: Path) -> None:
    files = {
        str(path.relative_to(LIBRARY.parent))
        for path in LIBRARY.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "prune3d/models/facts.json" in files
    assert files <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_the_installed_package_is_used_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, in which what it depends on is taken from this one's."""
    venv.create(tmp_path / "clean", with_pip=False, symlinks=True)
    python = tmp_path / "clean/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", *OFFLINE, wheel)
    [packages] = (tmp_path / "clean").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(p for p in sys.path if "-packages" in p))
    code = """
import prune3d
from prune3d.models.registry import facts
order = ["layer1.1", "layer2.2", "layer3.1"]
model = prune3d.build("resnet20", num_classes=10, image_size=32)
small = prune3d.prune(model, depth=0.7, width=0.5, removal_order=order)
prune3d.save(small, "small.safetensors")
assert prune3d.cost(prune3d.load("small.safetensors")) == prune3d.cost(small)
assert facts("resnet20") is not None
print(prune3d.__file__)
"""
    place = run(python, "-c", code, folder=tmp_path).strip()
    assert Path(place) == packages / "prune3d/__init__.py"
    # As without the extra: a line of a .pth file is run at the start.
    bare = packages / "bare.pth"
    bare.write_text("import sys; sys.modules.update(onnx=None, onnxruntime=None)")
    command = tmp_path / "clean/bin/prune3d"
    assert "deliver" in run(command, "--help", folder=tmp_path)
    assert "layer1.0" in run(command, "inspect", "resnet20", folder=tmp_path)
    told = run(command, "cost", "resnet20", "--json", folder=tmp_path)
    assert json.loads(told)["networks"][0]["macs"] == 40_813_184
    bare.unlink()
    run(command, "export", "small.safetensors", folder=tmp_path)
    assert (tmp_path / "small.onnx").exists()


def test_dependencies_are_named_as_the_workflow_pins_them() -> None:
    """What the package asks for, its extras included, is what is tested here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {"onnx", "slurm", "tensorboard", "timm"} <= set(extras)
    pinned = {
        line.partition("==")[0]
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text().splitlines()
    }
    asked = [*project["dependencies"], *(one for named in extras.values() for one in named)]
    assert {one.partition(">=")[0].partition("==")[0] for one in asked} <= pinned


def test_what_the_library_imports_is_a_dependency_or_of_an_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(one for named in extras for one in named)]
    declared = {one.partition(">=")[0] for one in asked}
    known = metadata.packages_distributions()
    for path in LIBRARY.rglob("*.py"):
        for name in imported_packages(path) - sys.stdlib_module_names - {"prune3d"}:
            assert declared & {one.lower() for one in known[name]}, f"{path}: {name}"


def imported_packages(path: Path) -> set[str]:
    """Return the top names of what a file imports, within functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found

"""Files of one's own: which are run and when, what they find, and what is said where they fail."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import prune3d
from prune3d.errors import CheckpointError, UserError
from prune3d.models import own
from prune3d.models.sources import read_sources
from prune3d.pruning.options import CHANNEL_CRITERIA, resolve_criterion

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NET = """
from torch import nn
{imports}

def make(num_classes):
    {inner}
    return nn.Sequential(nn.Conv2d(3, WIDTH, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(WIDTH, num_classes))
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def project(folder: Path, imports: str = "", inner: str = "pass", **files: str) -> str:
    """Write a network whose width comes from an import, and return its name."""
    write(folder, {"net.py": NET.format(imports=imports, inner=inner)})
    write(folder, {f"{name}.py": text for name, text in files.items()})
    return f"{folder / 'net.py'}:make"


def width(name: str) -> int:
    model = prune3d.build(name, 5, 8)
    return model.get_submodule("0").out_channels


def labels(name: str) -> list[str]:
    return list(read_sources(Path(name.rpartition(":")[0])).digests)


def refusal(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


IMPORTS = {
    "beside": ("from parts import WIDTH", {"parts": "WIDTH = 7"}, ["net.py", "parts.py"]),
    "module": (
        "import parts\nWIDTH = parts.WIDTH",
        {"parts": "WIDTH = 7"},
        ["net.py", "parts.py"],
    ),
    "star": ("from parts import *", {"parts": "WIDTH = 7"}, ["net.py", "parts.py"]),
    "relative": ("from .parts import WIDTH", {"parts": "WIDTH = 7"}, ["net.py", "parts.py"]),
    "relative module": (
        "from . import parts\nWIDTH = parts.WIDTH",
        {"parts": "WIDTH = 7"},
        ["net.py", "parts.py"],
    ),
    "transitive": (
        "from parts import WIDTH",
        {"parts": "from numbers_of_mine import WIDTH", "numbers_of_mine": "WIDTH = 7"},
        ["net.py", "numbers_of_mine.py", "parts.py"],
    ),
    "package": (
        "from lib.sizes import WIDTH",
        {"lib/__init__": "", "lib/sizes": "from .deep import WIDTH", "lib/deep": "WIDTH = 7"},
        ["lib/__init__.py", "lib/deep.py", "lib/sizes.py", "net.py"],
    ),
    "package's own": (
        "from lib import WIDTH",
        {"lib/__init__": "from .sizes import WIDTH", "lib/sizes": "WIDTH = 7"},
        ["lib/__init__.py", "lib/sizes.py", "net.py"],
    ),
    "submodule": (
        "import lib.sizes as sizes\nimport lib.sizes\nWIDTH = lib.sizes.WIDTH",
        {"lib/__init__": "", "lib/sizes": "WIDTH = 7"},
        ["lib/__init__.py", "lib/sizes.py", "net.py"],
    ),
    "submodule by its package": (
        "from lib import sizes\nWIDTH = sizes.WIDTH",
        {"lib/__init__": "", "lib/sizes": "WIDTH = 7"},
        ["lib/__init__.py", "lib/sizes.py", "net.py"],
    ),
    "folder without a file": (
        "from lib.sizes import WIDTH",
        {"lib/sizes": "WIDTH = 7"},
        ["lib/sizes.py", "net.py"],
    ),
    "in a circle": (
        "WIDTH = 7\nimport parts",
        {"parts": "import net\nfrom net import WIDTH"},
        ["net.py", "parts.py"],
    ),
    "import_module": (
        "import importlib\nWIDTH = importlib.import_module('parts').WIDTH",
        {"parts": "WIDTH = 7"},
        ["net.py", "parts.py"],
    ),
    "computed": (
        "from importlib import import_module\n"
        "WIDTH = import_module('.'.join(['lib', 'sizes'])).WIDTH",
        {"lib/__init__": "", "lib/sizes": "WIDTH = 7"},
        ["lib/__init__.py", "lib/sizes.py", "net.py"],
    ),
    "a folder put on the path": (
        "import sys\nfrom pathlib import Path\nHERE = Path(__file__).resolve().parent\n"
        "sys.path.insert(0, str(HERE / 'lib'))\nfrom sizes import WIDTH",
        {"lib/sizes": "WIDTH = 7"},
        ["net.py", "sizes.py"],
    ),
    "a folder above": (
        "import os, sys\n"
        "sys.path.append(os.path.join(os.path.dirname(__file__), '..', 'shared'))\n"
        "from sizes import WIDTH",
        {"../shared/sizes": "WIDTH = 7"},
        ["net.py", "sizes.py"],
    ),
    "a file by its path": (
        "import importlib.util\nfrom pathlib import Path\n"
        "s = importlib.util.spec_from_file_location('p', Path(__file__).with_name('parts.py'))\n"
        "m = importlib.util.module_from_spec(s)\ns.loader.exec_module(m)\nWIDTH = m.WIDTH",
        {"parts": "from more import WIDTH", "more": "WIDTH = 7"},
        ["more.py", "net.py", "parts.py"],
    ),
    "like one of the standard library": (
        "from statistics import WIDTH",
        {"statistics": "WIDTH = 7"},
        ["net.py", "statistics.py"],
    ),
}


@pytest.mark.parametrize("place", ["top", "function"])
@pytest.mark.parametrize("case", IMPORTS)
def test_neighbours_are_found_and_known(case: str, place: str, tmp_path: Path) -> None:
    imports, files, expected = IMPORTS[case]
    if place == "function":
        if case in ("star", "in a circle"):
            pytest.skip("not within a function")
        name = project(tmp_path / "a", inner=imports.replace("\n", "\n    "), **files)
    else:
        name = project(tmp_path / "a", imports=imports, **files)
    before, modules = list(sys.path), set(sys.modules)
    assert width(name) == 7
    assert labels(name) == expected
    assert sys.path == before
    new = {m for m in set(sys.modules) - modules if not m.startswith("prune3d_own_")}
    assert not new & {"parts", "lib", "sizes", "lib.sizes", "net", "more"}


@pytest.mark.parametrize("file", ["net.py", "__init__.py"])
def test_a_file_of_a_package_may_import_from_above_its_folder(file: str, tmp_path: Path) -> None:
    files = {
        "lib/__init__.py": "",
        "lib/sizes.py": "WIDTH = 7",
        "lib/nets/__init__.py": "from .net import make",
        "lib/nets/net.py": NET.format(imports="from ..sizes import WIDTH", inner="pass"),
    }
    write(tmp_path, files)
    name = f"{tmp_path / 'lib/nets' / file}:make"
    assert width(name) == 7
    assert labels(name) == sorted(files)
    model = prune3d.build(name, 5, 8)
    prune3d.save(model, tmp_path / "m.safetensors")
    (tmp_path / "lib/sizes.py").write_text("WIDTH = 8")
    told = refusal(lambda: prune3d.load(tmp_path / "m.safetensors", code=name))
    assert f"{tmp_path / 'lib/sizes.py'}, part of" in told


def test_a_files_name_may_have_dots(tmp_path: Path) -> None:
    write(tmp_path, {"net.v1.5.py": NET.format(imports="WIDTH = 6", inner="pass")})
    assert width(f"{tmp_path / 'net.v1.5.py'}:make") == 6


def test_what_a_file_sets_for_all_of_torch_is_taken_back(tmp_path: Path) -> None:
    sets = "import torch\ntorch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)"
    model = prune3d.build(project(tmp_path, f"{sets}\nWIDTH = 6"), 5, 8)
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("way", ["torch.inference_mode()", "torch.device('meta')"])
def test_weights_that_cannot_be_given_values_are_told(way: str, tmp_path: Path) -> None:
    network = NET.format(imports="import torch\nWIDTH = 6", inner="pass")
    write(tmp_path, {"net.py": f"{network}\ndef other(num_classes):\n    with {way}:\n"})
    with (tmp_path / "net.py").open("a") as file:
        file.write("        return make(num_classes)\n")
    assert "'0.weight'" in refusal(lambda: prune3d.build(f"{tmp_path / 'net.py'}:other", 5, 8))


def test_two_projects_have_neighbours_of_one_name(tmp_path: Path) -> None:
    late = "from parts import WIDTH"
    one = project(tmp_path / "one", inner=late, parts="WIDTH = 3")
    two = project(tmp_path / "two", inner=late, parts="WIDTH = 4")
    assert [width(name) for name in (one, two, one)] == [3, 4, 3]


def test_a_neighbour_that_a_forward_pass_imports_is_the_networks_own(tmp_path: Path) -> None:
    text = (
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.n = num_classes\n\n    def forward(self, x):\n"
        "        from parts import SCALE\n        return SCALE * x.mean((1, 2, 3))[:, None]"
        ".expand(-1, self.n)\n"
    )
    nets = []
    for scale in (2, 3):
        write(tmp_path / str(scale), {"net.py": text, "parts.py": f"SCALE = {scale}"})
        nets.append(prune3d.build(f"{tmp_path / str(scale) / 'net.py'}:Net", 5, 8))
    ones = torch.ones(1, 3, 8, 8)
    assert [float(net(ones)[0, 0]) for net in nets] == [2, 3]


def test_a_changed_neighbour_makes_another_network(tmp_path: Path) -> None:
    name = project(tmp_path, "from parts import WIDTH", parts="WIDTH = 3")
    assert width(name) == 3
    (tmp_path / "parts.py").write_text("WIDTH = 4")
    assert width(name) == 4


def test_what_runs_only_as_a_program_is_no_neighbour(tmp_path: Path) -> None:
    end = "WIDTH = 3\nif __name__ == '__main__':\n    import parts"
    assert labels(project(tmp_path, end, parts="raise SystemExit")) == ["net.py"]


def test_broken_neighbours_are_known_and_told(tmp_path: Path) -> None:
    name = project(tmp_path, "from parts import WIDTH", parts="WIDTH = (")
    assert labels(name) == ["net.py", "parts.py"]
    assert "SyntaxError" in refusal(lambda: width(name))


def test_classes_of_neighbours_can_be_copied_and_pickled(tmp_path: Path) -> None:
    name = project(
        tmp_path,
        "from dataclasses import dataclass\nfrom parts import Conv\nWIDTH = 3\n"
        "def net(num_classes):\n    return nn.Sequential(Conv(3, num_classes, 8), nn.Flatten())",
        parts="from torch import nn\nclass Conv(nn.Conv2d):\n    pass",
    ).replace(":make", ":net")
    model = prune3d.build(name, 5, 8)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(copied[0]) is type(model[0]) and type(model[0]).__name__ == "Conv"


ENDINGS = {
    "sys.exit": "import sys\nsys.exit(0)",
    "argparse": "import argparse\np = argparse.ArgumentParser()\n"
    "p.add_argument('--data', required=True)\np.parse_args()",
    "quit": "raise SystemExit('bye')",
    "exception": "raise KeyError('several\\nlines')",
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("place", ["imported", "called", "neighbour"])
def test_a_file_that_ends_the_process_or_fails_is_told(
    ending: str, place: str, tmp_path: Path
) -> None:
    text = ENDINGS[ending]
    if place == "imported":
        name = project(tmp_path, text)
    elif place == "called":
        name = project(tmp_path, inner=text.replace("\n", "\n    "))
    else:
        name = project(tmp_path, "import parts", parts=text)
    text = refusal(lambda: width(name))
    assert "net.py:make'" in text and ("SystemExit" in text or "KeyError" in text)


def test_a_forward_pass_that_ends_the_process_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import sys\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n\n"
        "    def forward(self, x):\n        sys.exit(3)\n"
    )
    assert "SystemExit: 3" in refusal(lambda: prune3d.build(f"{tmp_path / 'net.py'}:Net", 5, 8))


def test_a_command_line_is_not_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["snakemake", "--cores", "3"])
    name = project(
        tmp_path,
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--width', default=6)\n"
        "WIDTH = p.parse_args().width",
    )
    assert width(name) == 6
    assert sys.argv == ["snakemake", "--cores", "3"]


@pytest.mark.parametrize("name", ["score", "ends"])
def test_a_criterion_that_fails_or_ends_the_process_is_told(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import sys\ndef score(group, generator):\n    return group.nothing\n"
        "def ends(group, generator):\n    sys.exit()\n"
    )
    criterion = resolve_criterion(CHANNEL_CRITERIA, f"{file}:{name}")
    assert f"mine.py:{name}' failed when called" in refusal(lambda: criterion(object(), None))


@pytest.mark.parametrize(
    "text",
    [
        "if True:\n    def make(num_classes): return nn.Flatten()",
        "try:\n    import nothing_of_that_name\nexcept ImportError:\n    make = nn.Flatten",
        "make, other = nn.Flatten, 3",
        "make: type = nn.Flatten",
        "from parts import *",
    ],
)
def test_names_are_found_wherever_a_file_gives_them(text: str, tmp_path: Path) -> None:
    write(tmp_path, {"net.py": f"from torch import nn\n{text}\n"})
    write(tmp_path, {"parts.py": "from torch import nn\nmake = nn.Flatten"})
    assert isinstance(own.build(f"{tmp_path / 'net.py'}:make", 5, 8, 3), nn.Module)


def test_a_name_that_no_import_gives_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"net.py": "from parts import *", "parts.py": ""})
    assert "has no 'make'" in refusal(lambda: width(f"{tmp_path / 'net.py'}:make"))


LOAD = """
import sys
sys.path.insert(0, {scripts!r})
import prune3d
from prune3d.errors import UserError
try:
    print(type(prune3d.load({path!r}{code})).__name__)
except UserError as error:
    print(error)
"""


def load_elsewhere(path: Path, code: str | None = None) -> str:
    """Load a model file in a process that has run nothing before, and return what it says."""
    given = "" if code is None else f", code={code!r}"
    text = LOAD.format(scripts=str(SCRIPTS), path=str(path), code=given)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def saved(tmp_path: Path) -> tuple[str, Path]:
    """Return the name of a network that leaves a mark when its file is run, and its model file."""
    mark = "from pathlib import Path\nPath(__file__).with_name('mark').touch()\n"
    name = project(tmp_path / "a", f"{mark}from parts import WIDTH", parts="WIDTH = 3")
    prune3d.save(prune3d.build(name, 5, 8), tmp_path / "model.safetensors")
    (tmp_path / "a/mark").unlink()
    return name, tmp_path / "model.safetensors"


def test_code_that_nobody_named_is_not_run(saved: tuple[str, Path]) -> None:
    name, path = saved
    said = load_elsewhere(path)
    assert said.startswith(f"{path} ") and "pass code=" in said and name in said
    assert "\n" not in said
    assert not path.with_name("a").joinpath("mark").exists()


def test_code_that_the_caller_names_is_run(saved: tuple[str, Path]) -> None:
    name, path = saved
    assert load_elsewhere(path, name) == "Sequential"
    assert path.with_name("a").joinpath("mark").exists()


def test_code_may_have_moved(saved: tuple[str, Path]) -> None:
    _, path = saved
    path.with_name("a").rename(path.with_name("b"))
    assert load_elsewhere(path, str(path.with_name("b") / "net.py")) == "Sequential"


@pytest.mark.parametrize("changed", ["net.py", "parts.py"])
def test_changed_code_is_not_run(changed: str, saved: tuple[str, Path]) -> None:
    name, path = saved
    file = path.with_name("a") / changed
    file.write_text(file.read_text() + "\n# changed\n")
    said = load_elsewhere(path, name)
    assert f"{changed}, part of" in said and "has changed" in said
    assert not path.with_name("a").joinpath("mark").exists()


def test_a_neighbour_that_is_gone_is_told(saved: tuple[str, Path]) -> None:
    name, path = saved
    path.with_name("a").joinpath("parts.py").unlink()
    assert "parts.py, part of" in load_elsewhere(path, name)


def test_another_function_than_that_of_the_file_is_not_called(saved: tuple[str, Path]) -> None:
    name, path = saved
    said = load_elsewhere(path, name.replace(":make", ":Path"))
    assert "but code names" in said


def test_what_this_process_has_built_can_be_loaded(saved: tuple[str, Path]) -> None:
    assert isinstance(prune3d.load(saved[1]), nn.Sequential)


def test_a_network_remembers_the_code_it_was_built_by(tmp_path: Path) -> None:
    name = project(tmp_path, "from parts import WIDTH", parts="WIDTH = 3")
    model = prune3d.build(name, 5, 8)
    (tmp_path / "parts.py").write_text("WIDTH = 4")
    prune3d.build(name, 5, 8)
    prune3d.save(model, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"parts\.py, part of"):
        prune3d.load(tmp_path / "a.safetensors")


def test_networks_of_ones_own_can_be_trained_by_several_processes(tmp_path: Path) -> None:
    from prune3d.data.images import ImageSet
    from prune3d.train import Compute, Recipe, train

    name = project(
        tmp_path,
        "from parts import Conv\n\ndef net(num_classes):\n    return nn.Sequential("
        "Conv(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, num_classes))",
        parts="from torch import nn\n\n\nclass Conv(nn.Conv2d):\n    pass",
    ).replace(":make", ":net")
    pixels = torch.randint(0, 256, (32, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    images = ImageSet(pixels.byte(), torch.arange(32) % 5, (0.5,) * 3, (0.25,) * 3)
    recipe = Recipe(epochs=1, batch_size=16, learning_rate=0.01, shift=0)
    model = prune3d.build(name, 5, 8)
    before = model[0].weight.detach().clone()
    train(model, images, recipe, 1, compute=Compute(processes=2))
    assert not torch.equal(before, model[0].weight)

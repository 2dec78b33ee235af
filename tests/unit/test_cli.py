"""The command line: every example runs, and the numbers are those of the library."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import prune3d
from prune3d.cli.main import app, run
from prune3d.cli.new import TRIALS, USUAL_MULTIPLE
from prune3d.data.images import ImageFiles, ImageSet
from prune3d.data.pictures import decode_square
from prune3d.models.lineage import Step, add_step
from prune3d.models.meaning import Meaning, get_meaning, set_meaning
from prune3d.optimize.rounds import RerankOptions
from prune3d.train.evaluate import evaluate
from prune3d.workflow.config import load_experiments, overlay
from prune3d.workflow.experiment import Experiment
from prune3d.workflow.paths import CONSTRAINTS, RESERVED
from prune3d.workflow.plan import Plan

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("ash", "elm", "fir", "oak")
MEAN, SPREAD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
COMMANDS = [command.callback.__name__ for command in app.registered_commands if command.callback]
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pictures in class folders, networks and an ONNX file."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 256, (23 + 5 * i, 40, 3)) // 2 + 40 * label
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / "pictures" / name / f"{i}.png")
    picture.save(folder / "one.png")
    picture.save(folder / "two.jpg")
    torch.manual_seed(3)
    dense = prune3d.build("resnet8", 4, 16).eval()
    set_meaning(dense, Meaning(CLASSES, MEAN, SPREAD, 0.9))
    add_step(dense, Step("train", 640, 1000, "dense"))
    prune3d.save(dense, folder / "dense.safetensors")
    prune3d.save(prune3d.build("resnet8", 4, 16).eval(), folder / "plain.safetensors")
    torch.save(dense.state_dict(), folder / "weights.pth")
    save_file(dense.state_dict(), folder / "weights.safetensors")
    small = prune3d.prune(dense, width=0.5, resolution=0.75)
    prune3d.save(small, folder / "small.safetensors")
    with pytest.raises(SystemExit) as ended:
        run(["export", str(folder / "small.safetensors")])
    assert ended.value.code == 0
    return folder


@pytest.fixture
def say(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Say:
    """Return what runs a command line in a copy of it and gives exit code, output and errors."""
    monkeypatch.chdir(shutil.copytree(place, tmp_path / "copy"))

    def act(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        out, err = capsys.readouterr()
        return int(str(ended.value.code)), out, err

    return act


def examples(text: str) -> list[list[str]]:
    """Return the command lines of a text, those that are continued in one piece."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [shlex.split(line, comments=True) for line in lines if line.lstrip()[:8] == "prune3d "]
    return [line[1:] for line in found]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_every_command_run(name: str, say: Say) -> None:
    code, text, _ = say(name, "--help")
    assert code == 0
    found = examples(text.partition("Examples:")[2].partition("Arguments:")[0])
    assert len(found) >= 2
    for line in found:
        assert line[0] == name
        code, out, err = say(*line)
        assert (code, err) == (0, ""), line
        if "--json" in line:
            json.loads(out)


@pytest.mark.slow
def test_the_commands_of_the_page_run(say: Say) -> None:
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    found = examples("\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)))
    assert {line[0] for line in found} == set(COMMANDS)
    for line in found:
        code, _, err = say(*line)
        assert (code, err) == (0, ""), line


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from prune3d.cli.main import run\n"
        "try: run(['prune', '--help'])\n"
        "finally: sys.stderr.write(str('torch' in sys.modules or 'numpy' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "scripts")},
    )
    assert done.returncode == 0 and done.stderr == "False"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["bogus"], 2, "bogus"),
        (["prune", "resnet8"], 2, "--output"),
        (["prune", "resnet8", "-o", "x.safetensors"], 1, "nothing is to be pruned"),
        (["prune", "resnet8", "--macs", "much", "-o", "x"], 2, "--macs"),
        (["prune", "resnet8", "--macs", "2", "-o", "x"], 1, "macs is 2.0"),
        (["prune", "resnet8", "--depth", "0.5", "-o", "x"], 1, "--pictures"),
        (["cost", "resnet21"], 1, "unknown model 'resnet21'"),
        (["cost", "missing.safetensors"], 1, "missing.safetensors"),
        (["cost", "missing.py:network"], 1, "missing.py"),
        (["cost", "small.onnx"], 1, "ONNX"),
        (["cost", "small.safetensors", "--classes", "3"], 1, "--classes is for named"),
        (["cost", "timm/resnet18"], 1, "--classes"),
        (["evaluate", "one.png", "pictures"], 1, "one.png"),
        (["evaluate", "small.onnx", "missing"], 1, "missing"),
        (["evaluate", "two.onnx", "pictures"], 1, "two.onnx"),
        (["predict", "small.onnx", "missing.png"], 1, "missing.png does not exist or is no file."),
        (["predict", "small.onnx", "small.onnx"], 1, "not a readable picture"),
        (["evaluate", "small.onnx", "one.png"], 1, "one.png is no folder; give one that holds"),
        (["evaluate", "one.png", "pictures"], 1, "name another, or, if prune3d wrote it, delete"),
        (["export", "small.onnx"], 1, "small.onnx is an ONNX file; give the .safetensors"),
        (["deliver", "small.onnx", "-o", "x"], 1, "small.onnx is an ONNX file; give the"),
        (
            ["deliver", "small.safetensors", "-o", "one.png"],
            1,
            "one.png is no folder; name another",
        ),
        (["new", "one.png", "resnet8", "-o", "x.yaml"], 1, "one.png is no folder; give one"),
        (["new", "pictures", "resnet8", "-o", "one.png"], 1, "name another file, or move it away"),
        (["latency", "small.onnx", "--runtime", "torch"], 2, "onnxruntime"),
        (["latency", "small.onnx", "--runtime", "abacus"], 2, "abacus"),
        (["export", "dense.safetensors", "-o", "one.png/x.onnx"], 1, "one.png"),
        (["export", "small.safetensors", "-o", "small.safetensors"], 1, "would be lost"),
        (["prune", "dense.safetensors", "--width", "0.5", "-o", "dense.safetensors"], 1, "be lost"),
        (["prune", "dense.safetensors", "--width", "0.9999", "-o", "x"], 1, "nothing was pruned"),
        (["prune", "resnet8", "--depth", "0.7", "--remove", "elm", "-o", "x"], 1, "names elm"),
        (["cost", "network.py", "--classes", "4"], 1, "network.py:function"),
        (["cost", "resnet8", "--classes", "99999999"], 2, "--classes"),
        (["cost", "resnet8", "--side", "1" + "0" * 30], 2, "--side"),
        (["cost", "resnet8", "--channels", "1" + "0" * 30], 2, "--channels"),
        (["latency", "resnet8", "--threads", "1" + "0" * 30], 2, "--threads"),
        (["latency", "resnet8", "--batch", "1" + "0" * 30], 2, "--batch"),
        (["latency", "resnet8", "--runs", "1" + "0" * 30], 2, "--runs"),
        *(
            (["prune", "resnet8", option, value, "--remove", "layer1.0", "-o", "x"], 1, told)
            for option, told in (
                ("--depth", "depth is"),
                ("--width", "width is"),
                ("--resolution", "resolution is"),
                ("--macs", "macs is"),
            )
            for value in ("nan", "inf")
        ),
        # More than 47 bits can address.
        (["latency", "resnet8", "--side", "100000", "--batch", "1048576"], 1, "too little memory"),
        (["inspect", "weights.pth"], 1, "prune3d prune NAME --weights weights.pth."),
        (["cost", "weights.safetensors"], 1, "prune3d prune NAME --weights weights.safetensors."),
        (
            ["prune", "resnet8", "--width", "0.5", "--channel-criterion", "taylor", "-o", "x"],
            1,
            "--channel-criterion taylor needs --pictures to score the channels on",
        ),
        (["new", "pictures", "small.safetensors", "-o", "x.yaml"], 1, "model.checkpoint"),
        (["export", "plain.safetensors", "--bytes", "-o", "x.onnx"], 1, "plain.safetensors does"),
        (
            ["deliver", "plain.safetensors", "-o", "x", "--pictures", "pictures"],
            1,
            "plain.safetensors does not say mean",
        ),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    arguments: list[str], code: int, told: str, say: Say
) -> None:
    found, out, err = say(*arguments)
    assert (found, out) == (code, "")
    assert err.startswith("prune3d: ") and err.endswith(".\n") and err.count("\n") == 1
    assert told in err


def test_what_fails_leaves_nothing_and_loses_nothing(say: Say) -> None:
    before = Path("small.safetensors").read_bytes()
    assert say("export", "small.safetensors", "-o", "./small.safetensors")[0] == 1
    assert Path("small.safetensors").read_bytes() == before
    assert say("deliver", "small.safetensors", "-o", "new", "--pictures", "nowhere")[0] == 1
    assert not Path("new").exists()


NEEDS_ONNX = [
    "export dense.safetensors -o x.onnx",
    "export dense.safetensors --bytes -o x.onnx",
    "export dense.safetensors --int8 pictures -o x.onnx",
    "deliver dense.safetensors -o x",
    "latency dense.safetensors --runtime onnxruntime",
]


@pytest.mark.parametrize(
    ("package", "command"),
    [
        *((package, line) for package in ("onnx", "onnxruntime") for line in NEEDS_ONNX),
        ("onnxruntime", "evaluate small.onnx pictures"),
        ("onnxruntime", "latency small.onnx"),
    ],
)
def test_without_the_extra_its_name_is_told(
    package: str, command: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = say(*command.split())
    assert (code, err.count("\n")) == (1, 1)
    assert f"need {package}, which is not installed; install prune3d[onnx]." in err
    assert not Path("x").exists() and not Path("x.onnx").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_nothing_is_said_of_the_network(
    package: str, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    own = f"{Path(__file__).parent}/own/foreign.py:tied"
    code, out, err = say("inspect", own, "--classes", "4", "--side", "16", "--json")
    assert (code, err) == (0, "") and json.loads(out)["no_onnx"] is None
    assert say("new", "pictures", own, "--side", "16", "-o", "x.yaml")[0] == 0
    assert "ONNX" not in Path("x.yaml").read_text()


def test_a_new_config_keeps_channels_in_the_multiples_of_the_default_one(say: Say) -> None:
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert default["defaults"]["pruning"]["round_to"] == USUAL_MULTIPLE
    # Layers of 8 channels have no smaller multiple of 8.
    narrow = f"{Path(__file__).parent}/own/foreign.py:tied"
    for network, expected in {"resnet14": USUAL_MULTIPLE, narrow: 1}.items():
        assert say("new", "pictures", network, "--side", "16", "-o", f"{expected}.yaml")[0] == 0
        (own,) = yaml.safe_load(Path(f"{expected}.yaml").read_text())["experiments"].values()
        assert own["pruning"]["round_to"] == expected and own["sampling"]["width"]


def test_without_a_command_there_is_help(say: Say) -> None:
    code, out, err = say()
    assert (code, err) == (0, "") and all(name in out for name in COMMANDS)


def test_a_config_written_elsewhere_than_in_a_checkout_names_whole_paths(say: Say) -> None:
    code, out, _ = say("new", "pictures", "resnet8", "--side", "16", "-o", "mine.yaml")
    config = yaml.safe_load(Path("mine.yaml").read_text())
    assert code == 0 and str(Path("mine.yaml").resolve()) in out
    assert config["experiments"]["mine"]["data"]["root"] == str(Path("pictures").resolve())


def test_a_network_that_is_not_pruned_is_not_called_so(say: Say) -> None:
    assert say("deliver", "dense.safetensors", "-o", "new", "--runs", "1")[0] == 0
    assert "pruned" not in Path("new/README.md").read_text().replace("prune3d", "").lower()


def test_inspect_adds_up(say: Say) -> None:
    code, out, _ = say("inspect", "small.safetensors", "--json")
    told = json.loads(out)
    measured = prune3d.cost(prune3d.load("small.safetensors"))
    assert code == 0
    assert sum(layer["macs"] for layer in told["layers"]) == told["macs"] == measured.macs
    assert sum(layer["params"] for layer in told["layers"]) == told["params"] == measured.params
    assert {block["name"]: block["state"] for block in told["blocks"]}["layer1.0"] == "can go"
    _, text, _ = say("inspect", "small.safetensors")
    assert "layer2.0" in text and f"{measured.macs:,}" in text


def test_pruning_keeps_to_the_budget(say: Say) -> None:
    line = ["prune", "dense.safetensors", "--depth", "0.67", "--macs", "0.4"]
    code, out, _ = say(*line, "--pictures", "pictures", "-o", "new.safetensors", "--json")
    assert code == 0
    model, dense = (prune3d.load(f"{n}.safetensors") for n in ("new", "dense"))
    assert model.spec.removed_blocks == ("layer1.0",)
    ratio = prune3d.cost(model).macs / prune3d.cost(dense).macs
    assert 0.38 < ratio <= 0.4
    assert json.loads(out)["macs_ratio"] == ratio


@pytest.mark.parametrize("is_known", [True, False])
def test_grey_networks_are_scored_on_pictures_in_grey(is_known: bool, say: Say) -> None:
    grey = prune3d.build("resnet8", 4, 16, 1).eval()
    if is_known:
        set_meaning(grey, Meaning(CLASSES, MEAN[:1], SPREAD[:1]))
    prune3d.save(grey, "grey.safetensors")
    line = ["prune", "grey.safetensors", "--depth", "0.67", "--pictures", "pictures"]
    code, _, err = say(*line, "-o", "new.safetensors")
    assert (code, err) == (0, "")
    meaning = get_meaning(prune3d.load("new.safetensors"))
    if is_known:
        assert (meaning.mean, meaning.spread) == (MEAN[:1], SPREAD[:1])
    else:
        # Of four fifths of the pictures, where each is as bright as its class.
        assert meaning.mean == pytest.approx((mean_brightness(Path("pictures")),), abs=0.02)
    code, _, err = say("evaluate", "new.safetensors", "pictures")
    assert (code, err) == (0, "")


def mean_brightness(folder: Path) -> float:
    files = [Image.open(path).convert("L").resize((16, 16)) for path in folder.rglob("*.png")]
    return float(np.mean([np.asarray(file) for file in files]) / 255)


@pytest.mark.parametrize("file", ["small.safetensors", "small.onnx", "pictures.onnx"])
def test_accuracy_is_that_of_training(file: str, say: Say, place: Path) -> None:
    assert say("export", "small.safetensors", "--bytes", "-o", "pictures.onnx")[0] == 0
    code, out, _ = say("evaluate", file, "pictures", "--json")
    names = [f"{name}/{i}.png".encode() for name in CLASSES for i in range(8)]
    images = ImageFiles(
        place / "pictures",
        np.frombuffer(b"".join(names), np.uint8),
        np.cumsum([len(name) for name in names]),
        torch.arange(4).repeat_interleave(8),
        MEAN,
        SPREAD,
        16,
        0.9,
    )
    expected = evaluate(prune3d.load("small.safetensors"), images)
    told = json.loads(out)
    assert code == 0
    for key, value in expected.items():
        assert told[key] == pytest.approx(value, rel=1e-4), key
    assert told["low"] < told["top1"] < told["high"]


def test_pictures_that_were_stored_are_resized_twice(place: Path, tmp_path: Path) -> None:
    """As images in memory are: to the stored side, in bytes, then to the network's."""
    from prune3d.export.preprocessing import Preprocessing

    path = place / "pictures/oak/7.png"
    rule = Preprocessing(12, 3, MEAN, SPREAD, 0.9, stored_side=16)
    pixels = torch.from_numpy(decode_square(path, 16, 0.9))[None]
    expected = ImageSet(pixels, torch.zeros(1), MEAN, SPREAD).normalize(pixels, 12)[0]
    np.testing.assert_allclose(rule.read(path), expected.numpy(), atol=1e-5)


def test_predictions_are_those_of_the_network(say: Say, place: Path) -> None:
    paths = ["one.png", "pictures/ash/0.png"]
    code, out, _ = say("predict", "small.onnx", *paths, "--top", "4", "--json")
    assert code == 0
    model = prune3d.load(place / "small.safetensors")
    for told, path in zip(json.loads(out)["predictions"], paths, strict=True):
        pixels = torch.from_numpy(decode_square(place / path, 12, 0.9))[None]
        inputs = ImageSet(pixels, torch.zeros(1), MEAN, SPREAD).normalize(pixels, 12)
        with torch.no_grad():
            shares = model(inputs).softmax(1)[0]
        assert {one["class"] for one in told["classes"]} == set(CLASSES)
        for one in told["classes"]:
            expected = float(shares[CLASSES.index(one["class"])])
            assert one["probability"] == pytest.approx(expected, abs=1e-5)


def test_the_delivered_card_is_true_and_its_code_runs(
    say: Say, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["deliver", "small.safetensors", "-o", "delivered", "--runs", "2"]
    code, _, err = say(*line, "--pictures", "pictures", "--licence", "MIT")
    assert (code, err) == (0, "")
    card = Path("delivered/README.md").read_text(encoding="utf-8")
    _, judged, _ = say("evaluate", "small.onnx", "pictures", "--json")
    assert f"| {json.loads(judged)['top1']:.2%} (95 % interval" in card
    assert f"{prune3d.cost(prune3d.load('small.safetensors')).macs:,} (" in card
    assert "| dense | train | 640 |" in card
    assert "Licence: MIT" in card and "ash, elm, fir, oak" in card
    picture = Image.open("one.png")
    faint = np.random.default_rng(0).integers(0, 256, picture.size[::-1], np.uint8)
    picture.putalpha(Image.fromarray(faint))
    picture.save("delivered/picture.png")
    _, told, _ = say("predict", "small.safetensors", "delivered/picture.png", "--json")
    expected = json.loads(told)["predictions"][0]["classes"][0]["class"]
    monkeypatch.chdir("delivered")
    (first, *others) = run_code_of(card, capsys)
    assert len(others) == 1 and first.said == others[0].said == expected
    np.testing.assert_allclose(first.logits.ravel(), others[0].logits.ravel(), atol=0.02)


@dataclass
class Answer:
    """What a block of code printed, and the logits that it had."""

    said: str
    logits: np.ndarray


def run_code_of(card: str, capsys: pytest.CaptureFixture[str]) -> list[Answer]:
    """Run the blocks of Python of a card in the current folder."""
    found = []
    for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        names: dict[str, Any] = {}
        capsys.readouterr()
        exec(compile(block, "README.md", "exec"), names)
        said = capsys.readouterr().out.strip()
        logits = names["logits"]
        plain = logits.detach().numpy() if isinstance(logits, torch.Tensor) else logits
        found.append(Answer(said, plain))
    return found


@pytest.mark.parametrize("known", ["mean", "nothing"])
def test_a_network_of_which_little_is_known_is_delivered_with_code_that_runs(
    known: str, say: Say, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if known == "mean":
        model = prune3d.load("small.safetensors")
        set_meaning(model, Meaning(None, MEAN, SPREAD))
        prune3d.save(model, "plain.safetensors")
    line = ["deliver", "plain.safetensors", "-o", "new", "--runs", "1", "--json"]
    code, out, err = say(*line)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert list(told["lacks"]) == ([] if known == "mean" else ["pictures.onnx"])
    card = Path("new/README.md").read_text(encoding="utf-8")
    if known == "nothing":
        assert "There is no pictures.onnx: model.onnx does not say mean" in card
    assert {path.name for path in Path("new").iterdir()} == set(told["files"])
    shutil.copy("one.png", "new/picture.png")
    monkeypatch.chdir("new")
    first, second = run_code_of(card, capsys)
    assert first.said == second.said and int(first.said) in range(4)
    np.testing.assert_allclose(first.logits.ravel(), second.logits.ravel(), atol=0.02)


def test_a_network_that_onnx_cannot_hold_is_delivered_without(say: Say) -> None:
    own = f"{Path(__file__).parent}/own/foreign.py:branches_by_images"
    model = prune3d.build(own, 4, 16).eval()
    set_meaning(model, Meaning(CLASSES, MEAN, SPREAD))
    prune3d.save(model, "own.safetensors")
    line = ["deliver", "own.safetensors", "-o", "new", "--code", own, "--runs", "1"]
    code, out, err = say(*line, "--pictures", "pictures")
    assert (code, err) == (0, "")
    assert "without model.onnx: " in out and "decides by the images" in out
    card = Path("new/README.md").read_text(encoding="utf-8")
    assert "accuracy on pictures, by model.safetensors" in card
    assert "There is no model.onnx" in card and "ONNX Runtime |" not in card
    assert {path.name for path in Path("new").iterdir()} == {"README.md", "model.safetensors"}


def test_delivered_files_and_pictures_are_named_as_they_are(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("new").mkdir()
    Path("new/stranger").touch()
    place = Path.cwd()
    monkeypatch.chdir("pictures")
    line = ["deliver", "../small.safetensors", "-o", "../new", "--runs", "1", "--pictures", "."]
    code, out, _ = say(*line)
    assert code == 0 and "stranger" not in out
    card = (place / "new/README.md").read_text(encoding="utf-8")
    assert "accuracy on pictures, by model.onnx" in card


def test_a_new_config_fits_the_pictures_and_the_network(say: Say) -> None:
    line = ["new", "pictures", "resnet14", "--side", "16", "-o", "my own.yaml"]
    code, out, err = say(*line, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["classes"], told["test"], told["side"]) == (len(CLASSES), 0, 16)
    assert told["training"] == len(list(Path("pictures").rglob("*.png")))
    whole = Path("my own.yaml").resolve()
    assert told["hours"] > 0 and told["command"].endswith(f"--configfile '{whole}'")
    shipped = Path(__file__).resolve().parents[2] / "config"
    base, schema = (
        yaml.safe_load((shipped / name).read_text()) for name in ("config.yaml", "schema.yaml")
    )
    config = overlay(base, yaml.safe_load(Path("my own.yaml").read_text(encoding="utf-8")))
    (settings,) = load_experiments(config, schema).values()
    assert settings["data"]["root"] == str(Path("pictures").resolve())
    assert settings["model"]["name"] == "resnet14"
    # All that are measured, and the one that sums them up.
    run = Experiment("mine", settings, (0,))
    assert told["jobs"] == len(Plan({"mine": run}).benchmarks()) + 1
    assert RerankOptions(**base["defaults"]["rerank"]) == TRIALS
    # Six blocks of which two must stay.
    assert settings["sampling"]["depth"] == [0.83, 0.67, 0.5, 0.33]
    code, _, err = say(*line)
    assert code == 1 and "exists" in err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2024", "on", "null", "1e5", *RESERVED])
def test_a_new_config_is_read_whatever_its_name_means_to_yaml(name: str, say: Say) -> None:
    line = ["new", "pictures", "resnet14", "--side", "16", "-o", f"{name}.yaml"]
    assert say(*line)[::2] == (0, "")
    base, schema = (
        yaml.safe_load((ROOT / "config" / file).read_text())
        for file in ("config.yaml", "schema.yaml")
    )
    config = overlay(base, yaml.safe_load(Path(f"{name}.yaml").read_text(encoding="utf-8")))
    (found,) = load_experiments(config, schema)
    assert found.startswith(name) and re.fullmatch(CONSTRAINTS["experiment"], found)

"""What jobs have in common: parameters, seeds, digests, provenance, logs."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, ResourceList, Wildcards

import prune3d
import prune3d.workflow.job
from prune3d.costs.structure_file import BLOCKS, write_structure
from prune3d.errors import UserError
from prune3d.optimize.registry import DRAWN
from prune3d.optimize.target_file import read_target
from prune3d.pruning.analyze import analyze
from prune3d.workflow.job import Job
from prune3d.workflow.provenance import PROVENANCE

ROOT = Path(__file__).resolve().parents[2]
PARAMS = {"epochs": 3, "learning_rate": 0.1, "flip": False, "points": [[1, 1, 0.5]]}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Put the package's logger and torch's threads back."""
    log, threads = logging.getLogger("prune3d"), torch.get_num_threads()
    before = (log.handlers[:], log.level, log.propagate)
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before
    torch.set_num_threads(threads)


def params(values: dict[str, Any]) -> Params:
    """Return parameters as the rules give them: one, which holds all settings."""
    return Params(fromdict={"settings": values})


def snakemake(folder: Path, **changes: Any) -> SimpleNamespace:
    """Return an object as Snakemake gives it to a script."""
    train = folder / "train.safetensors"
    if not train.exists():
        train.write_bytes(b"images")
    values = {
        "input": InputFiles(fromdict={"train": str(train)}),
        "output": OutputFiles(fromdict={"model": str(folder / "out/model.safetensors")}),
        "params": params(PARAMS),
        "wildcards": Wildcards(fromdict={"experiment": "digits", "seed": "3"}),
        "resources": ResourceList(fromdict={"download": 0}),
        "threads": 1,
        "rule": "train_dense",
        "log": Log([str(folder / "logs/a.log")]),
    }
    return SimpleNamespace(**{**values, **changes})


def digest(folder: Path, **changes: Any) -> str:
    """Return the digest of a job."""
    return Job(snakemake(folder, **changes)).digest()


def test_parameters_are_read_into_a_dataclass(tmp_path: Path) -> None:
    @dataclass
    class Some:
        flip: bool
        epochs: int

    assert Job(snakemake(tmp_path)).read(Some) == Some(False, 3)


@dataclass
class Some:
    """Settings as jobs read them."""

    epochs: int = 9
    flip: bool = True
    seed: int = 5


def test_a_setting_without_effect_keeps_the_default(tmp_path: Path) -> None:
    values = params({"epochs": None, "flip": False, "seed": 0, "of another": 1})
    # A value that is false or zero is a value.
    assert Job(snakemake(tmp_path, params=values)).read(Some) == Some(9, False, 0)


@pytest.mark.parametrize(
    "values, given, told",
    [
        ({"epochs": 3, "seed": 0}, {}, "train_dense: 'flip' is no parameter of Some"),
        ({"epochs": 3, "flip": True}, {"sed": 1, "seed": 1}, "'sed' is no field of Some"),
        ({"epochs": 3, "flip": True, "seed": 1}, {"seed": 2}, "'seed' is given beside a parameter"),
    ],
)
def test_names_that_are_missing_unknown_or_twice_are_refused(
    tmp_path: Path, values: dict[str, Any], given: dict[str, Any], told: str
) -> None:
    job = Job(snakemake(tmp_path, params=params(values)))
    with pytest.raises(TypeError, match=told):
        job.read(Some, **given)


def test_what_no_config_has_is_given(tmp_path: Path) -> None:
    values = params({"epochs": None, "flip": False})
    assert Job(snakemake(tmp_path, params=values)).read(Some, seed=7) == Some(9, False, 7)


def test_seeds_derive_from_the_wildcard_and_the_purpose(tmp_path: Path) -> None:
    expected = int(hashlib.sha256(b"3\x1finitialization").hexdigest()[:8], 16)
    assert Job(snakemake(tmp_path)).seed("initialization") == expected


def test_what_is_drawn_is_drawn_anew_for_every_budget(tmp_path: Path) -> None:
    structure = analyze(prune3d.build("resnet20", 10, 32))
    files = {name: str(tmp_path / f"{name}.json") for name in ("structure", "blocks")}
    write_structure(files["structure"], structure)
    order = {"removal_order": list(structure.removable), "image_passes": 0, "cost_macs": 0}
    BLOCKS.write(files["blocks"], order)
    lattice = {"width_step": 0.05, "side_step": 1, "round_to": 1, "lowest": [0.2, 0.2, 0.2]}
    limits = {"macs": 0.25, "params": None, "latency": None, "latency_ms": None}

    def drawn(budget: str, policy: str) -> dict[str, Any]:
        """Return the target by the job's own script."""
        target = tmp_path / f"{budget}_{policy}.json"
        job = snakemake(
            tmp_path,
            input=InputFiles(fromdict=files),
            output=OutputFiles([str(target)]),
            params=params({**limits, **lattice}),
            wildcards=Wildcards(fromdict={"seed": "3", "budget": budget, "policy": policy}),
        )
        runpy.run_path(str(ROOT / "scripts/choose_target.py"), {"snakemake": job})
        return read_target(target, policy)

    # The same limits under two names.
    one, other = ([drawn(name, policy) for policy in DRAWN] for name in ("quarter", "again"))
    assert one != other
    assert drawn("quarter", "uniform") == drawn("again", "uniform")


def test_the_digest_is_the_same_for_the_same_job(tmp_path: Path) -> None:
    assert digest(tmp_path) == digest(tmp_path)
    assert len(digest(tmp_path)) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"params": params({**PARAMS, "epochs": 4})},
        {"params": params({**PARAMS, "points": [[1, 1, 0.6]]})},
        {"params": params({k: v for k, v in PARAMS.items() if k != "flip"})},
        {"wildcards": Wildcards(fromdict={"experiment": "digits", "seed": "4"})},
    ],
)
def test_the_digest_changes_with_what_the_job_depends_on(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert digest(tmp_path, **changes) != digest(tmp_path)


def test_the_digest_is_the_same_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that is preempted goes on where there is a place, whatever GPU that has."""
    before = digest(tmp_path)
    assert digest(tmp_path, threads=8) == before
    monkeypatch.setattr(Job, "device", lambda self: torch.device("cuda", 3))
    assert digest(tmp_path) == before


def test_the_digest_changes_with_the_content_of_inputs_not_their_name(tmp_path: Path) -> None:
    before = digest(tmp_path)
    (tmp_path / "other").write_bytes(b"images")
    renamed = InputFiles(fromdict={"train": str(tmp_path / "other")})
    assert digest(tmp_path, input=renamed) == before
    (tmp_path / "train.safetensors").write_bytes(b"imagez")
    assert digest(tmp_path) != before


def test_the_digest_changes_with_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(tmp_path)
    monkeypatch.setattr("prune3d.workflow.job.__version__", "99")
    assert digest(tmp_path) != before


@pytest.mark.parametrize("package", ["torch", "numpy", "scikit-learn"])
def test_the_digest_changes_with_the_versions_of_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before, known = digest(tmp_path), prune3d.workflow.job.version
    monkeypatch.setattr(
        "prune3d.workflow.job.version", lambda n: "99" if n == package else known(n)
    )
    assert digest(tmp_path) != before


def test_the_digest_does_not_change_with_outputs_or_log(tmp_path: Path) -> None:
    output = OutputFiles(fromdict={"model": "elsewhere"})
    assert digest(tmp_path, output=output, log=Log([])) == digest(tmp_path)


def test_provenance_tells_what_may_differ_from_run_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    file = tmp_path / "provenance.json"
    with Job(snakemake(tmp_path)) as job:
        job.device()
        job.write_provenance(str(file), seconds={"training": 1.23456})
    found = json.loads(file.read_text())
    assert found["config"] == PARAMS
    assert found["wildcards"] == {"experiment": "digits", "seed": "3"}
    assert (found["seed"], found["rule"], found["threads"]) == (3, "train_dense", 1)
    assert found["prune3d"] == prune3d.__version__
    assert found["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["seconds"]["training"] == 1.235
    assert 0 <= found["seconds"]["job"] < 60
    assert found["slurm_job"] == "4711"
    assert found["device"] == ("cpu" if not torch.cuda.is_available() else found["device"])


def test_provenance_takes_in_that_of_earlier_jobs_whole(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.json" for name in ("pruned", "tuned", "exported")]
    with Job(snakemake(tmp_path, rule="prune_sample")) as job:
        job.write_provenance(str(files[0]))
    with Job(snakemake(tmp_path, rule="finetune_sample")) as job:
        job.write_provenance(
            str(files[1]), seconds={"training": 2.0}, earlier={"prune_sample": str(files[0])}
        )
    with Job(snakemake(tmp_path, rule="export_onnx")) as job:
        earlier = {"prune_sample": str(files[0]), "finetune_sample": str(files[1])}
        job.write_provenance(str(files[2]), earlier=earlier)
    pruned, tuned, exported = (PROVENANCE.read(file) for file in files)
    assert pruned["steps"] == {}
    assert list(pruned["seconds"]) == ["job"]
    assert tuned["steps"] == {"prune_sample": pruned}
    assert tuned["seconds"]["training"] == 2
    assert exported["steps"] == {"prune_sample": pruned, "finetune_sample": tuned}
    assert exported["steps"]["finetune_sample"]["steps"]["prune_sample"]["rule"] == "prune_sample"


def test_computing_uses_the_threads_of_the_job(tmp_path: Path) -> None:
    Job(snakemake(tmp_path, threads=2)).device()
    assert torch.get_num_threads() == 2


def test_messages_go_to_the_log_and_with_the_jobs_name_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Job(snakemake(tmp_path)) as job:
        job.say("100 % done")
    assert capsys.readouterr().err == "[train_dense digits 3] 100 % done\n"
    assert (tmp_path / "logs/a.log").read_text().endswith(" INFO 100 % done\n")


def test_a_warning_goes_to_both_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Job(snakemake(tmp_path)) as job:
        job.warn("of no use.")
    assert capsys.readouterr().err == "[train_dense digits 3] warning: of no use.\n"
    assert " WARNING warning: of no use.\n" in (tmp_path / "logs/a.log").read_text()


def test_an_error_of_the_user_is_one_sentence_and_ends_the_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, Job(snakemake(tmp_path)):
        raise UserError("the file is missing.")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "[train_dense digits 3] the file is missing.\n"
    assert "Traceback" not in (tmp_path / "logs/a.log").read_text()


def test_any_other_error_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Job(snakemake(tmp_path)):
        raise KeyError("oops")
    text = (tmp_path / "logs/a.log").read_text()
    assert "train_dense failed" in text
    assert "Traceback" in text
    assert "KeyError: 'oops'" in text


@pytest.mark.parametrize("error", [None, UserError("no."), KeyboardInterrupt()])
def test_the_state_of_a_training_is_removed_on_success_alone(
    tmp_path: Path, error: BaseException | None
) -> None:
    state = tmp_path / "out/model.resume.safetensors"
    state.parent.mkdir()
    try:
        with Job(snakemake(tmp_path)) as job:
            file = job.resume_file(job.output.model)
            state.write_bytes(b"state")
            if error is not None:
                raise error
    except (SystemExit, KeyboardInterrupt):
        pass
    assert file.path == state
    assert file.digest == digest(tmp_path)
    assert state.exists() == (error is not None)


def test_a_job_without_a_log_file_talks_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Job(snakemake(tmp_path, log=Log([]))) as job:
        job.say("hello")
    assert "hello" in capsys.readouterr().err


def test_the_digest_does_not_change_with_durations_of_earlier_jobs(tmp_path: Path) -> None:
    train, provenance = tmp_path / "train.safetensors", tmp_path / "pruned_provenance.json"
    train.write_bytes(b"images")
    files = InputFiles(fromdict={"train": str(train), "provenance": str(provenance)})
    provenance.write_text('{"seconds": {"job": 1.0}}')
    before = digest(tmp_path, input=files)
    provenance.write_text('{"seconds": {"job": 2.0}}')
    assert digest(tmp_path, input=files) == before
    train.write_bytes(b"other images")
    assert digest(tmp_path, input=files) != before


def test_a_name_that_is_no_unicode_is_in_the_log(tmp_path: Path) -> None:
    with Job(snakemake(tmp_path)) as job:
        job.say("caf\udce9.png is left out")
    assert "caf\\udce9.png is left out" in (tmp_path / "logs/a.log").read_text()


@pytest.mark.parametrize("damage", ["a file for the folder", "full"])
def test_a_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs"
    if damage == "full":
        logs.mkdir()
        (logs / "a.log").symlink_to("/dev/full")
    else:
        logs.write_text("")
    with Job(snakemake(tmp_path)) as job:
        job.say("done")
    told = capsys.readouterr().err
    assert "[train_dense digits 3] done\n" in told
    assert "Traceback" not in told and "Logging error" not in told


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT])
def test_what_is_wrong_with_a_folder_or_disk_is_one_sentence(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, Job(snakemake(tmp_path)):
        raise OSError(number, os.strerror(number), "results/a b")
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith(f"[train_dense digits 3] results/a b: {os.strerror(number)};")
    assert told.count("\n") == 1


def test_an_input_that_is_gone_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = snakemake(tmp_path)
    (tmp_path / "train.safetensors").unlink()
    with pytest.raises(SystemExit), Job(given) as job:
        job.digest()
    assert "train.safetensors: No such file or directory;" in capsys.readouterr().err


def test_what_killed_attempts_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("model", "model.resume"):
        (folder / f".{name}.safetensors.ab12.partial.safetensors").touch()
    (folder / ".history.csv.ab12.partial.csv").touch()
    with Job(snakemake(tmp_path)) as job:
        job.resume_file(job.output.model)
        # Not its own.
        assert [p.name for p in folder.glob("*.partial.*")] == [".history.csv.ab12.partial.csv"]

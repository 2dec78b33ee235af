"""Files that must stay in step with one another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prune3d import __version__
from prune3d.workflow.config import load_experiments, overlay
from prune3d.workflow.config_reference import reference

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def read_yaml(name: str) -> dict:
    value: dict = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return value


def pins() -> dict[str, set[str]]:
    """Versions in requirements.txt that hold for Python 3.12 on Linux, by package."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        pin, _, marker = line.partition(";")
        if "< '3.12'" in marker:
            continue
        name, version = pin.strip().split("==")
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "requirements-docs.txt"]
)
def test_requirements_are_pinned_and_name_no_index(name: str) -> None:
    for line in (ROOT / name).read_text().splitlines():
        assert re.match(r"^[a-zA-Z0-9._-]+==[^\s;]+( ; .+)?$", line), line
        assert "://" not in line and not line.startswith("-")


def test_torch_and_torchvision_work_together() -> None:
    code = (
        "import torch, torchvision; b = torch.tensor([[0., 0, 1, 1], [0, 0, 1, 1]]); "
        "print(torchvision.ops.nms(b, torch.tensor([.5, .9]), .5).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1]"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda p: p.name)
def test_conda_environments_have_the_pinned_versions(path: Path) -> None:
    listed = read_yaml(f"envs/{path.name}")["dependencies"][-1]["pip"]
    assert len(listed) >= 4
    for entry in listed:
        name, version = entry.split("==")
        assert version in pins()[name], f"{path.name}: {name}"


def test_containers_install_the_pins_on_the_python_of_the_conda_environments() -> None:
    docker, apptainer = (
        (ROOT / "containers" / n).read_text() for n in ("Dockerfile", "prune3d.def")
    )
    [image] = re.findall(r"^FROM (\S+)$", docker, flags=re.MULTILINE)
    assert re.findall(r"^From: (\S+)$", apptainer, flags=re.MULTILINE) == [image]
    pythons = {read_yaml(f"envs/{path.name}")["dependencies"][0] for path in ENVIRONMENTS}
    assert pythons == {re.sub(r".*/(python):(\d+\.\d+)-.*", r"\1=\2", image)}
    sections = re.split(r"^%(\w+)\n", apptainer, flags=re.MULTILINE)
    runs = re.findall(r"^RUN ((?:.*\\\n)*.*)", docker, flags=re.MULTILINE)
    shell = "\n".join([*runs, *sections[sections.index("post") + 1 :: 2]])
    installs = re.findall(r"pip install --no-cache-dir --requirement (\S+)", shell)
    assert [Path(name).name for name in installs] == ["requirements.txt"] * 2
    assert all(re.search(rf"requirements.txt {name}\b", docker + apptainer) for name in installs)
    subprocess.run(["bash", "-n"], input=shell, text=True, check=True)


def test_every_rule_names_an_environment_and_a_script_of_its_own() -> None:
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"\nrule ", path.read_text())[1:]:
            name = rule.split(":")[0]
            assert f'"../scripts/{name}.py"' in rule
            assert (ROOT / "scripts" / f"{name}.py").exists()
            environment = re.search(r'"\.\./(envs/\w+\.yaml)"', rule)
            assert environment and (ROOT / environment.group(1)).exists()


def test_the_slurm_profile_knows_every_rule_that_needs_a_gpu() -> None:
    """Or a rule would ask for a GPU in the partition that has none."""
    profile = read_yaml("slurm/config.yaml")
    blocks = {
        block.split(":")[0]: block
        for path in (ROOT / "rules").glob("*.smk")
        for block in re.split(r"\nrule ", path.read_text())[1:]
    }
    for path in (ROOT / "rules").glob("*.smk"):
        for base, name in re.findall(r"\nuse rule (\w+) as (\w+) with:", path.read_text()):
            blocks[name] = blocks[base]
    grouped = {name for name, block in blocks.items() if "one_submission(" in block}
    on_gpu = {name for name, block in blocks.items() if re.search(r"\*\*on_gpu\(|\bgpu=", block)}
    assert len(on_gpu) >= 8
    assert set(profile["set-resources"]) == on_gpu | grouped
    partitions = {asked["slurm_partition"] for asked in profile["set-resources"].values()}
    assert len(partitions) == 1
    common = (ROOT / "rules/common.smk").read_text()
    local = re.search(r"^localrules:\n((?:    .*\n)+)", common, flags=re.MULTILINE)
    assert local and not set(re.findall(r"\w+", local.group(1))) & (on_gpu | grouped)


def test_every_script_belongs_to_a_rule() -> None:
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")} - {
        "show_results",
        "simulate_cluster",
    }
    assert scripts == set(re.findall(r"\nrule (\w+):", rules))


def test_the_config_reference_is_up_to_date() -> None:
    made = reference(read_yaml("config/schema.yaml"), read_yaml("config/config.yaml"))
    assert made == (ROOT / "config/README.md").read_text(encoding="utf-8")


def test_the_library_does_not_import_snakemake() -> None:
    for path in (ROOT / "scripts/prune3d").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) snakemake", path.read_text(), re.MULTILINE), path


def test_versions_agree() -> None:
    assert read_yaml("CITATION.cff")["version"] == __version__
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_config_files_in_the_readme_are_accepted() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        config = overlay(read_yaml("config/config.yaml"), yaml.safe_load(block))
        load_experiments(config, read_yaml("config/schema.yaml"))


@pytest.mark.parametrize("name", ["README.md", "docs/training.md", "docs/models.md"])
def test_python_in_the_documents_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})


def test_links_in_the_documents_lead_somewhere() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_what_continuous_integration_calls_is_there() -> None:
    """Targets of the Makefile, and the programs that the hooks of a commit run."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = {name for run in runs for name in re.findall(r"\bmake ([a-z-]+)", run)}
    assert called and called <= targets
    # Together they are what `make test` runs.
    [whole] = re.findall(r"^test: (.+)$", makefile, re.MULTILINE)
    assert called == set(whole.split())
    [local] = read_yaml(".pre-commit-config.yaml")["repos"]
    for hook in local["hooks"]:
        program = Path(hook["entry"].split()[0])
        assert program.parts[:2] == (".venv", "bin")
        assert (Path(sys.executable).parent / program.name).exists()

"""The files that the report consists of beside the figures: its opening text, and its pages."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from prune3d.files import read_text, write_text
from prune3d.optimize.predictor_file import VALIDATION
from prune3d.report.claims import VERDICTS
from prune3d.report.compared import ABLATIONS
from prune3d.report.compared import readable as choices_in_words
from prune3d.report.failures import FAILED
from prune3d.report.landing import landing
from prune3d.report.pages import page, preformatted, table_of
from prune3d.report.policies import LEFT_OUT, POLICIES
from prune3d.report.resources import COLUMNS
from prune3d.report.titles import PAGES
from prune3d.report.warnings import WARNINGS
from prune3d.workflow.paths import run_of
from prune3d.workflow.provenance import PROVENANCE

ABLATED = {
    "degree": "the degree of the predictor",
    "rank": "the rank of the predictor",
    "samples": "low-rank and full predictors over ever fewer samples",
    "design": "the design of the samples",
    "scratch": "samples by iterative pruning beside the same networks trained from random weights",
}
MACHINE = ("prune3d", "python", "machine", "device")


def write_report(
    files: Any, output: Any, networks: Sequence[Sequence[str]], config: Mapping[str, Any]
) -> None:
    """Write the opening text and the pages.

    Parameters
    ----------
    files
        Paths of the tables ``policies``, ``claims``, ``left_out``, ``warnings``, ``failed`` and
        ``resources``, lists ``texts`` and ``ablations`` of tables in Markdown, ``compared`` of
        `prune3d.report.compared.ABLATIONS`, ``validation`` of the predictors' errors and
        ``provenance`` of the dense networks.
    output
        Paths ``landing``, ``metadata`` and, by their names, of `prune3d.report.titles.PAGES`.
    networks
        Experiment, data set and model of all that were run.
    config
        The whole configuration.
    """
    summary, claims = POLICIES.read(files.policies), VERDICTS.read(files.claims)
    warnings, left_out = WARNINGS.read(files.warnings), LEFT_OUT.read(files.left_out)
    failed = FAILED.read(files.failed)
    resources = list(csv.DictReader(io.StringIO(read_text(files.resources))))
    pages = {name: read_text(path) for path in files.texts if (name := _name(path)) in PAGES}
    if files.ablations:
        pages["ablations"] = "\n\n".join(map(_ablation, files.ablations))
    choices = [row for path in files.compared for row in ABLATIONS.read(path)]
    if files.compared:
        pages["choices"] = choices_in_words(choices)
    parts = (_failures(failed), _wrecks(files.validation))
    pages["warnings"] = "\n\n".join((_warnings(warnings, left_out), *parts))
    pages["resources"] = table_of(resources, COLUMNS)
    pages["configuration"] = _configuration(files.provenance, config)
    for name, text in pages.items():
        write_text(getattr(output, name), page(PAGES[name][1], text))
    opening = landing(networks, summary, claims, warnings, failed, left_out, resources, choices)
    write_text(output.landing, opening)
    # Numbers alone: Snakemake takes text in its metadata to pieces. With any the report opens with
    # the text above instead of the graph of all rules.
    counted = {"Experiments": len(networks), "Jobs": sum(int(row["jobs"]) for row in resources)}
    write_text(output.metadata, yaml.safe_dump(counted))


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _ablation(path: str) -> str:
    experiment, _, ablation = _name(path).partition("_ablation_")
    return f"## {experiment}: {ABLATED[ablation]}\n\n{read_text(path)}"


def _warnings(warnings: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]) -> str:
    told = [row["warning"] for row in warnings] or ["None of an experiment as a whole."]
    text = "".join(f"- {one}\n" for one in told)
    if not left_out:
        return f"{text}\n\nEvery policy reached every budget.\n"
    columns = ("experiment", "seed", "budget", "policy", "reason")
    return f"{text}\n\nPolicies that cannot reach a budget:\n\n{table_of(left_out, columns)}"


def _failures(failed: Sequence[Mapping[str, Any]]) -> str:
    if not failed:
        return "No final network failed."
    columns = ("experiment", "seed", "budget", "policy", "reason")
    title = "Final networks that failed; means and spreads of their policies count them:"
    return f"{title}\n\n{table_of(failed, columns)}"


def _wrecks(validation: Iterable[str]) -> str:
    """Return the samples whose fine-tuning failed, so that no predictor was fitted to them."""
    rows = []
    for path in validation:
        run = run_of(path)
        for sample in VALIDATION.read(path)["left_out"]:
            rows.append({"experiment": run.experiment, "seed": run.seed, "sample": sample})
    if not rows:
        return "No sample was left out of a fit."
    title = "Samples that ended far below the others, left out of the fit:"
    return f"{title}\n\n{table_of(rows, ('experiment', 'seed', 'sample'))}"


def _configuration(provenance: Iterable[str], config: Mapping[str, Any]) -> str:
    rows = []
    versions: dict[str, dict[str, None]] = {}
    for path in provenance:
        known, run = PROVENANCE.read(path), run_of(path)
        facts = {name: known.get(name) for name in MACHINE}
        rows.append({"experiment": run.experiment, "seed": run.seed, **facts})
        for package, version in (known.get("versions") or {}).items():
            versions.setdefault(package, {})[version] = None
    packages = [{"package": name, "version": ", ".join(v)} for name, v in sorted(versions.items())]
    # Without the types of the workflow's own dictionaries.
    plain = json.loads(json.dumps(config))
    return "\n\n".join(
        (
            "Where the dense networks were trained:",
            table_of(rows, ("experiment", "seed", *MACHINE)),
            "Versions of packages there:",
            table_of(packages, ("package", "version")),
            "The whole configuration, defaults included:",
            preformatted(yaml.safe_dump(plain, sort_keys=False)),
        )
    )

# prune3d: prune a trained CNN along depth, width and resolution together, to a budget.
#
# Everything that is written lies in results/, by the grammar of scripts/prune3d/workflow/paths.py.

from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")


configfile: str(Path(workflow.basedir) / "config/config.yaml")


include: "rules/common.smk"
include: "rules/start.smk"
include: "rules/data.smk"
include: "rules/dense.smk"
include: "rules/collect.smk"
include: "rules/predict.smk"
include: "rules/optimize.smk"
include: "rules/final.smk"
include: "rules/compare.smk"
include: "rules/paper.smk"
include: "rules/ablate.smk"
include: "rules/device.smk"
include: "rules/resources.smk"
include: "rules/report.smk"


# What a run is for. A rule whose output nothing else needs belongs here.
DELIVERED = [
    f"{TABLES}/policies.csv",
    f"{TABLES}/claims.csv",
    f"{TABLES}/published.csv",
    *([f"{TABLES}/ablations.csv"] if PLAN.compared else []),
    *([f"{TABLES}/predictors.csv", f"{TABLES}/forecasts.csv"] if PLAN.method else []),
    *expand(f"{FIGURES}/policies.{{kind}}", kind=["pdf", "png"]),
    *expand(
        f"{FIGURES}/{{experiment}}_{{figure}}.{{kind}}",
        experiment=PLAN.method,
        figure=["dimensions", "predictions"],
        kind=["pdf", "png"],
    ),
    *PLAN.surfaces("pdf"),
    *PLAN.surfaces("png"),
    *PLAN.ablation_figures("png"),
    *PLAN.finals("README.md"),
    *([f"{FIGURES}/latency.png"] if PLAN.is_timed else []),
]


rule all:
    default_target: True
    input:
        DELIVERED,
        f"{TABLES}/resources.csv",

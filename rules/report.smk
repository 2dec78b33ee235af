# Report: the text that opens it, and tables as pages; figures are marked where they are drawn.
#
#   make report, or: snakemake --cores 2 all results/report/landing.rst
#     and the same targets with --report results/report.html
#     --report-metadata results/report/metadata.yaml --report-stylesheet rules/captions/report.css
#
# It holds the whole configuration, any change of which would write it again: so it is no part of `all`.
#
# inputs:   tables/{policies,claims,published,predictors,forecasts,latency}.md, {experiment}_ablation_*.md, ablations.csv
#           tables/{left_out,warnings,failed,resources}.csv
#           {run}/predictor/validation.json, tables/{recovery,pareto}.csv, figures/{experiment}_{recovery,pareto}.png
# outputs:  report/landing.rst, metadata.yaml, *.html


from prune3d.report.titles import PAGES

LANDING = Path.cwd() / "results/report/landing.rst"
# Snakemake itself would end in a traceback where there is none.
OPENING = (
    LANDING
    if LANDING.is_file()
    else Path(workflow.basedir) / "rules/captions/unwritten.rst"
)


report: str(OPENING)


rule write_report:
    input:
        policies=f"{TABLES}/policies.csv",
        claims=f"{TABLES}/claims.csv",
        left_out=f"{TABLES}/left_out.csv",
        warnings=f"{TABLES}/warnings.csv",
        failed=f"{TABLES}/failed.csv",
        resources=f"{TABLES}/resources.csv",
        validation=PLAN.every_run("predictor/validation.json", method_only=True),
        tables=PLAN.beside("tables"),
        figures=PLAN.beside("figures"),
        ablations=PLAN.ablation_tables,
        compared=[f"{TABLES}/ablations.csv"] if PLAN.compared else [],
        texts=expand(f"{TABLES}/{{table}}.md", table=PLAN.tables),
        provenance=PLAN.every_run("dense/provenance.json"),
    output:
        **{
            name: shown(name, PAGES, f"results/report/{name}.html")
            for name in PLAN.pages
        },
        landing="results/report/landing.rst",
        metadata="results/report/metadata.yaml",
    log:
        "results/logs/write_report.log",
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("write_report"),
        settings={"networks": PLAN.networks, "config": digest_of_config(config)},
    script:
        "../scripts/write_report.py"

# Paper: the figures and the table of the predictors. The optimum over budgets is part of the report
# but not of `all`:
#
#   snakemake --cores 8 results/tables/pareto.csv results/figures/{experiment}_pareto.png
#
# inputs:   {run}/samples.csv, holdout.csv, predictor/predictor.json, predictor/validation.json
#           {run}/budgets/{budget}/optimum.json, tied.csv
#           {run}/optima.csv, tables/runs.csv
# outputs:  tables/predictors.{csv,md,tex}, pareto.csv
#           figures/{experiment}_pareto.{pdf,png}
#           figures/{experiment}_{dimensions,predictions}.{pdf,png}
#           figures/{experiment}_seed{seed}_{budget}_surface.{pdf,png}


rule plot_dimensions:
    input:
        samples=of("every_seed", "samples.csv"),
        predictors=of("every_seed", "predictor/predictor.json"),
    output:
        pdf=f"{FIGURES}/{{experiment}}_dimensions.pdf",
        png=shown(
            "dimensions",
            FIGURE_TITLES,
            f"{FIGURES}/{{experiment}}_dimensions.png",
            "{experiment}",
        ),
    log:
        "results/logs/{experiment}/plot_dimensions.log",
    benchmark:
        "results/benchmarks/{experiment}/plot_dimensions.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("plot_dimensions"),
        style=STYLES["dimensions"],
    script:
        "../scripts/plot_dimensions.py"


rule plot_predictions:
    input:
        samples=of("every_seed", "samples.csv"),
        holdout=of("every_seed", "holdout.csv"),
        predictors=of("every_seed", "predictor/predictor.json"),
    output:
        pdf=f"{FIGURES}/{{experiment}}_predictions.pdf",
        png=shown(
            "predictions",
            FIGURE_TITLES,
            f"{FIGURES}/{{experiment}}_predictions.png",
            "{experiment}",
        ),
    log:
        "results/logs/{experiment}/plot_predictions.log",
    benchmark:
        "results/benchmarks/{experiment}/plot_predictions.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("plot_predictions"),
        style=STYLES["predictions"],
    script:
        "../scripts/plot_predictions.py"


rule tabulate_predictors:
    input:
        PLAN.every_run("predictor/validation.json", method_only=True),
    output:
        csv=f"{TABLES}/predictors.csv",
        md=f"{TABLES}/predictors.md",
        tex=f"{TABLES}/predictors.tex",
    log:
        "results/logs/tabulate_predictors.log",
    benchmark:
        "results/benchmarks/tabulate_predictors.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_predictors"),
    script:
        "../scripts/tabulate_predictors.py"


rule plot_surface:
    input:
        samples=f"{RUN}/samples.csv",
        predictor=f"{RUN}/predictor/predictor.json",
        optimum=f"{BUDGET}/optimum.json",
        tied=f"{BUDGET}/tied.csv",
    output:
        pdf=f"{FIGURES}/{{experiment}}_seed{{seed}}_{{budget}}_surface.pdf",
        png=shown(
            "surface",
            FIGURE_TITLES,
            f"{FIGURES}/{{experiment}}_seed{{seed}}_{{budget}}_surface.png",
            "{experiment}, seed {seed}, {budget}",
        ),
    log:
        f"{LOGS}/plot_surface/{{budget}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_surface/{{budget}}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("plot_surface"),
        style=STYLES["surface"],
    script:
        "../scripts/plot_surface.py"


rule tabulate_pareto:
    input:
        PLAN.every_run("optima.csv", method_only=True),
    output:
        f"{TABLES}/pareto.csv",
    log:
        "results/logs/tabulate_pareto.log",
    benchmark:
        "results/benchmarks/tabulate_pareto.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_pareto"),
    script:
        "../scripts/tabulate_pareto.py"


rule plot_pareto:
    input:
        optima=of("every_seed", "optima.csv"),
        runs=f"{TABLES}/runs.csv",
    output:
        pdf=f"{FIGURES}/{{experiment}}_pareto.pdf",
        png=shown(
            "pareto",
            FIGURE_TITLES,
            f"{FIGURES}/{{experiment}}_pareto.png",
            "{experiment}",
        ),
    log:
        "results/logs/{experiment}/plot_pareto.log",
    benchmark:
        "results/benchmarks/{experiment}/plot_pareto.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("plot_pareto"),
        style=STYLES["pareto"],
    script:
        "../scripts/plot_pareto.py"

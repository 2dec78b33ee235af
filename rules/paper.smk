# Paper: the figures and the table of the predictors.


rule plot_dimensions:
    input:
        samples=of_experiment("samples.csv"),
        predictors=of_experiment("predictor/predictor.json"),
    output:
        pdf="results/figures/{experiment}_dimensions.pdf",
        png=report("results/figures/{experiment}_dimensions.png", category="Figures"),
    log:
        "results/logs/{experiment}/plot_dimensions.log",
    benchmark:
        "results/benchmarks/{experiment}/plot_dimensions.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("plot_dimensions", **figure_settings("dimensions")),
    script:
        "../scripts/plot_dimensions.py"


rule plot_predictions:
    input:
        samples=of_experiment("samples.csv"),
        holdout=of_experiment("holdout.csv"),
        predictors=of_experiment("predictor/predictor.json"),
    output:
        pdf="results/figures/{experiment}_predictions.pdf",
        png=report("results/figures/{experiment}_predictions.png", category="Figures"),
    log:
        "results/logs/{experiment}/plot_predictions.log",
    benchmark:
        "results/benchmarks/{experiment}/plot_predictions.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("plot_predictions", **figure_settings("predictions")),
    script:
        "../scripts/plot_predictions.py"


rule tabulate_predictors:
    input:
        all_runs("predictor/validation.json", METHOD),
    output:
        csv=report("results/tables/predictors.csv", category="Tables"),
        md="results/tables/predictors.md",
        tex="results/tables/predictors.tex",
    log:
        "results/logs/tabulate_predictors.log",
    benchmark:
        "results/benchmarks/tabulate_predictors.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("tabulate_predictors"),
    script:
        "../scripts/tabulate_predictors.py"


rule plot_surface:
    input:
        samples=f"{RUN}/samples.csv",
        predictor=f"{RUN}/predictor/predictor.json",
        optimum=f"{RUN}/budgets/{{budget}}/optimum.json",
        tied=f"{RUN}/budgets/{{budget}}/tied.csv",
    output:
        pdf="results/figures/{experiment}_seed{seed}_{budget}_surface.pdf",
        png=report(
            "results/figures/{experiment}_seed{seed}_{budget}_surface.png",
            category="Figures",
        ),
    log:
        "results/logs/{experiment}/seed{seed}/plot_surface/{budget}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/plot_surface/{budget}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("plot_surface", **figure_settings("surface")),
    script:
        "../scripts/plot_surface.py"

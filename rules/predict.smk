# Predict: fit accuracy as a polynomial of depth, width and resolution, and judge the fit.


rule fit_predictor:
    input:
        samples=f"{RUN}/samples.csv",
    output:
        predictor=f"{RUN}/predictor/predictor.json",
    log:
        "results/logs/{experiment}/seed{seed}/fit_predictor.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/fit_predictor.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("fit_predictor", **settings("predictor")),
    script:
        "../scripts/fit_predictor.py"


rule validate_predictor:
    input:
        samples=f"{RUN}/samples.csv",
        holdout=f"{RUN}/holdout.csv",
        predictor=f"{RUN}/predictor/predictor.json",
    output:
        validation=f"{RUN}/predictor/validation.json",
    log:
        "results/logs/{experiment}/seed{seed}/validate_predictor.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/validate_predictor.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("validate_predictor"),
    script:
        "../scripts/validate_predictor.py"

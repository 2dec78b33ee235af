# Predict: fit accuracy as a polynomial of depth, width and resolution, and judge the fit.
#
# inputs:   {run}/samples.csv, holdout.csv
#           {run}/budgets/{budget}/{policy}/metrics.json, dense/longer/metrics.json
# outputs:  {run}/predictor/predictor.json, validation.json
#           tables/forecasts.{csv,md}


rule fit_predictor:
    input:
        samples=f"{RUN}/samples.csv",
    output:
        predictor=f"{RUN}/predictor/predictor.json",
    log:
        f"{LOGS}/fit_predictor.log",
    benchmark:
        f"{BENCHMARKS}/fit_predictor.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("fit_predictor"),
        settings=of("predictor"),
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
        f"{LOGS}/validate_predictor.log",
    benchmark:
        f"{BENCHMARKS}/validate_predictor.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("validate_predictor"),
    script:
        "../scripts/validate_predictor.py"


rule tabulate_forecasts:
    input:
        predictors=PLAN.every_run("predictor/predictor.json", method_only=True),
        finals=PLAN.finals("metrics.json"),
        longer=PLAN.longer("metrics.json"),
    output:
        csv=f"{TABLES}/forecasts.csv",
        md=f"{TABLES}/forecasts.md",
    log:
        "results/logs/tabulate_forecasts.log",
    benchmark:
        "results/benchmarks/tabulate_forecasts.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_forecasts"),
    script:
        "../scripts/tabulate_forecasts.py"

# Predict: fit accuracy as a polynomial of depth, width and resolution, and judge the fit.
#
# inputs:   {run}/samples.csv, holdout.csv
# outputs:  {run}/predictor/predictor.json, validation.json


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

# Resources: what all jobs of the run used, when all else is there.
#
# inputs:   benchmarks/**/*.tsv of the run's jobs, and the attempts noted beside their logs
# outputs:  tables/resources.csv, retries.csv


rule tabulate_resources:
    input:
        PLAN.benchmarks(),
    output:
        resources=f"{TABLES}/resources.csv",
        retries=f"{TABLES}/retries.csv",
    log:
        "results/logs/tabulate_resources.log",
    benchmark:
        "results/benchmarks/tabulate_resources.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_resources"),
    script:
        "../scripts/tabulate_resources.py"

# Resources: what all jobs used, when all else is there.
#
# inputs:   what the run delivers; benchmarks and logs of all jobs
# outputs:  tables/resources.csv, retries.csv


rule tabulate_resources:
    input:
        DELIVERED,
        PLAN.finals("metrics.json"),
    output:
        resources=report(f"{TABLES}/resources.csv", category="Tables"),
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

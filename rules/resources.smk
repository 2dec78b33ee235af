# Resources: what all jobs used, when all else is there.


rule tabulate_resources:
    input:
        DELIVERED,
        all_final("metrics.json"),
    output:
        resources=report("results/tables/resources.csv", category="Tables"),
        retries="results/tables/retries.csv",
    log:
        "results/logs/tabulate_resources.log",
    benchmark:
        "results/benchmarks/tabulate_resources.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("tabulate_resources"),
    script:
        "../scripts/tabulate_resources.py"

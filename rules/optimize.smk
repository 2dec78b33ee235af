# Optimize: the realizable network within the budget whose predicted accuracy is highest.


rule find_optimum:
    input:
        predictor=f"{RUN}/predictor/predictor.json",
        samples=f"{RUN}/samples.csv",
        structure=f"{RUN}/dense/structure.json",
        blocks=f"{RUN}/dense/blocks.json",
    output:
        f"{RUN}/budgets/{{budget}}/optimum.json",
    log:
        "results/logs/{experiment}/seed{seed}/find_optimum/{budget}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/find_optimum/{budget}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        macs=budget_macs(),
        width_step=setting("lattice.width_step"),
        side_step=setting("lattice.side_step"),
        round_to=setting("pruning.round_to"),
    script:
        "../scripts/find_optimum.py"

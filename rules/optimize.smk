# Optimize: the realizable network within the budget whose predicted accuracy is highest.


rule measure_latency:
    input:
        model=f"{RUN}/dense/model.safetensors",
        structure=f"{RUN}/dense/structure.json",
        blocks=f"{RUN}/dense/blocks.json",
    output:
        f"{RUN}/dense/latency.csv",
    log:
        "results/logs/{experiment}/seed{seed}/measure_latency.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/measure_latency.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        **on_cpu(),
        gpu=measures_on_gpu,
    params:
        settings=together(
            "measure_latency",
            own_network=own_network,
            **settings("latency"),
            round_to=setting("pruning.round_to"),
        ),
    script:
        "../scripts/measure_latency.py"


rule find_optimum:
    input:
        unpack(latencies),
        predictor=f"{RUN}/predictor/predictor.json",
        samples=f"{RUN}/samples.csv",
        structure=f"{RUN}/dense/structure.json",
        blocks=f"{RUN}/dense/blocks.json",
    output:
        optimum=f"{RUN}/budgets/{{budget}}/optimum.json",
        tied=f"{RUN}/budgets/{{budget}}/tied.csv",
    log:
        "results/logs/{experiment}/seed{seed}/find_optimum/{budget}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/find_optimum/{budget}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together(
            "find_optimum",
            **budget_limits(),
            **settings("optimum"),
            **settings("lattice"),
            round_to=setting("pruning.round_to"),
        ),
    script:
        "../scripts/find_optimum.py"

# Optimize: the realizable network within the budget of the highest prediction, and those that the
# samples cannot tell from it; some of them are tried, and the best of those is what is pruned to.


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
        predicted=f"{BUDGET}/predicted.json",
        candidates=f"{BUDGET}/candidates.json",
        tied=f"{BUDGET}/tied.csv",
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
            candidates=setting("rerank.candidates"),
            **settings("lattice"),
            round_to=setting("pruning.round_to"),
        ),
    script:
        "../scripts/find_optimum.py"


rule try_candidate:
    input:
        unpack(teacher("final")),
        own=own_file("pruning.channel_criterion"),
        candidates=f"{BUDGET}/candidates.json",
        first=first_round,
        blocks=f"{RUN}/dense/blocks.json",
        dense=f"{RUN}/dense/model.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{TRIAL}/model.safetensors",
        history=f"{TRIAL}/history.csv",
        metrics=f"{TRIAL}/metrics.json",
        provenance=f"{TRIAL}/provenance.json",
    log:
        "results/logs/{experiment}/seed{seed}/try_candidate/{budget}_{round}{place}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/try_candidate/{budget}_{round}{place}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        **on_gpu("final"),
    params:
        settings=together(
            "try_candidate",
            own_network=own_network,
            part=setting("rerank.part"),
            **settings("pruning"),
            **recipe("final"),
        ),
    script:
        "../scripts/try_candidate.py"


rule choose_optimum:
    input:
        predicted=f"{BUDGET}/predicted.json",
        candidates=f"{BUDGET}/candidates.json",
        first=trials("first"),
        second=trials("second"),
    output:
        optimum=f"{BUDGET}/optimum.json",
        trials=f"{BUDGET}/trials.csv",
    log:
        "results/logs/{experiment}/seed{seed}/choose_optimum/{budget}.log",
    benchmark:
        "results/benchmarks/{experiment}/seed{seed}/choose_optimum/{budget}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        settings=together("choose_optimum"),
    script:
        "../scripts/choose_optimum.py"

# Optimize: the realizable network within the budget of the highest prediction, and those that the
# samples cannot tell from it; some of them are tried, and the best of those is what is pruned to.
#
# inputs:   {run}/dense/model.safetensors, structure.json, blocks.json
#           {run}/samples.csv, predictor/predictor.json
#           {run}/data/{train,selection}.safetensors
# outputs:  {run}/dense/latency.csv
#           {run}/budgets/{budget}/predicted.json, tied.csv, candidates.json
#           {run}/budgets/{budget}/trials/{round}{place}/model.safetensors, metrics.json, ...
#           {run}/budgets/{budget}/optimum.json, trials.csv
#           {run}/optima.csv, the best predictions over a series of budgets: no part of `all`


rule measure_latency:
    input:
        rounding=of("rounding"),
        model=f"{DENSE}/model.safetensors",
        structure=of("structure"),
        blocks=f"{DENSE}/blocks.json",
    output:
        f"{DENSE}/latency.csv",
    log:
        f"{LOGS}/measure_latency.log",
    benchmark:
        f"{BENCHMARKS}/measure_latency.tsv"
    conda:
        "../envs/torch.yaml"
    threads: of("timing_threads")
    resources:
        runtime=of("timing_minutes", "grid"),
        mem_mb=of("memory_mb", "once"),
        gpu=of("times_on_gpu"),
    params:
        code=digest_of("measure_latency"),
        settings=of("latency"),
    script:
        "../scripts/measure_latency.py"


rule find_optimum:
    input:
        rounding=of("rounding"),
        latency=of("latencies"),
        predictor=f"{RUN}/predictor/predictor.json",
        samples=f"{RUN}/samples.csv",
        structure=of("structure"),
        blocks=f"{DENSE}/blocks.json",
    output:
        predicted=f"{BUDGET}/predicted.json",
        candidates=f"{BUDGET}/candidates.json",
        tied=f"{BUDGET}/tied.csv",
    log:
        f"{LOGS}/find_optimum/{{budget}}.log",
    benchmark:
        f"{BENCHMARKS}/find_optimum/{{budget}}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("find_optimum"),
        settings=of("optimum"),
    script:
        "../scripts/find_optimum.py"


rule search_budgets:
    input:
        rounding=of("rounding"),
        predictor=f"{RUN}/predictor/predictor.json",
        samples=f"{RUN}/samples.csv",
        structure=of("structure"),
        blocks=f"{DENSE}/blocks.json",
    output:
        f"{RUN}/optima.csv",
    log:
        f"{LOGS}/search_budgets.log",
    benchmark:
        f"{BENCHMARKS}/search_budgets.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("search_budgets"),
        settings=of("search"),
    script:
        "../scripts/search_budgets.py"


rule try_candidate:
    input:
        rounding=of("rounding"),
        teacher=of("teacher", "final"),
        own=of("channel_code", "dwr"),
        candidates=f"{BUDGET}/candidates.json",
        first=of("trials_before"),
        blocks=f"{DENSE}/blocks.json",
        origin=f"{DENSE}/model.safetensors",
        train=f"{RUN}/data/train.safetensors",
        selection=f"{RUN}/data/selection.safetensors",
    output:
        model=f"{TRIAL}/model.safetensors",
        history=f"{TRIAL}/history.csv",
        metrics=f"{TRIAL}/metrics.json",
        provenance=f"{TRIAL}/provenance.json",
    log:
        f"{LOGS}/try_candidate/{{budget}}_{{round}}{{place}}.log",
    benchmark:
        f"{BENCHMARKS}/try_candidate/{{budget}}_{{round}}{{place}}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        gpu=1,
        runtime=of("minutes", "final"),
        mem_mb=of("memory_mb", "final"),
    params:
        code=digest_of("try_candidate"),
        settings=of("trial"),
    script:
        "../scripts/try_candidate.py"


rule choose_optimum:
    input:
        predicted=f"{BUDGET}/predicted.json",
        candidates=f"{BUDGET}/candidates.json",
        first=of("trials", "first"),
        second=of("trials", "second"),
    output:
        optimum=f"{BUDGET}/optimum.json",
        trials=f"{BUDGET}/trials.csv",
    log:
        f"{LOGS}/choose_optimum/{{budget}}.log",
    benchmark:
        f"{BENCHMARKS}/choose_optimum/{{budget}}.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("choose_optimum"),
    script:
        "../scripts/choose_optimum.py"

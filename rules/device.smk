# Device: what the final networks are worth where they run. Latencies are part of `all` where
# `latency.finals` says so, else targets, as int8 is:
#
#   snakemake --cores 8 results/tables/latency.csv results/figures/latency.png
#   snakemake --cores 8 results/tables/int8.csv
#
# inputs:   {run}/dense/model.safetensors, test.json
#           {run}/budgets/{budget}/{policy}/model.safetensors, model.onnx, metrics.json
#           {run}/data/{train,test}.safetensors
# outputs:  {run}/latency.csv
#           {run}/budgets/{budget}/{policy}/int8.onnx, int8.json
#           tables/latency.{csv,md}, int8.{csv,md}, figures/{latency,accuracy_latency}.{pdf,png}


rule time_networks:
    input:
        dense=f"{DENSE}/model.safetensors",
        test=f"{DENSE}/test.json",
        finals=of("finals", "model.safetensors"),
        metrics=of("finals", "metrics.json"),
    output:
        f"{RUN}/latency.csv",
    log:
        f"{LOGS}/time_networks.log",
    benchmark:
        f"{BENCHMARKS}/time_networks.tsv"
    conda:
        "../envs/torch.yaml"
    threads: of("timing_threads")
    resources:
        runtime=of("timing_minutes", "finals"),
        mem_mb=of("memory_mb", "once"),
        gpu=of("times_on_gpu"),
    params:
        code=digest_of("time_networks"),
        settings=of("timing"),
    script:
        "../scripts/time_networks.py"


rule tabulate_latency:
    input:
        PLAN.asked_to_time("latency.csv"),
    output:
        csv=f"{TABLES}/latency.csv",
        md=f"{TABLES}/latency.md",
    log:
        "results/logs/tabulate_latency.log",
    benchmark:
        "results/benchmarks/tabulate_latency.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_latency"),
    script:
        "../scripts/tabulate_latency.py"


rule plot_latency:
    input:
        f"{TABLES}/latency.csv",
    output:
        pdf=f"{FIGURES}/latency.pdf",
        png=shown("latency", FIGURE_TITLES, f"{FIGURES}/latency.png"),
        accuracy_pdf=f"{FIGURES}/accuracy_latency.pdf",
        accuracy_png=shown(
            "accuracy_latency", FIGURE_TITLES, f"{FIGURES}/accuracy_latency.png"
        ),
    log:
        "results/logs/plot_latency.log",
    benchmark:
        "results/benchmarks/plot_latency.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("plot_latency"),
        style=STYLES["latency"],
    script:
        "../scripts/plot_latency.py"


rule quantize_final:
    input:
        onnx=f"{FINAL}/model.onnx",
        train=f"{RUN}/data/train.safetensors",
    output:
        f"{FINAL}/int8.onnx",
    log:
        f"{LOGS}/quantize_final/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize_final/{{budget}}_{{policy}}.tsv"
    conda:
        "../envs/torch.yaml"
    resources:
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("quantize_final"),
    script:
        "../scripts/quantize_final.py"


rule evaluate_int8:
    input:
        int8=f"{FINAL}/int8.onnx",
        onnx=f"{FINAL}/model.onnx",
        metrics=f"{FINAL}/metrics.json",
        test=f"{RUN}/data/test.safetensors",
    output:
        f"{FINAL}/int8.json",
    log:
        f"{LOGS}/evaluate_int8/{{budget}}_{{policy}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_int8/{{budget}}_{{policy}}.tsv"
    conda:
        "../envs/torch.yaml"
    threads: of("timing_threads")
    resources:
        runtime=of("minutes", "once"),
        mem_mb=of("memory_mb", "once"),
    params:
        code=digest_of("evaluate_int8"),
        settings=of("quantized"),
    script:
        "../scripts/evaluate_int8.py"


rule tabulate_int8:
    input:
        PLAN.finals("int8.json"),
    output:
        csv=f"{TABLES}/int8.csv",
        md=f"{TABLES}/int8.md",
    log:
        "results/logs/tabulate_int8.log",
    benchmark:
        "results/benchmarks/tabulate_int8.tsv"
    conda:
        "../envs/analysis.yaml"
    params:
        code=digest_of("tabulate_int8"),
    script:
        "../scripts/tabulate_int8.py"
